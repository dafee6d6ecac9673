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
		streams[i] = &stream{id: uint32(i), urgency: urgency}
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

func TestParsePriority(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]uint8{
		"": 3, "u=0": 0, "u=7, i": 7, "i, u=1": 1, " u=2 ": 2, "u=8": 3, "u=-1": 3, "u=12": 3, "u": 3, "U=1": 3,
		"u=1,u=5": 5, "i;x=\"u=1\"": 3, ",,,=,u==": 3,
	} {
		if got := parsePriority(in); got != want {
			t.Errorf("parsePriority(%q) = %d, want %d", in, got, want)
		}
	}
}
