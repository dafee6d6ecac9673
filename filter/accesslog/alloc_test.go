// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"io"
	"testing"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// raceEnabled tells a build with the race detector: there buffers are counted,
// and pools forget some on purpose.
var raceEnabled = func() bool {
	b := bytebuf.Get(1)
	defer b.Release()
	return bytebuf.Outstanding() != 0
}()

// line does what Filter's hook does with an entry.
func line(w *Writer, e *entry) {
	b := bytebuf.Get(bytebuf.Small)
	b.B = e.append(b.B)
	w.add(b.B)
	b.Release()
}

// TestEntryAllocs holds what a line allocates: nothing, once there are buffers.
func TestEntryAllocs(t *testing.T) {
	w := New(io.Discard, nil)
	e := sample()
	many := func() {
		for range 100 {
			line(w, &e)
		}
		w.Flush()
	}
	many()
	many()
	// A garbage collection may empty the pool: less than one in 100 lines.
	if got := testing.AllocsPerRun(20, many); got > 1 && !raceEnabled {
		t.Errorf("%v allocations for 100 lines, want none", got)
	}
}

func BenchmarkLine(b *testing.B) {
	w := New(io.Discard, nil)
	e := sample()
	n := int64(len(e.append(nil)))
	b.SetBytes(n)
	b.ReportAllocs()
	written := int64(0)
	for b.Loop() {
		line(w, &e)
		if written += n; written >= flushAt {
			w.Flush()
			written = 0
		}
	}
}
