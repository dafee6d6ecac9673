// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// maxEvents bounds the lines about single requests, per second.
const maxEvents = 8

// A screen shows what goes on in the demo: lines that stay, and below them,
// on a terminal, one that is written anew each time. It is safe for concurrent
// use.
type screen struct {
	out   io.Writer
	live  bool
	start time.Time

	mu      sync.Mutex
	status  string // the last line, if live; guarded by mu
	second  int64  // of the events counted; guarded by mu
	events  int    // in that second; guarded by mu
	dropped int    // events not shown in that second; guarded by mu
}

func newScreen(out io.Writer, live bool) *screen {
	return &screen{out: out, live: live, start: time.Now()}
}

// text writes lines that stay.
func (s *screen) text(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLocked(fmt.Sprintf(format, args...))
}

// event writes a line that stays, with the time since the start.
func (s *screen) event(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eventLocked(fmt.Sprintf(format, args...))
}

// request is event for what may happen often: of more than maxEvents in a
// second only the number is shown.
func (s *screen) request(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := int64(time.Since(s.start) / time.Second); now != s.second {
		if s.dropped > 0 {
			s.eventLocked(fmt.Sprintf("… and %d more requests in that second", s.dropped))
		}
		s.second, s.events, s.dropped = now, 0, 0
	}
	if s.events++; s.events > maxEvents {
		s.dropped++
		return
	}
	s.eventLocked(fmt.Sprintf(format, args...))
}

// setStatus writes the line at the bottom, or where there is none, a line
// that stays.
func (s *screen) setStatus(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		s.eventLocked(line)
		return
	}
	s.status = s.stamp() + line
	fmt.Fprint(s.out, clearLine, s.status)
}

// end leaves the line at the bottom as it is.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != "" {
		fmt.Fprintln(s.out)
		s.status = ""
	}
}

// clearLine moves to the start of the line and clears it.
const clearLine = "\r\x1b[K"

func (s *screen) stamp() string {
	return fmt.Sprintf("%6.1fs  ", time.Since(s.start).Seconds())
}

func (s *screen) eventLocked(line string) { s.writeLocked(s.stamp() + line + "\n") }

// writeLocked writes text that ends with a line above the status.
func (s *screen) writeLocked(text string) {
	if s.status == "" {
		fmt.Fprint(s.out, text)
		return
	}
	fmt.Fprint(s.out, clearLine, text, s.status)
}
