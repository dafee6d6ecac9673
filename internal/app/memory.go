// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// TrimMemory gives memory back to the system when the process has become
// quiet, until ctx ends. A burst of connections leaves garbage of several times
// what they need, and without work there is no collection that would clear it
// away. A process that is busy is left alone.
func TrimMemory(ctx context.Context) {
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	var t trimmer
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if t.due(readMemory()) {
			debug.FreeOSMemory()
			t.trimmed(readMemory())
		}
	}
}

const (
	// trimInterval is how often the memory is looked at. A look costs some
	// microseconds.
	trimInterval = time.Second

	// trimQuiet is how many looks in a row have to find the process quiet.
	trimQuiet = 3

	// trimLeast is what a trim has to promise, in bytes.
	trimLeast = 8 << 20
)

// memory is what one look finds, in bytes.
type memory struct {
	allocated uint64 // since the start
	live      uint64 // at the last collection
	objects   uint64 // live ones and garbage
	unused    uint64 // kept for reuse
}

// readMemory takes a look.
func readMemory() memory {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // this version of Go does not know it: there is nothing to trim then
		}
		return samples[i].Value.Uint64()
	}
	return memory{value(0), value(1), value(2), value(3)}
}

// spare returns what a trim may give back.
func (m memory) spare() uint64 {
	spare := m.unused
	if m.objects > m.live {
		spare += m.objects - m.live
	}
	return spare
}

// A trimmer decides when a trim is due.
type trimmer struct {
	last  memory // as the last look found it
	quiet int    // looks in a row
	left  uint64 // what was spare right after the last trim: it cannot be given back
}

// due reports whether to trim now. It is if the spare memory is worth it, and
// would last for a minute at the rate at which memory has been allocated for
// some time.
func (t *trimmer) due(m memory) bool {
	spent := m.allocated - t.last.allocated
	t.last = m
	spare := m.spare()
	t.left = min(t.left, spare)
	spare -= t.left
	if spare < trimLeast || spare < m.live/4 || spent > spare/60 {
		t.quiet = 0
		return false
	}
	t.quiet++
	return t.quiet >= trimQuiet
}

// trimmed notes the outcome of a trim.
func (t *trimmer) trimmed(m memory) {
	t.last, t.quiet, t.left = m, 0, m.spare()
}
