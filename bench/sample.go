// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"time"
)

// A sample is the outcome of one measurement of one peer.
type sample struct {
	Round     int     `json:"round"`
	Peer      string  `json:"peer"`
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`          // of requests, or 1 if the measurement itself failed
	Error     string  `json:"error,omitempty"` // the first one
	PerSecond float64 `json:"requests_per_second"`

	CPUMicros    float64 `json:"cpu_us_per_request"`    // of the proxy's processes
	UserMicros   float64 `json:"user_us_per_request"`   // of that CPU time
	SystemMicros float64 `json:"system_us_per_request"` // the rest
	CoreMicros   float64 `json:"core_us_per_request"`   // all that ran on the proxy's CPUs
	Busy         float64 `json:"busy"`                  // share of the time that the proxy's CPUs were not idle
	Voluntary    float64 `json:"voluntary_switches_per_request"`
	Involuntary  float64 `json:"involuntary_switches_per_request"`

	Calls float64 `json:"system_calls_per_request,omitempty"` // counted in a phase of its own; 0 if that cannot be done

	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`

	// Of a constant rate: what was asked for in a second, how late we ourselves
	// were (p99), and how many requests have had no response.
	Offered    float64 `json:"offered_per_second,omitempty"`
	Lag        float64 `json:"lag_p99_us,omitempty"`
	Unfinished int64   `json:"unfinished,omitempty"`

	// Of reloads and upgrades: requests without a complete response, the first
	// error of them, and requests that found their kept connection closed and
	// were sent again.
	LostRequests   int64  `json:"lost_requests,omitempty"`
	FirstLost      string `json:"first_lost,omitempty"`
	ResentRequests int64  `json:"resent_requests,omitempty"`

	Accepts int64   `json:"upstream_connections"` // made while measured
	Reuse   float64 `json:"reuse_ratio"`
	Start   memory  `json:"memory_start_bytes"`  // before the first connection
	Loaded  memory  `json:"memory_loaded_bytes"` // after the last request, connections still open

	Waited memory `json:"memory_waited_bytes,omitzero"` // idle scenario: after the wait
	Closed int    `json:"closed_connections,omitempty"` // idle scenario: by the proxy
}

// failed reports whether the figures of s mean nothing, as it did not come to
// its end or a request failed.
func (s *sample) failed() bool { return s.Errors > 0 }

// fail notes that the measurement itself failed. An earlier error stays.
func (s *sample) fail(err error) {
	if s.Errors == 0 {
		s.Errors, s.Error = 1, err.Error()
	}
}

// setCosts divides what was used by the number of requests. busy is the time
// that cpus CPUs together have not been idle.
func (s *sample) setCosts(report loadReport, used usage, busy time.Duration, cpus int) {
	n := float64(report.Requests)
	s.PerSecond = n / report.Elapsed.Seconds()
	s.CPUMicros = micros(used.CPU) / n
	s.CoreMicros = micros(busy) / n
	s.Busy = min(1, busy.Seconds()/report.Elapsed.Seconds()/float64(cpus))
	if total := used.User + used.System; total > 0 {
		s.UserMicros = s.CPUMicros * float64(used.User) / float64(total)
		s.SystemMicros = s.CPUMicros - s.UserMicros
	}
	s.Voluntary = float64(used.Voluntary) / n
	s.Involuntary = float64(used.Involuntary) / n
	s.P50, s.P99, s.P999 = micros(report.P50), micros(report.P99), micros(report.P999)
	s.LostRequests, s.ResentRequests, s.FirstLost = report.Failed, report.Resent, report.FirstFailure
	s.Offered, s.Lag, s.Unfinished = report.Offered, micros(report.Lag), report.Unfinished
}

// brief is the line of progress for a sample.
func (s *sample) brief(idle bool) string {
	if s.failed() {
		return fmt.Sprintf("%d errors, first: %s", s.Errors, s.Error)
	}
	if idle {
		return fmt.Sprintf("%.1f MiB, idle %.1f MiB", mebi(s.Loaded.Used), mebi(s.Waited.Used))
	}
	return fmt.Sprintf("%.2f µs CPU per request, %.0f requests/s", s.CPUMicros, s.PerSecond)
}
