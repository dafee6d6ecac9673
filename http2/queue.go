// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"slices"
	"strings"
)

// A waitQueue holds the streams that wait for room to write, in the order in
// which they may go on: by urgency (RFC 9218 section 4.1), and among equals
// first come, first served. A stream that has sent one frame and wants more
// comes back at the end, so equals take turns.
type waitQueue struct {
	byUrgency [8][]*stream
	count     int
}

func (q *waitQueue) empty() bool { return q.count == 0 }

// before reports whether some stream in line goes before s.
func (q *waitQueue) before(s *stream) bool {
	for u := range s.urgency + 1 {
		for _, w := range q.byUrgency[u] {
			if w != s && w.sendWindow > 0 {
				return w.c.sendWindow > 0
			}
		}
	}
	return false
}

func (q *waitQueue) add(s *stream) {
	if s.queued {
		return
	}
	s.queued = true
	q.byUrgency[s.urgency] = append(q.byUrgency[s.urgency], s)
	q.count++
}

func (q *waitQueue) remove(s *stream) {
	if !s.queued {
		return
	}
	for u := range q.byUrgency { // its urgency may have changed meanwhile
		if i := slices.Index(q.byUrgency[u], s); i >= 0 {
			q.byUrgency[u] = slices.Delete(q.byUrgency[u], i, i+1)
			break
		}
	}
	s.queued = false
	q.count--
}

// wake lets s look whether it can go on.
func (q *waitQueue) wake(s *stream) {
	if s.queued {
		q.remove(s)
		signal(s.writable)
	}
}

// wakeAll lets the streams in line look whether they can go on, as many as
// room for one frame each is likely to be there.
func (q *waitQueue) wakeAll() {
	for u := range q.byUrgency {
		for n := 0; len(q.byUrgency[u]) > 0; n++ {
			q.wake(q.byUrgency[u][0])
		}
	}
}

// parsePriority returns the urgency of a priority field value (RFC 9218
// section 4): the member u of a dictionary. Equals take turns whether they are
// incremental or not.
func parsePriority(v string) (urgency uint8) {
	urgency = 3
	for member := range strings.SplitSeq(v, ",") {
		key, value, _ := strings.Cut(strings.Trim(member, " \t"), "=")
		if key == "u" && len(value) == 1 && '0' <= value[0] && value[0] <= '7' {
			urgency = value[0] - '0'
		}
	}
	return urgency
}
