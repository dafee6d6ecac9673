// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestTrimmerDue(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	quiet := memory{allocated: 1000 * mib, live: 50 * mib, objects: 150 * mib, unused: 20 * mib}
	with := func(f func(*memory)) memory { m := quiet; f(&m); return m }
	tests := []struct {
		name  string
		m     memory
		spent uint64 // between two looks
		due   bool
	}{
		{"quiet", quiet, 0, true},
		{"a little work", quiet, 2 * mib, true},
		{"work", quiet, 3 * mib, false},
		{"nothing spare", with(func(m *memory) { m.live, m.objects, m.unused = 30*mib, 30*mib, 7*mib }), 0, false},
		{"just enough", with(func(m *memory) { m.live, m.objects, m.unused = 30*mib, 30*mib, 8*mib }), 0, true},
		{"little beside what is live", with(func(m *memory) { m.live, m.objects, m.unused = 800*mib, 850*mib, 40*mib }), 0, false},
		{"live grew beyond what was counted", with(func(m *memory) { m.objects, m.unused = 40*mib, 0 }), 0, false},
	}
	for _, tt := range tests {
		var tr trimmer
		m := tt.m
		for range trimQuiet {
			if tr.due(m) && tr.quiet < trimQuiet {
				t.Errorf("%s: due at once", tt.name)
			}
			m.allocated += tt.spent
		}
		// The first look has nothing to compare with, so one more.
		if got := tr.due(m); got != tt.due {
			t.Errorf("%s: due %v, want %v", tt.name, got, tt.due)
		}
	}
}

// What a trim cannot give back is not tried again and again.
func TestTrimmerGivesUp(t *testing.T) {
	t.Parallel()
	m := memory{live: 50 << 20, objects: 150 << 20}
	var tr trimmer
	for range 10 {
		tr.due(m)
	}
	tr.trimmed(m)
	for range 10 {
		if tr.due(m) {
			t.Fatal("due again, though the last trim gave nothing back")
		}
	}
	m.objects += 100 << 20
	due := false
	for range trimQuiet {
		due = tr.due(m)
	}
	if !due {
		t.Error("not due for new garbage")
	}
}

// sink keeps the compiler from leaving out what the test allocates.
var sink []byte

func TestReadMemory(t *testing.T) {
	runtime.GC()
	before := readMemory()
	for range 64 {
		sink = make([]byte, 1<<20)
	}
	sink = nil
	after := readMemory()
	if got := after.allocated - before.allocated; got < 64<<20 || before.live == 0 || before.objects == 0 {
		t.Errorf("allocated %d bytes between %+v and %+v, want at least 64 MiB, and nothing 0", got, before, after)
	}
	debug.FreeOSMemory()
	if got := readMemory().spare(); got > after.spare() {
		t.Errorf("%d bytes spare after a trim, %d before", got, after.spare())
	}
}
