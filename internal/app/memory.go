// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// TuneMemory sets how far the heap grows between two collections, and gives
// memory back to the system when the process has become quiet, until ctx ends.
//
// What a proxy has in use is small next to what it allocates in a second. With
// Go's own pace it would collect many times per second, and each time requests
// wait: the slowest hundredth takes as long again, or several times as long. And
// a burst of connections leaves garbage of several times what they need, which
// no collection would clear away when there is no work. A process that is busy
// is not trimmed.
func TuneMemory(ctx context.Context) {
	percent := gcPercent(0)
	debug.SetGCPercent(percent)
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	var t trimmer
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		m := readMemory()
		// Setting it stops the world for a moment, so small changes are let be.
		if p := gcPercent(m.live); p > percent*5/4 || p < percent*4/5 {
			percent = p
			debug.SetGCPercent(percent)
		}
		if t.due(m) {
			debug.FreeOSMemory()
			t.trimmed(readMemory())
		}
	}
}

const (
	// freeGarbage is how much garbage is no reason to collect, in bytes.
	freeGarbage = 64 << 20

	// leastPercent is the GOGC of a large heap: it grows to five times what is
	// in use, where Go would say twice.
	leastPercent = 400

	// mostPercent is that of a small one. Go takes it times 4 MiB as the least
	// heap to collect, which is freeGarbage.
	mostPercent = 100 * freeGarbage / (4 << 20)
)

// gcPercent returns the GOGC for a heap of which live bytes are in use.
func gcPercent(live uint64) int {
	return int(min(max(100*freeGarbage/max(live, 1), leastPercent), mostPercent))
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
