// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
)

// rateShares are the rates at which latency is measured, as shares of what the
// better of nginx and HAProxy does at most. All peers get the same rates, so
// that one that is faster is also less busy: it has earned that.
var rateShares = []float64{0.3, 0.5, 0.7, 0.85}

// latencyRounds bounds the rounds for each rate, as there are several.
const latencyRounds = 3

// A rateResult is all samples at one constant rate.
type rateResult struct {
	Share   float64   `json:"share"` // of what the better control does at most
	Rate    float64   `json:"rate"`  // requests a second
	Summary []summary `json:"summary"`
	Samples []sample  `json:"samples"`
}

// rateMetrics are the columns for constant rates.
var rateMetrics = []metric{
	{cpuKey, "CPU µs/req", cpuMicros, decimals(2)},
	{busyKey, "busy", func(x sample) float64 { return x.Busy }, percent(0)},
	{"offered", "offered/s", func(x sample) float64 { return x.Offered }, decimals(0)},
	{"achieved", "achieved/s", func(x sample) float64 { return x.PerSecond }, decimals(0)},
	{"p50_us", "p50 µs", func(x sample) float64 { return x.P50 }, decimals(0)},
	{p99Key, "p99", func(x sample) float64 { return x.P99 }, decimals(0)},
	{"p999_us", "p99.9", func(x sample) float64 { return x.P999 }, decimals(0)},
	{"lag_us", "lag p99", func(x sample) float64 { return x.Lag }, decimals(0)},
	{"unfinished", "unfinished", func(x sample) float64 { return float64(x.Unfinished) }, decimals(0)},
}

// measureRates measures peers at each of rateShares and adds that to result,
// which has the closed loop of the same scenario.
func (b *bench) measureRates(ctx context.Context, result *scenarioResult, peers []peer) error {
	best := saturation(result.Samples)
	if best == 0 {
		return nil // neither nginx nor HAProxy: nothing to relate the rates to
	}
	for _, share := range rateShares {
		s := result.scenario
		s.rate = share * best
		r := rateResult{Share: share, Rate: s.rate}
		for round := range min(b.opts.rounds, latencyRounds) {
			samples, err := b.runRound(ctx, s, peers, round)
			if err != nil {
				return err
			}
			r.Samples = append(r.Samples, samples...)
		}
		r.Summary = summarize(names(peers), rateMetrics, r.Samples)
		result.Rates = append(result.Rates, r)
	}
	return nil
}

// saturation returns the requests per second of the better of nginx and
// HAProxy, 0 if neither was measured.
func saturation(samples []sample) float64 {
	most := 0.0
	for _, name := range []string{nginxName, haproxyName} {
		most = max(most, spreadOf(column(samples, name, func(x sample) float64 { return x.PerSecond })).Median)
	}
	return most
}

// printRates prints the tables of the constant rates.
func (s *scenarioResult) printRates(w io.Writer) {
	for _, r := range s.Rates {
		fmt.Fprintf(w, "\n%s at %.0f requests/s, %.0f %% of the most of nginx and HAProxy; latency from when a request is due\n",
			s.Name, r.Rate, 100*r.Share)
		printTable(w, tableOf(rateMetrics, r.Summary))
		printFailures(w, r.Summary, r.Samples)
	}
}
