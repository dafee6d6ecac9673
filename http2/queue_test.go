// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"fmt"
	"testing"
)

func TestWaitQueue(t *testing.T) {
	t.Parallel()
	var q waitQueue
	var streams [6]*stream
	for i, urgency := range []uint8{3, 3, 0, 7, 3, 0} {
		streams[i] = &stream{id: uint32(i), priority: priority{urgency: urgency}}
		q.add(streams[i])
		q.add(streams[i]) // is there already
	}
	q.remove(streams[4])
	q.remove(streams[4]) // is not there any more
	got := ""
	for s := q.next(); s != nil; s = q.next() {
		got += fmt.Sprint(s.id, " ")
		if s.id == 0 && len(got) < 8 {
			q.add(s) // has more to send: at the end of its line
		}
	}
	if want := "2 5 0 1 0 3 "; got != want || !q.empty() {
		t.Errorf("order %s, empty %v, want %s", got, q.empty(), want)
	}
}

// TestWaitQueueSequence: streams that are sequential come one after the other,
// by number, and alternate with those that take turns.
func TestWaitQueueSequence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		streams string // "s" for sequential, "t" for taking turns
		want    string
	}{
		{"sss", "0 0 0 1 1 1 2 2 2 "},
		{"ttt", "0 1 2 0 1 2 0 1 2 "},
		{"tst", "0 1 2 1 0 1 2 0 2 "},
		{"sst", "2 0 2 0 2 0 1 1 1 "},
	} {
		var q waitQueue
		left := map[*stream]int{}
		for i := range tt.streams {
			id := len(tt.streams) - 1 - i // the last comes first
			s := &stream{id: uint32(id), priority: priority{3, tt.streams[id] == 's'}}
			left[s] = 3
			if tt.streams[id] == 's' {
				q.add(s)
			}
		}
		for id := range tt.streams {
			for s := range left {
				if int(s.id) == id {
					q.add(s)
				}
			}
		}
		got := ""
		for s := q.next(); s != nil; s = q.next() {
			got += fmt.Sprint(s.id, " ")
			if left[s]--; left[s] > 0 {
				q.add(s)
			}
		}
		if got != tt.want || !q.empty() {
			t.Errorf("%s: order %s, want %s", tt.streams, got, tt.want)
		}
	}
}

func TestParsePriority(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]priority{
		"": {3, true}, "u=0": {0, true}, "u=7, i": {7, false}, "i, u=1": {1, false}, " u=2 ": {2, true}, "u=8": {3, true},
		"u=-1": {3, true}, "u=12": {3, true}, "u": {3, true}, "U=1": {3, true}, "u=1,u=5": {5, true}, "i;x=\"u=1\"": {3, false},
		",,,=,u==": {3, true}, "i=?1": {3, false}, "i=?0": {3, true}, "i, i=?0": {3, true}, "i=1": {3, true}, "u=1;x;y=2": {1, true},
	} {
		if got := parsePriority(in); got != want {
			t.Errorf("parsePriority(%q) = %v, want %v", in, got, want)
		}
	}
}

// TestEarlyPriority: what comes before its stream counts when that opens, and
// is kept for a bounded number of streams.
func TestEarlyPriority(t *testing.T) {
	t.Parallel()
	var c ServerConn
	for id := uint32(1); id <= 2*maxEarly+1; id += 2 {
		c.keepPriorityLocked(id, priority{urgency: 1})
		c.keepPriorityLocked(id, priority{urgency: 5})
	}
	for _, tt := range []struct {
		id    uint32
		field string
		want  priority
	}{
		{1, "", priority{3, false}}, // forgotten
		{1, "u=2", priority{2, true}},
		{3, "u=2", priority{5, false}},
		{3, "u=2", priority{2, true}}, // once
		{2*maxEarly + 1, "", priority{5, false}},
	} {
		if got := c.priorityLocked(tt.id, tt.field); got != tt.want {
			t.Errorf("stream %d with %q: %v, want %v", tt.id, tt.field, got, tt.want)
		}
	}
	if len(c.early) != maxEarly-2 {
		t.Errorf("%d are kept, want %d", len(c.early), maxEarly-2)
	}
}
