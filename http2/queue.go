// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"slices"
	"strings"
)

// A priority says how a response shares the connection with others (RFC 9218
// section 4).
type priority struct {
	urgency    uint8 // 0 to 7, 0 comes first
	sequential bool  // the client has said so: it is of no use before it is complete
}

// A waitQueue holds the streams that have data to send and window of their own
// for it, in the order in which they are served: by urgency and, among equals,
// as RFC 9218 section 10 recommends. Sequential streams come one after the
// other by their numbers, the others frame by frame in turn; where there are
// both kinds, these alternate.
//
// RFC 9218 makes streams sequential that nothing is said about. Here they take
// turns: most clients that say nothing, such as those of gRPC, do not mean
// that one long response may hold up the others.
type waitQueue struct {
	byUrgency [8]waitLine
	count     int
}

// A waitLine holds the streams of one urgency.
type waitLine struct {
	turns    []*stream // first come, first served
	sequence []*stream // by number
	turn     bool      // of the next sequential stream
}

func (q *waitQueue) empty() bool { return q.count == 0 }

func (q *waitQueue) add(s *stream) {
	if s.queued {
		return
	}
	s.queued = true
	q.count++
	line := &q.byUrgency[s.urgency]
	if !s.sequential {
		line.turns = append(line.turns, s)
		return
	}
	i := len(line.sequence)
	for i > 0 && line.sequence[i-1].id > s.id {
		i--
	}
	line.sequence = slices.Insert(line.sequence, i, s)
}

func (q *waitQueue) remove(s *stream) {
	if !s.queued {
		return
	}
	line := &q.byUrgency[s.urgency]
	list := &line.turns
	if s.sequential {
		list = &line.sequence
	}
	i := slices.Index(*list, s)
	*list = slices.Delete(*list, i, i+1)
	s.queued = false
	q.count--
}

// next takes out the stream that comes first, nil if there is none.
func (q *waitQueue) next() *stream {
	if q.empty() {
		return nil
	}
	for u := range q.byUrgency {
		if s := q.byUrgency[u].next(); s != nil {
			q.remove(s)
			return s
		}
	}
	return nil
}

func (l *waitLine) next() *stream {
	switch {
	case len(l.turns) == 0 && len(l.sequence) == 0:
		return nil
	case len(l.turns) == 0 || l.turn && len(l.sequence) > 0:
		l.turn = false
		return l.sequence[0]
	}
	l.turn = true
	return l.turns[0]
}

// parsePriority returns what a priority field value says (RFC 9218 section 4):
// the members u and i of a dictionary.
func parsePriority(v string) priority {
	p := priority{urgency: defaultUrgency, sequential: true}
	for member := range strings.SplitSeq(v, ",") {
		member, _, _ = strings.Cut(member, ";")
		key, value, _ := strings.Cut(strings.Trim(member, " \t"), "=")
		switch {
		case key == "u" && len(value) == 1 && '0' <= value[0] && value[0] <= '7':
			p.urgency = value[0] - '0'
		case key == "i" && (value == "" || value == "?1"):
			p.sequential = false
		case key == "i" && value == "?0":
			p.sequential = true
		}
	}
	return p
}

// defaultUrgency is that of a response that nothing is said about.
const defaultUrgency = 3

// An earlyPriority came in a PRIORITY_UPDATE for a stream that is not open yet.
type earlyPriority struct {
	stream uint32
	priority
}

// maxEarly is how many of them a connection keeps (RFC 9218 section 7).
const maxEarly = 8

// keepPriorityLocked keeps a priority until its stream opens. If there are too
// many, the one that came first goes.
func (c *ServerConn) keepPriorityLocked(id uint32, p priority) {
	c.early = slices.DeleteFunc(c.early, func(e earlyPriority) bool { return e.stream == id })
	if len(c.early) == maxEarly {
		c.early = slices.Delete(c.early, 0, 1)
	}
	c.early = append(c.early, earlyPriority{id, p})
}

// priorityLocked returns the priority of a new stream. field is what its head
// says; what came in a frame is later and counts more.
func (c *ServerConn) priorityLocked(id uint32, field string) priority {
	for i, e := range c.early {
		if e.stream == id {
			c.early = slices.Delete(c.early, i, i+1)
			return e.priority
		}
	}
	if field == "" {
		return priority{urgency: defaultUrgency}
	}
	return parsePriority(field)
}
