// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "fmt"

// A metric is one figure of a sample, and how tables show it.
type metric struct {
	Key    string // in summaries
	Title  string // of its column
	value  func(sample) float64
	format func(float64) string
}

// Keys of the metrics that something other than a table needs.
const (
	cpuKey       = "cpu_us"
	perSecondKey = "requests_per_second"
	busyKey      = "busy"
	p99Key       = "p99_us"
	reuseKey     = "reuse"
	memoryKey    = "memory_more_mib"
	lostKey      = "lost"
	waitedKey    = "kib_per_conn_waited"
)

// busyMetrics are the columns of scenarios that measure CPU.
func busyMetrics(s *scenario) []metric {
	list := []metric{{cpuKey, "CPU µs/req", func(x sample) float64 { return x.CPUMicros }, decimals(2)}}
	if bytes := s.bytes(); bytes >= bodyBytes {
		perMiB := func(x sample) float64 { return x.CPUMicros * (1 << 20) / float64(bytes) }
		list = append(list, metric{"cpu_us_per_mib", "µs/MiB", perMiB, decimals(1)})
	}
	return append(list, []metric{
		{"user_us", "user µs", func(x sample) float64 { return x.UserMicros }, decimals(2)},
		{"system_us", "sys µs", func(x sample) float64 { return x.SystemMicros }, decimals(2)},
		{"core_us", "core µs", func(x sample) float64 { return x.CoreMicros }, decimals(1)},
		{busyKey, "busy", func(x sample) float64 { return x.Busy }, percent(0)},
		{perSecondKey, "req/s", func(x sample) float64 { return x.PerSecond }, decimals(0)},
		{"p50_us", "p50 µs", func(x sample) float64 { return x.P50 }, measured(decimals(0))},
		{p99Key, "p99", func(x sample) float64 { return x.P99 }, measured(decimals(0))},
		{"p999_us", "p99.9", func(x sample) float64 { return x.P999 }, measured(decimals(0))},
		{"waits", "waits/req", func(x sample) float64 { return x.Voluntary }, decimals(3)},
		{"calls", "calls/req", func(x sample) float64 { return x.Calls }, measured(decimals(2))},
		{reuseKey, "reuse", func(x sample) float64 { return x.Reuse }, percent(3)},
		{"memory_mib", "MiB", func(x sample) float64 { return mebi(x.Start.Used) }, decimals(1)},
		{"loaded_mib", "loaded", func(x sample) float64 { return mebi(x.Loaded.Used) }, decimals(1)},
		{"peak_mib", "peak", func(x sample) float64 { return mebi(x.Loaded.Peak) }, decimals(1)},
	}...)
}

// eventMetrics are the columns of scenarios in which something happens.
var eventMetrics = []metric{
	{lostKey, "lost", func(x sample) float64 { return float64(x.LostRequests) }, decimals(0)},
	{"resent", "sent again", func(x sample) float64 { return float64(x.ResentRequests) }, decimals(0)},
	{"requests", "requests", func(x sample) float64 { return float64(x.Requests) }, decimals(0)},
	{cpuKey, "CPU µs/req", cpuMicros, decimals(1)},
	{"p50_us", "p50 µs", func(x sample) float64 { return x.P50 }, decimals(0)},
	{p99Key, "p99", func(x sample) float64 { return x.P99 }, decimals(0)},
	{"p999_us", "p99.9", func(x sample) float64 { return x.P999 }, decimals(0)},
	{"loaded_mib", "MiB after", func(x sample) float64 { return mebi(x.Loaded.Used) }, decimals(1)},
}

// bodyBytes is the size from which on CPU per byte is of interest.
const bodyBytes = 64 << 10

// idleMetrics are the columns of scenarios that measure memory.
func idleMetrics(s *scenario) []metric {
	perConn := func(rss func(sample) int64) func(sample) float64 {
		return func(x sample) float64 { return float64(rss(x)-x.Start.Used) / 1024 / float64(s.conns) }
	}
	return []metric{
		{"memory_mib", "MiB", func(x sample) float64 { return mebi(x.Start.Used) }, decimals(1)},
		{"loaded_mib", "with conns", func(x sample) float64 { return mebi(x.Loaded.Used) }, decimals(1)},
		{"waited_mib", "after wait", func(x sample) float64 { return mebi(x.Waited.Used) }, decimals(1)},
		{"kib_per_conn", "KiB/conn", perConn(func(x sample) int64 { return x.Loaded.Used }), decimals(2)},
		{waitedKey, "after wait", perConn(func(x sample) int64 { return x.Waited.Used }), decimals(2)},
		{"closed", "closed", func(x sample) float64 { return float64(x.Closed) }, decimals(0)},
	}
}

// metrics returns what s measures.
func (s *scenario) metrics() []metric {
	switch {
	case s.idle:
		return idleMetrics(s)
	case s.event != noEvent:
		return eventMetrics
	}
	return busyMetrics(s)
}

// decimals returns a format with so many digits after the point.
func decimals(digits int) func(float64) string {
	return func(v float64) string { return fmt.Sprintf("%.*f", digits, v) }
}

// percent returns a format for shares, with so many digits after the point.
func percent(digits int) func(float64) string {
	return func(v float64) string { return fmt.Sprintf("%.*f %%", digits, 100*v) }
}

// measured returns format for a metric of which 0 means that it was not
// measured.
func measured(format func(float64) string) func(float64) string {
	return func(v float64) string {
		if v == 0 {
			return "–"
		}
		return format(v)
	}
}
