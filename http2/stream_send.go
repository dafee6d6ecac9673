// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import "time"

// writeDataLocked sends data as DATA frames, waiting for windows and room. end
// says that it is the last of the stream. c.mu is released while waiting.
//
// A stream that has to wait leaves its data where it is, in line: whoever finds
// that there is room copies it from there (scheduleLocked). So data leaves in
// the order of priorities, and a stream is woken up once, when all is sent.
func (s *stream) writeDataLocked(data []byte, end bool, w *waiter) error {
	c := s.c
	if err := s.sendErrLocked(); err != nil {
		return err
	}
	if len(data) == 0 {
		if end {
			s.appendDataLocked(nil, true, false)
		}
		return nil
	}
	s.pending, s.pendingEnd = data, end
	s.enqueueLocked()
	c.scheduleLocked()
	w.took(len(data)-len(s.pending), 0)
	for s.pending != nil {
		start, before := time.Now(), len(s.pending)
		s.blocked = true
		c.mu.Unlock()
		err := w.wait(s.writable)
		c.mu.Lock()
		s.blocked = false
		w.took(before-len(s.pending), time.Since(start))
		if s.pending == nil {
			break
		}
		if err == errTimeout && w.owed < w.limit {
			err = nil // slow, but it moves
		}
		if s.err != nil {
			err = s.err
		}
		if err != nil {
			c.waiting.remove(s)
			s.pending = nil
			return err
		}
	}
	return nil
}

// enqueueLocked puts the stream in line if it has data to send and a window.
func (s *stream) enqueueLocked() {
	if len(s.pending) > 0 && s.sendWindow > 0 {
		s.c.waiting.add(s)
	}
}

// sendPendingLocked sends one frame of what waits. There must be a window.
func (s *stream) sendPendingLocked() {
	c := s.c
	whole := min(len(s.pending), maxData, c.peer.maxFrame)
	n := int(min(int64(whole), s.sendWindow, c.sendWindow))
	piece := s.pending[:n]
	if s.pending = s.pending[n:]; len(s.pending) > 0 {
		s.appendDataLocked(piece, false, n < whole)
		s.enqueueLocked()
		return
	}
	s.pending = nil
	s.appendDataLocked(piece, s.pendingEnd, false)
	if s.blocked {
		signal(s.writable)
	}
}

// sendErrLocked returns why nothing more can be sent on the stream.
func (s *stream) sendErrLocked() error {
	switch {
	case s.err != nil:
		return s.err
	case s.c.closing:
		return s.c.streamErr()
	case s.localClosed:
		return errEnded
	}
	return nil
}

// awaitRoomLocked waits until a head may be written. Heads do not wait in line
// with data, as they are small, but a peer that reads nothing cannot make us
// keep any number of them. c.mu is released while waiting.
func (s *stream) awaitRoomLocked(w *waiter) error {
	c := s.c
	for {
		if err := s.sendErrLocked(); err != nil {
			return err
		}
		if c.pendingLocked() < maxHeads {
			return nil
		}
		c.headWaiters = append(c.headWaiters, s)
		c.mu.Unlock()
		err := w.wait(s.writable)
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
}
