// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// A dataQueue holds received data in order.
type dataQueue struct {
	bufs    []*bytebuf.Buf
	first   int          // of bufs that has not been taken
	current *bytebuf.Buf // taken last and still in use
}

func (q *dataQueue) len() int { return len(q.bufs) - q.first }

// add appends a copy of data.
func (q *dataQueue) add(data []byte) {
	for len(data) > 0 {
		var tail *bytebuf.Buf
		if q.len() > 0 {
			tail = q.bufs[len(q.bufs)-1]
		}
		if tail == nil || len(tail.B) == cap(tail.B) {
			tail = bytebuf.Get(min(len(data), bytebuf.Medium))
			q.bufs = append(q.bufs, tail)
		}
		k := min(len(data), cap(tail.B)-len(tail.B))
		tail.B = append(tail.B, data[:k]...)
		data = data[k:]
	}
}

// take returns the next piece. It is valid until the next take or release.
func (q *dataQueue) take() []byte {
	q.drop()
	q.current = q.bufs[q.first]
	q.bufs[q.first] = nil
	if q.first++; q.first == len(q.bufs) {
		q.bufs, q.first = q.bufs[:0], 0
	}
	return q.current.B
}

// drop gives back the piece that was taken last.
func (q *dataQueue) drop() {
	if q.current != nil {
		q.current.Release()
		q.current = nil
	}
}

// release gives back everything and returns how many bytes were never taken.
func (q *dataQueue) release() (unread int) {
	q.drop()
	for _, b := range q.bufs[q.first:] {
		unread += len(b.B)
		b.Release()
	}
	clear(q.bufs)
	q.bufs, q.first = q.bufs[:0], 0
	return unread
}

// takesLocked checks a DATA frame for which the stream is open, and counts it.
// size is that of the frame's payload, content that of its data.
func (s *stream) takesLocked(size int64, content int, end bool) error {
	n := int64(content)
	switch {
	case s.remoteClosed:
		return &streamError{StreamClosed, "DATA after the end of the stream"}
	case !s.headDone:
		return &streamError{ProtocolError, "DATA before the head"}
	case size > s.recvWindow:
		return &streamError{FlowControlError, "stream window exceeded"}
	case s.left >= 0 && (n > s.left || end && n < s.left):
		return &streamError{ProtocolError, "content does not have the declared length"}
	}
	s.recvWindow -= size
	if s.left >= 0 {
		s.left -= n
	}
	return nil
}

// receiveLocked takes data that the peer has sent.
func (s *stream) receiveLocked(data []byte, end bool) {
	s.queue.add(data)
	if end {
		s.endRemoteLocked()
	} else if len(data) > 0 {
		signal(s.readable)
	}
}

// readBody returns the next piece of received data and whether it is the
// last. The piece is valid until the next call.
func (s *stream) readBody(w *waiter) (piece []byte, last bool, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.queue.drop()
	for {
		switch {
		case s.queue.len() > 0:
			piece = s.queue.take()
			s.received += int64(len(piece))
			w.pace.Moved(len(piece))
			c.giveBackLocked(s, int64(len(piece)))
			return piece, s.remoteClosed && s.queue.len() == 0, nil
		case s.remoteClosed:
			return nil, true, nil
		case s.err != nil:
			return nil, false, s.err
		case s.interrupted:
			return nil, false, errInterrupted
		}
		if err := s.awaitDataLocked(w); err != nil {
			return nil, false, err
		}
	}
}

// awaitDataLocked waits for something to read, at least at the pace that is
// asked for. What counts is the time in which it is up to the peer alone: not
// before the first byte, as the peer may wait for a 100, and not while unread
// data of other streams may keep it from sending. The stream's own window is
// open, as everything has been read. c.mu is released while waiting.
func (s *stream) awaitDataLocked(w *waiter) error {
	c := s.c
	paced := w.paced()
	var start time.Time
	var crowded time.Duration
	if paced {
		if !w.pace.MayWait() {
			return netio.ErrTooSlow
		}
		start, crowded = time.Now(), c.crowded.total()
	}
	c.mu.Unlock()
	err := w.wait(s.readable)
	c.mu.Lock()
	if paced && s.received > 0 {
		w.pace.Waited(time.Since(start) - (c.crowded.total() - crowded))
	}
	return err
}

// buffered reports whether readBody would return without waiting.
func (s *stream) buffered() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.queue.len() > 0 || s.remoteClosed || s.err != nil
}

// oneBuffer reports whether the whole body is here, in one piece at most.
func (s *stream) oneBuffer() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.remoteClosed && s.queue.len() <= 1
}

func (s *stream) interrupt(on bool) {
	s.c.mu.Lock()
	s.interrupted = on
	s.c.mu.Unlock()
	if on {
		signal(s.readable)
	}
}

// stepLocked returns how much of a stream's window is given back at a time:
// half of it at first, and less of one that has grown, so that a long path does
// not run dry meanwhile.
func (s *stream) stepLocked() int64 { return max(int64(s.c.cfg.StreamWindow)/2, s.recvMax/8) }

// growLocked widens the window of a stream whose reader keeps up, doubling it
// when it goes by at a rate of half a window in growTime or more. It returns by
// how much.
func (s *stream) growLocked() int64 {
	unread := s.recvMax - s.recvWindow - s.recvUnsent
	if limit := int64(s.c.cfg.MaxStreamWindow); s.c.growsLocked(&s.lastGrow, s.recvMax, s.recvUnsent, unread) && s.recvMax < limit {
		grow := max(min(s.recvMax, limit-s.recvMax, s.c.roomToGrowLocked()), 0)
		s.recvMax += grow
		s.c.grown += grow
		return grow
	}
	return 0
}

// growLocked is the same for the window of the connection.
func (c *conn) growLocked() int64 {
	limit := int64(c.cfg.MaxConnWindow)
	if c.recvMax == limit || c.recvUnsent < c.recvMax/2 {
		return 0
	}
	unread := c.recvMax - c.recvWindow - c.recvUnsent
	if !c.growsLocked(&c.lastGrow, c.recvMax, c.recvUnsent, unread) {
		return 0
	}
	grow := min(c.recvMax, limit-c.recvMax)
	c.recvMax += grow
	return grow
}

// growsLocked reports whether a window of size should grow, now that read bytes
// of it have gone by since last, which becomes now. Data that nobody has read
// yet says that it is the reader who holds the peer back.
func (c *conn) growsLocked(last *time.Time, size, read, unread int64) bool {
	now := time.Now()
	within := max(growTime, 2*c.rtt)
	quick := now.Sub(*last) < time.Duration(float64(within)*float64(2*read)/float64(size))
	*last = now
	return quick && unread <= size/4
}

// roomToGrowLocked returns by how much the windows of streams may grow still.
// What a stream holds unread is taken from the window of the connection, so
// streams whose readers are slow must not be able to fill it: enough is left
// for the first window of every other stream or, if the connection has no
// window for that, a quarter.
func (c *conn) roomToGrowLocked() int64 {
	firsts := int64(c.cfg.MaxStreams) * int64(c.cfg.StreamWindow)
	return max(c.recvMax-firsts, c.recvMax/4*3) - c.grown
}

// ungrowLocked gives back by how much the window of the stream has grown, when
// its user is done.
func (s *stream) ungrowLocked() {
	if grown := s.recvMax - int64(s.c.cfg.StreamWindow); grown > 0 {
		s.c.grown -= grown
		s.recvMax -= grown
	}
}

// growTime is the time in which half a window has to be used up for it to grow:
// longer than most round trips, and never less than two, so that a window does
// not hold a peer back for long.
const growTime = 200 * time.Millisecond

// maxRTT bounds the round trip time that a peer can make us see.
const maxRTT = time.Second
