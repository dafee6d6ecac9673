// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"slices"
	"testing"
)

func TestSpreadOf(t *testing.T) {
	tests := []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{4, 2}, spread{3, 2, 4}},
		{[]float64{9, 1, 5}, spread{5, 1, 9}},
	}
	for _, tt := range tests {
		before := slices.Clone(tt.values)
		if got := spreadOf(tt.values); got != tt.want {
			t.Errorf("spreadOf(%v) = %v, want %v", tt.values, got, tt.want)
		}
		if !slices.Equal(before, tt.values) {
			t.Errorf("spreadOf changed %v to %v", before, tt.values)
		}
	}
	if got := (spread{10, 9, 11}).width(); got != 0.2 {
		t.Errorf("width = %v, want 0.2", got)
	}
	if got := (spread{}).width(); got != 0 {
		t.Errorf("width of nothing = %v, want 0", got)
	}
}

// samplesOf returns a sample for each CPU figure of a peer, in rounds from 0.
func samplesOf(peer string, cpu ...float64) []sample {
	var samples []sample
	for round, c := range cpu {
		samples = append(samples, sample{Round: round, Peer: peer, CPUMicros: c})
	}
	return samples
}

func TestCPURatioPairsRounds(t *testing.T) {
	// The second round is slow for both: the ratio stays.
	samples := append(samplesOf("belay", 9, 90, 9), samplesOf("nginx", 10, 100, 10)...)
	if got := cpuRatio(samples, "belay", "nginx"); got != 0.9 {
		t.Errorf("ratio = %v, want 0.9", got)
	}
	if got := cpuRatio(samples, "belay", "haproxy"); got != 0 {
		t.Errorf("ratio to a peer that did not run = %v, want 0", got)
	}
	if got := cpuRatio(append(samplesOf("a", 1), samplesOf("b", 0)...), "a", "b"); got != 0 {
		t.Errorf("ratio to 0 = %v, want 0", got)
	}
}

func TestSummarize(t *testing.T) {
	samples := slices.Concat(samplesOf("nginx", 12), samplesOf("haproxy", 10), samplesOf("belay", 9))
	got := summarize([]string{"belay", "nginx"}, scenarios[0].metrics(), samples)
	if len(got) != 2 || got[0].ToBest != 0.9 || got[1].ToBest != 1.2 {
		t.Errorf("summarize = %+v, want ratios 0.9 and 1.2 to haproxy", got)
	}
	if cpu := got[0].Metrics[cpuKey]; cpu != (spread{9, 9, 9}) {
		t.Errorf("CPU of belay = %+v, want 9", cpu)
	}
	if got := betterControl(samplesOf("belay", 9)); got != "" {
		t.Errorf("better control = %q, want none", got)
	}
}

// A sample that failed enters neither medians nor ratios.
func TestFailedSamplesDoNotCount(t *testing.T) {
	samples := append(samplesOf("nginx", 10, 10, 10), samplesOf("belay", 9, 0.1, 9)...)
	samples[4].fail(errors.New("EOF"))
	got := summarize([]string{"belay", "nginx", "haproxy"}, scenarios[0].metrics(), samples)
	if b := got[0]; b.Samples != 3 || b.Failed != 1 || b.Metrics[cpuKey].Min != 9 || b.ToBest != 0.9 {
		t.Errorf("belay = %+v, want one of three failed, at least 9 µs, ratio 0.9", b)
	}
	if h := got[2]; h.Samples != 0 || h.Metrics != nil {
		t.Errorf("haproxy, not measured = %+v, want nothing", h)
	}
	all := samplesOf("belay", 9)
	all[0].fail(errors.New("EOF"))
	if got := summarize([]string{"belay"}, scenarios[0].metrics(), all)[0]; got.Failed != 1 || got.Metrics != nil {
		t.Errorf("all failed: %+v, want no metrics", got)
	}
}

func TestOrderOf(t *testing.T) {
	tests := []struct {
		round int
		want  []int
	}{
		{0, []int{0, 1, 2}},
		{1, []int{0, 2, 1}},
		{2, []int{2, 0, 1}},
	}
	for _, tt := range tests {
		if got := orderOf(tt.round, 3); !slices.Equal(got, tt.want) {
			t.Errorf("order of round %d = %v, want %v", tt.round, got, tt.want)
		}
	}
	if got := orderOf(3, 0); len(got) != 0 {
		t.Errorf("order of no peers = %v", got)
	}
}

func TestIsBelay(t *testing.T) {
	for name, want := range map[string]bool{"belay": true, "belay:old": true, "belayed": false, "nginx": false} {
		if got := isBelay(name); got != want {
			t.Errorf("isBelay(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestSplitCPUs(t *testing.T) {
	tests := []struct {
		cores       int
		proxy, load []int
	}{
		{1, []int{5}, []int{0, 2, 3}},
		{3, []int{2, 3, 5}, []int{0}},
		{4, []int{0, 2, 3, 5}, []int{0, 2, 3, 5}},
	}
	for _, tt := range tests {
		proxy, load := splitCPUs([]int{0, 2, 3, 5}, tt.cores)
		if !slices.Equal(proxy, tt.proxy) || !slices.Equal(load, tt.load) {
			t.Errorf("splitCPUs for %d = %v, %v; want %v, %v", tt.cores, proxy, load, tt.proxy, tt.load)
		}
	}
}
