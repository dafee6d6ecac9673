// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
)

// fullReport returns a report with something of everything.
func fullReport() *report {
	names := []string{"nginx", "haproxy", "httputil", "belay"}
	of := func(s scenario, samples ...sample) scenarioResult {
		return scenarioResult{scenario: s, Samples: samples, Summary: summarize(names, s.metrics(), samples)}
	}
	named := func(name string) scenario {
		return scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return s.Name == name })]
	}
	h1 := of(named("h1-64-100B"), slices.Concat(samplesOf("nginx", 10, 12), samplesOf("haproxy", 11, 11), samplesOf("httputil", 60, 60), samplesOf("belay", 9, 10.8))...)
	for i := range h1.Samples {
		h1.Samples[i].Reuse = 0.998
	}
	h1.Summary = summarize(names, h1.metrics(), h1.Samples)
	for _, share := range rateShares {
		samples := slices.Concat(samplesOf("nginx", 10), samplesOf("haproxy", 11), samplesOf("belay", 9))
		for i, p99 := range []float64{200, 300, 100 + 200*share} {
			samples[i].P99 = p99
		}
		h1.Rates = append(h1.Rates, rateResult{Share: share, Rate: 1000 * share, Samples: samples, Summary: summarize(names, rateMetrics, samples)})
	}
	idle := of(named("idle-10000"), sample{Peer: "belay", Waited: memory{Used: 10_000 * 9 << 10}})
	upgrade := of(named("upgrade"), sample{Peer: "belay", Requests: 10}, sample{Peer: "belay", Round: 1, Requests: 10, LostRequests: 2})
	skipped := scenarioResult{scenario: named("h2-16x32"), Skipped: "needs h2load"}

	growing := growthResult{growth: growths[0]}
	for _, x := range []int{10, 100} {
		samples := append(samplesOf("nginx", 10), samplesOf("belay", float64(x))...)
		samples[0].Loaded.Used, samples[1].Loaded.Used = int64(x)<<20, int64(2*x)<<20
		growing.Points = append(growing.Points, growthPoint{X: x, Samples: samples, Summary: summarize([]string{"nginx", "belay"}, growthMetrics, samples)})
	}
	for _, p := range []string{"nginx", "belay"} {
		growing.CPU, growing.Memory = append(growing.CPU, growing.fit(p, cpuKey)), append(growing.Memory, growing.fit(p, memoryKey))
	}
	return &report{
		Machine: machine{Date: "2026-11-25 12:00 UTC", CPU: "Fast <9>", CPUs: 4, Kernel: "6.1", OS: "Debian", Go: "go1.26", Belay: "abc1234", Load: "0.1 0.1 0.1"},
		Cores:   1, Rounds: 2, Duration: 2,
		Peers:     []peer{{Name: "nginx", Version: "1.22"}, {Name: "haproxy"}, {Name: "httputil"}, {Name: "envoy", Skipped: "not installed"}, {Name: "belay"}},
		Scenarios: []scenarioResult{h1, idle, upgrade, skipped},
		Growths:   []growthResult{growing},
	}
}

func TestTargetTable(t *testing.T) {
	var got []string
	for _, row := range fullReport().targetTable()[1:] {
		got = append(got, strings.Join(row, " | "))
	}
	want := []string{
		"h1-64-100B | CPU ÷ better of nginx and HAProxy | ≤ 0.90 | 0.90 | met",
		"h1-64-100B | CPU of httputil ÷ belay | ≥ 5.00 | 6.11 | met",
		"h1-64-100B | upstream connections reused | ≥ 99.900 % | 99.800 % | missed by 1 %",
		"idle-10000 | KiB for an idle connection | ≤ 8.00, then 2.00 | 9.00 | missed by 12 %",
		"h1-64-100B | p99 at 70 % ÷ better | ≤ 1.00 | 1.20 | missed by 20 %",
		"upgrade | requests lost | ≤ 0 | 2 | missed by 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("targets:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var b strings.Builder
	fullReport().printTargets(&b)
	if !strings.Contains(b.String(), "2 of 6 met") {
		t.Errorf("no sum in:\n%s", b.String())
	}
}

func TestTargetsNameScenarios(t *testing.T) {
	for _, target := range targets {
		if _, err := selectScenarios(scenarios, target.scenarios); err != nil {
			t.Errorf("%s: %v", target.what, err)
		}
	}
	if !slices.Contains(rateShares, latencyShare) {
		t.Errorf("latency is not measured at %v", latencyShare)
	}
}

func TestVerdict(t *testing.T) {
	most := target{bound: 8, next: 2, format: decimals(0)}
	for v, want := range map[float64]string{2: "met, and 2", 2.1: "met", 8: "met", 8.01: "missed by 1 %", 16: "missed by 100 %"} {
		if got := most.verdict(v); got != want {
			t.Errorf("verdict of %v = %q, want %q", v, got, want)
		}
	}
	least := target{bound: 5, least: true, format: decimals(0)}
	for v, want := range map[float64]string{5: "met", 9: "met", 2.5: "missed by 100 %"} {
		if got := least.verdict(v); got != want {
			t.Errorf("verdict of %v = %q, want %q", v, got, want)
		}
	}
}
