// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestPrintTable(t *testing.T) {
	var b strings.Builder
	printTable(&b, [][]string{{"", "µs", "ratio"}, {"nginx", "10.5", "–"}, {"b", "9", "0.90"}})
	const want = "" +
		"           µs  ratio\n" +
		"  nginx  10.5      –\n" +
		"  b         9   0.90\n"
	if got := b.String(); got != want {
		t.Errorf("table:\n%swant:\n%s", got, want)
	}
}

func TestPrintScenario(t *testing.T) {
	names := []string{"nginx", "httputil", "belay"}
	samples := append(samplesOf("nginx", 10, 13, 1), samplesOf("belay", 8, 10, 9)...)
	samples = append(samples, samplesOf("httputil", 56, 70, 63)...)
	samples[2].Errors, samples[2].Error = 2, "EOF"
	samples[3].Busy, samples[3].PerSecond = 0.9, 1000
	samples[4].Busy, samples[4].PerSecond = 0.9, 3000
	samples[5].Busy, samples[5].PerSecond = 0.9, 2000
	result := scenarioResult{scenario: scenarios[0], Samples: samples, Summary: summarize(names, scenarios[0].metrics(), samples)}
	var b strings.Builder
	result.print(&b)
	for _, want := range []string{
		"h1-64-100B: GET", " 11.50 ", "10.00–13.00", "httputil ÷ belay = 7.00", " ≥2000 ", " 1000–3000", "load limited",
		"noisy: nginx itself varied by 26 %", "nginx: failed 1 of 3", "nginx, round 3: 2 errors, first: EOF",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	if err := result.failure(); err == nil || !strings.Contains(err.Error(), "nginx: failed 1 of 3, first: EOF") {
		t.Errorf("failure = %v, want that of nginx", err)
	}
}

func TestPrintIdleScenario(t *testing.T) {
	s := scenario{Name: "idle", idle: true, conns: 1024}
	samples := []sample{{Peer: "belay", Start: memory{Used: 10 << 20}, Loaded: memory{Used: 18 << 20}, Waited: memory{Used: 12 << 20}, Closed: 3}}
	result := scenarioResult{scenario: s, Samples: samples, Summary: summarize([]string{"belay"}, s.metrics(), samples)}
	var b strings.Builder
	result.print(&b)
	fields := strings.Fields(b.String()[strings.Index(b.String(), "belay"):])
	if got, want := strings.Join(fields, " "), "belay 10.0 18.0 12.0 8.00 2.00 3"; got != want {
		t.Errorf("row %q, want %q", got, want)
	}
}

func TestReportFailure(t *testing.T) {
	r := &report{Peers: []peer{{Name: "nginx"}}}
	if err := r.failure(); err != nil {
		t.Errorf("failure of nothing = %v", err)
	}
	r.Peers = append(r.Peers, peer{Name: "odd", Failed: "no echo"})
	if err := r.failure(); err == nil || err.Error() != "odd: no echo" {
		t.Errorf("failure = %v, want that of the peer", err)
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel name\t: Fast: 9\nmodel name\t: b\n", ""); got != "Fast: 9" {
		t.Errorf("model %q, want the first", got)
	}
	if got := cpuModel("processor: 0\n", "none"); got != "none" {
		t.Errorf("model %q, want none", got)
	}
}
