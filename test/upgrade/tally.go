// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Tally counts what clients experience.
type Tally struct {
	ok       atomic.Int64
	repeated atomic.Int64 // attempts at requests after the first
	slowest  atomic.Int64 // nanoseconds, of quick requests

	mu     sync.Mutex
	passed map[string]int64 // by client; guarded by mu
	failed map[string]int   // by what happened; guarded by mu
}

// expect notes that there is a client, which has not got anything yet.
func (t *Tally) expect(client string) { t.count(client, 0) }

func (t *Tally) count(client string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.passed == nil {
		t.passed = make(map[string]int64)
	}
	t.passed[client] += n
}

// pass counts a request that went well and took so long; zero if it was meant
// to take its time.
func (t *Tally) pass(client string, took time.Duration) {
	t.count(client, 1)
	t.ok.Add(1)
	for old := t.slowest.Load(); int64(took) > old; old = t.slowest.Load() {
		if t.slowest.CompareAndSwap(old, int64(took)) {
			return
		}
	}
}

// Idle returns the clients of which no request went well.
func (t *Tally) Idle() (clients []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for client, n := range t.passed {
		if n == 0 {
			clients = append(clients, client)
		}
	}
	slices.Sort(clients)
	return clients
}

// Clients says how many requests of each client went well.
func (t *Tally) Clients() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, client := range slices.Sorted(maps.Keys(t.passed)) {
		fmt.Fprintf(&b, "%8d × %s\n", t.passed[client], client)
	}
	return b.String()
}

// fail counts a request that failed.
func (t *Tally) fail(client string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = make(map[string]int)
	}
	t.failed[client+": "+digitsOff(err.Error())]++
}

// digitsOff replaces numbers, so that errors that differ only by a port count
// as the same.
func digitsOff(s string) string {
	var b strings.Builder
	digits := false
	for _, r := range s {
		if is := r >= '0' && r <= '9'; !is {
			b.WriteRune(r)
			digits = false
		} else if !digits {
			b.WriteByte('#')
			digits = true
		}
	}
	return b.String()
}

// OK returns how many requests went well.
func (t *Tally) OK() int64 { return t.ok.Load() }

// Repeated returns how many times a request was sent again on another connection
// because the server had not begun it.
func (t *Tally) Repeated() int64 { return t.repeated.Load() }

// Slowest returns the longest time that a quick request took.
func (t *Tally) Slowest() time.Duration { return time.Duration(t.slowest.Load()) }

// Failed returns how many requests failed.
func (t *Tally) Failed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, k := range t.failed {
		n += k
	}
	return n
}

// Failures describes the failures, the most frequent first.
func (t *Tally) Failures() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(t.failed), func(a, b string) int { return t.failed[b] - t.failed[a] })
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%6d × %s\n", t.failed[k], k)
	}
	return b.String()
}
