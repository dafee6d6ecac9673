// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// openJob returns the job of an open loop against a server that calls wait
// before each response.
func openJob(t *testing.T, a access, rate float64, wait func()) *loadJob {
	s := scenario{response: 100, tls: a.TLS, h2: a.H2}
	addr := startServer(t, a, func(w http.ResponseWriter, r *http.Request) {
		wait()
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	})
	return &loadJob{
		Addr: addr, Conns: 4, Request: buildRequest(s.target(), "keep-alive", 0), Target: s.target(), Streams: 4,
		Response: 100, Access: a, Rate: rate,
	}
}

var openAccesses = map[string]access{"http1": {}, "tls": {TLS: true}, "h2c": {H2: true}, "h2": {TLS: true, H2: true}}

func TestOpenLoop(t *testing.T) {
	for name, a := range openAccesses {
		t.Run(name, func(t *testing.T) {
			job := openJob(t, a, 1000, func() {})
			loop, err := newOpenLoop(job)
			if err != nil {
				t.Fatal(err)
			}
			defer loop.close()
			for range 2 { // a loop can be run again
				report, err := openReport(loop, job.Rate, 200*time.Millisecond)
				if err != nil || report.Requests != 200 || report.Unfinished != 0 || report.Offered != 1000 {
					t.Errorf("report = %+v, %v; want 200 requests, offered at 1000/s", report, err)
				}
			}
		})
	}
}

// A server that stalls once for half a second makes all requests late that were
// due meanwhile. A closed loop would see a few.
func TestOpenLoopCountsStalls(t *testing.T) {
	for name, a := range openAccesses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			var gate sync.RWMutex
			job := openJob(t, a, 200, func() {
				once.Do(func() {
					gate.Lock()
					time.Sleep(500 * time.Millisecond) // the stall itself
					gate.Unlock()
				})
				gate.RLock() // all others wait as well
				defer gate.RUnlock()
			})
			loop, err := newOpenLoop(job)
			if err != nil {
				t.Fatal(err)
			}
			defer loop.close()
			report, err := openReport(loop, job.Rate, time.Second)
			if err != nil || report.Unfinished > 0 {
				t.Fatalf("report = %+v, %v; want all finished", report, err)
			}
			if report.P99 < 350*time.Millisecond {
				t.Errorf("p99 = %v, want at least 350ms", report.P99)
			}
		})
	}
}

// Requests that are never answered, or never sent for that reason, count.
func TestOpenLoopCountsUnfinished(t *testing.T) {
	for name, a := range openAccesses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			never := make(chan struct{})
			job := openJob(t, a, 100, func() { <-never })
			t.Cleanup(func() { close(never) }) // before the server is closed
			loop, err := newOpenLoop(job)
			if err != nil {
				t.Fatal(err)
			}
			defer loop.close()
			report, err := openReport(loop, job.Rate, 400*time.Millisecond)
			if err != nil || report.Requests != 0 || report.Unfinished != 40 || report.P50 < openPatience {
				t.Errorf("report = %+v, %v; want 40 unfinished after more than %v", report, err, openPatience)
			}
		})
	}
}

func TestOpenLoopReportsErrors(t *testing.T) {
	for name, a := range openAccesses {
		t.Run(name, func(t *testing.T) {
			job := openJob(t, a, 100, func() {})
			job.Response = 99
			loop, err := newOpenLoop(job)
			if err != nil {
				t.Fatal(err)
			}
			defer loop.close()
			if _, err := openReport(loop, job.Rate, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "want 99") {
				t.Errorf("error %v, want the wrong length", err)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	s := newSchedule(4, 2*time.Second)
	if s.n != 8 || s.due(0) != 0 || s.due(8) != 2*time.Second {
		t.Errorf("schedule = %+v, want 8 requests in 2s", s)
	}
	if s := newSchedule(0.1, time.Second); s.n != 1 {
		t.Errorf("%d requests, want at least 1", s.n)
	}
}
