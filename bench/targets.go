// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A target is a number that belay is to hold.
type target struct {
	what      string
	scenarios []string
	bound     float64
	least     bool    // bound is the least that holds, not the most
	next      float64 // what to reach after that; 0 for nothing
	value     func(*scenarioResult) (v float64, ok bool)
	format    func(float64) string
}

// h1Scenarios are those of plain HTTP/1.1 over kept connections that have a
// target.
var h1Scenarios = []string{"h1-64-100B", "h1-512-100B", "h1-64-4KiB", "h1-512-4KiB"}

var targets = []target{
	{what: "CPU ÷ better of nginx and HAProxy", scenarios: h1Scenarios, bound: 0.90, value: toBetter, format: decimals(2)},
	{what: "CPU of httputil ÷ belay", scenarios: h1Scenarios, bound: 5, least: true, value: ratioOf(stdlibName, belayName), format: decimals(2)},
	{what: "CPU ÷ better", scenarios: []string{"tls-h1-64"}, bound: 0.85, value: toBetter, format: decimals(2)},
	{what: "CPU ÷ better", scenarios: []string{"tls-handshake"}, bound: 1.0, value: toBetter, format: decimals(2)},
	{what: "CPU ÷ better", scenarios: []string{"h2-16x32"}, bound: 1.0, next: 0.9, value: toBetter, format: decimals(2)},
	{what: "CPU per byte ÷ nginx", scenarios: []string{"body-1MiB", "body-100MiB"}, bound: 1.0, value: ratioOf(belayName, nginxName), format: decimals(2)},
	{what: "upstream connections reused", scenarios: h1Scenarios, bound: 0.999, least: true, value: medianOf(reuseKey), format: percent(3)},
	{what: "KiB for an idle connection", scenarios: []string{"idle-10000"}, bound: 8, next: 2, value: medianOf(waitedKey), format: decimals(2)},
	{what: "KiB for an idle connection", scenarios: []string{"idle-tls-10000"}, bound: 20, next: 10, value: medianOf(waitedKey), format: decimals(2)},
	{what: "KiB for an idle connection", scenarios: []string{"idle-h2-10000"}, bound: 32, value: medianOf(waitedKey), format: decimals(2)},
	{what: "p99 at 70 % ÷ better", scenarios: []string{"h1-64-100B", "tls-h1-64", "h2-16x32"}, bound: 1.0, value: latencyToBetter, format: decimals(2)},
	{what: "requests lost", scenarios: []string{"reload", "upgrade"}, bound: 0, value: mostLost, format: decimals(0)},
}

// toBetter returns belay's CPU against the better of nginx and HAProxy.
func toBetter(s *scenarioResult) (float64, bool) {
	sum := s.summaryOf(belayName)
	return sum.ToBest, sum.ToBest > 0
}

// ratioOf returns a function that returns the CPU of peer a against b.
func ratioOf(a, b string) func(*scenarioResult) (float64, bool) {
	return func(s *scenarioResult) (float64, bool) {
		ratio := cpuRatio(s.Samples, a, b)
		return ratio, ratio > 0
	}
}

// medianOf returns a function that returns belay's median of a metric.
func medianOf(key string) func(*scenarioResult) (float64, bool) {
	return func(s *scenarioResult) (float64, bool) {
		v, ok := s.summaryOf(belayName).Metrics[key]
		return v.Median, ok
	}
}

// latencyShare is the rate at which latency has a target.
const latencyShare = 0.7

// latencyToBetter returns belay's p99 at latencyShare against the lower one of
// nginx and HAProxy.
func latencyToBetter(s *scenarioResult) (float64, bool) {
	for _, r := range s.Rates {
		if r.Share != latencyShare {
			continue
		}
		p99 := func(peer string) float64 {
			return spreadOf(column(r.Samples, peer, func(x sample) float64 { return x.P99 })).Median
		}
		better := 0.0
		for _, peer := range []string{nginxName, haproxyName} {
			if v := p99(peer); v > 0 && (better == 0 || v < better) {
				better = v
			}
		}
		if own := p99(belayName); own > 0 && better > 0 {
			return own / better, true
		}
	}
	return 0, false
}

// mostLost returns how many requests belay lost in the worst round.
func mostLost(s *scenarioResult) (float64, bool) {
	v, ok := s.summaryOf(belayName).Metrics[lostKey]
	return v.Max, ok
}

// summaryOf returns the summary of a peer, an empty one if there is none.
func (s *scenarioResult) summaryOf(peer string) summary {
	i := slices.IndexFunc(s.Summary, func(sum summary) bool { return sum.Peer == peer })
	if i < 0 {
		return summary{}
	}
	return s.Summary[i]
}

// verdict says whether v holds t, and how far it is away if not.
func (t *target) verdict(v float64) string {
	holds := func(bound float64) bool { return v <= bound && !t.least || v >= bound && t.least }
	if holds(t.bound) {
		if t.next > 0 && holds(t.next) {
			return "met, and " + t.format(t.next)
		}
		return "met"
	}
	if t.bound == 0 {
		return "missed by " + t.format(v)
	}
	away := v/t.bound - 1
	if t.least {
		away = t.bound/v - 1
	}
	return fmt.Sprintf("missed by %.0f %%", max(1, 100*away))
}

// hold returns the bound as text.
func (t *target) hold() string {
	sign := "≤ "
	if t.least {
		sign = "≥ "
	}
	text := sign + t.format(t.bound)
	if t.next > 0 {
		text += ", then " + t.format(t.next)
	}
	return text
}

// targetTable has a row for each target and scenario that r has a value of.
func (r *report) targetTable() [][]string {
	rows := [][]string{{"scenario", "what", "hold", "measured", ""}}
	for _, t := range targets {
		for i := range r.Scenarios {
			s := &r.Scenarios[i]
			if !slices.Contains(t.scenarios, s.Name) {
				continue
			}
			if v, ok := t.value(s); ok {
				rows = append(rows, []string{s.Name, t.what, t.hold(), t.format(v), t.verdict(v)})
			}
		}
	}
	return rows
}

// printTargets prints which targets are met, if any was measured.
func (r *report) printTargets(w io.Writer) {
	rows := r.targetTable()
	if len(rows) == 1 {
		return
	}
	fmt.Fprintln(w, "\nwhat belay is to hold:")
	printTable(w, rows)
	missed := 0
	for _, row := range rows[1:] {
		if strings.HasPrefix(row[len(row)-1], "missed") {
			missed++
		}
	}
	fmt.Fprintf(w, "  %d of %d met\n", len(rows)-1-missed, len(rows)-1)
}
