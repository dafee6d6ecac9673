// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"slices"
	"strings"
)

// A spread is the median of some values, with their least and greatest.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of values, the zero spread if there are none.
// The median of an even number of values is the mean of the middle two.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	median := sorted[half]
	if len(sorted)%2 == 0 {
		median = (sorted[half-1] + sorted[half]) / 2
	}
	return spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// width returns the distance from the least value to the greatest as a share
// of the median, 0 if that is 0.
func (s spread) width() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / s.Median
}

// A summary is what all rounds of one scenario say about one peer. Samples
// that failed count for nothing but Failed.
type summary struct {
	Peer    string            `json:"peer"`
	Samples int               `json:"samples"`
	Failed  int               `json:"failed,omitempty"`
	Metrics map[string]spread `json:"metrics,omitempty"`           // by key; none if all samples failed
	ToBest  float64           `json:"cpu_ratio_to_best,omitempty"` // to the better of nginx and HAProxy; 0 if neither ran
}

// summarize returns a summary of metrics for each peer, in the order of peers.
func summarize(peers []string, metrics []metric, samples []sample) []summary {
	best := betterControl(samples)
	var all []summary
	for _, name := range peers {
		sum := summary{Peer: name, ToBest: cpuRatio(samples, name, best)}
		for _, s := range samples {
			if s.Peer == name {
				sum.Samples++
				if s.failed() {
					sum.Failed++
				}
			}
		}
		if sum.Samples > sum.Failed {
			sum.Metrics = make(map[string]spread)
			for _, m := range metrics {
				sum.Metrics[m.Key] = spreadOf(column(samples, name, m.value))
			}
		}
		all = append(all, sum)
	}
	return all
}

// cpuMicros is the value of the metric that peers are compared by.
func cpuMicros(s sample) float64 { return s.CPUMicros }

// betterControl returns which of nginx and HAProxy took less CPU per request,
// "" if neither was measured.
func betterControl(samples []sample) string {
	best, least := "", 0.0
	for _, name := range []string{nginxName, haproxyName} {
		cpu := spreadOf(column(samples, name, cpuMicros)).Median
		if cpu > 0 && (best == "" || cpu < least) {
			best, least = name, cpu
		}
	}
	return best
}

// cpuRatio returns CPU per request of peer a over that of peer b: the median
// over the rounds of the ratio in one round, since what disturbs the machine
// for a while disturbs both. It returns 0 if no round has both.
func cpuRatio(samples []sample, a, b string) float64 {
	return spreadOf(ratios(samples, a, b, cpuMicros)).Median
}

// ratios returns value of peer a over that of peer b for each round in which
// neither failed.
func ratios(samples []sample, a, b string, value func(sample) float64) []float64 {
	var list []float64
	for _, x := range samples {
		for _, y := range samples {
			if x.Peer == a && y.Peer == b && x.Round == y.Round && !x.failed() && !y.failed() && value(y) > 0 {
				list = append(list, value(x)/value(y))
			}
		}
	}
	return list
}

// column returns one value of each sample of peer that did not fail.
func column(samples []sample, peer string, value func(sample) float64) []float64 {
	var values []float64
	for _, s := range samples {
		if s.Peer == peer && !s.failed() {
			values = append(values, value(s))
		}
	}
	return values
}

// orderOf returns the order in which to visit n peers in a round, counted from
// 0: each round starts with another peer, and every second one goes backwards.
func orderOf(round, n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + round) % n
	}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// isBelay reports whether a peer is some version of belay.
func isBelay(name string) bool {
	return name == belayName || strings.HasPrefix(name, belayName+":")
}
