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
	ok      atomic.Int64
	slowest atomic.Int64 // nanoseconds, of quick requests

	mu     sync.Mutex
	failed map[string]int // by what happened; guarded by mu
}

// pass counts a request that went well and took so long; zero if it was meant
// to take its time.
func (t *Tally) pass(took time.Duration) {
	t.ok.Add(1)
	for old := t.slowest.Load(); int64(took) > old; old = t.slowest.Load() {
		if t.slowest.CompareAndSwap(old, int64(took)) {
			return
		}
	}
}

// fail counts a request that failed.
func (t *Tally) fail(client, what string, err error) {
	text := what
	if err != nil {
		text += ": " + digitsOff(err.Error())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = make(map[string]int)
	}
	t.failed[client+": "+text]++
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
