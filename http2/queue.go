// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"slices"
	"strings"
)

// A waitQueue holds the streams that have data to send and window of their own
// for it, in the order in which they are served: by urgency (RFC 9218 section
// 4.1), and among equals first come, first served. A stream that has sent one
// frame and wants more comes back at the end, so equals take turns.
type waitQueue struct {
	byUrgency [8][]*stream
	count     int
}

func (q *waitQueue) empty() bool { return q.count == 0 }

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
	line := q.byUrgency[s.urgency]
	i := slices.Index(line, s)
	q.byUrgency[s.urgency] = slices.Delete(line, i, i+1)
	s.queued = false
	q.count--
}

// next takes out the stream that comes first, nil if there is none.
func (q *waitQueue) next() *stream {
	if q.empty() {
		return nil
	}
	for u := range q.byUrgency {
		if line := q.byUrgency[u]; len(line) > 0 {
			s := line[0]
			q.remove(s)
			return s
		}
	}
	return nil
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
