// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
)

// errTimeout is returned when a wait took longer than it may.
var errTimeout = errors.New("http2: timeout")

// errInterrupted is returned by a wait that another goroutine has ended.
var errInterrupted = errors.New("http2: interrupted")

// A ResetError says that the peer has ended a stream.
type ResetError struct {
	Code   ErrCode
	GoAway bool // by a GOAWAY that does not cover the stream
}

// Error returns, for example, "http2: stream reset by peer: CANCEL".
func (e *ResetError) Error() string {
	if e.GoAway {
		return "http2: stream not taken: GOAWAY"
	}
	return "http2: stream reset by peer: " + e.Code.String()
}

// A GoAwayError says that the peer has ended the connection with an error.
type GoAwayError struct {
	Code  ErrCode
	Debug string // what the peer said about it, cut to 200 bytes
}

// Error returns, for example, "http2: connection ended by peer:
// ENHANCE_YOUR_CALM".
func (e *GoAwayError) Error() string {
	if e.Debug != "" {
		return fmt.Sprintf("http2: connection ended by peer: %v: %q", e.Code, e.Debug)
	}
	return "http2: connection ended by peer: " + e.Code.String()
}

// A stream is what both roles have in common.
type stream struct {
	c  *conn
	id uint32

	// Guarded by c.mu.
	sendWindow   int64
	recvWindow   int64 // what the peer may still send
	recvMax      int64 // what the window is when nothing is unread
	recvUnsent   int64 // consumed and not yet given back
	lastGrow     time.Time
	queue        []*bytebuf.Buf // received data, in order
	headDone     bool           // a final head has been received
	remoteClosed bool           // the peer has sent its last frame
	localClosed  bool           // we have
	err          error          // why the stream failed
	interrupted  bool
	left         int64 // of the declared content-length; negative if unknown
	trailersRecv header.Fields
	urgency      uint8              // 0 to 7 (RFC 9218)
	queued       bool               // in c.waiting
	heads        []*header.Response // client: received and not yet read
	method       string             // client: of the request

	readable chan struct{} // has a value when something to read may have come
	writable chan struct{} // likewise room to write

	// The reader's own.
	current  *bytebuf.Buf // returned by the last readBody
	received int64
	timer    *time.Timer
}

// init prepares a stream for use. Its windows are set when it is opened.
func (s *stream) init(c *conn, id uint32) {
	s.c, s.id = c, id
	s.urgency = 3
	s.left = -1
	s.readable = make(chan struct{}, 1)
	s.writable = make(chan struct{}, 1)
}

// openLocked makes s one of the streams of its connection.
func (s *stream) openLocked() {
	c := s.c
	s.sendWindow = c.peer.initialWindow
	s.recvWindow = int64(c.cfg.StreamWindow)
	s.recvMax = s.recvWindow
	c.streams[s.id] = s
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// receiveLocked takes data that the peer has sent.
func (s *stream) receiveLocked(data []byte, end bool) error {
	if s.left >= 0 {
		if s.left -= int64(len(data)); s.left < 0 || end && s.left > 0 {
			return &streamError{ProtocolError, "content does not have the declared length"}
		}
	}
	n := len(data)
	for len(data) > 0 {
		var tail *bytebuf.Buf
		if k := len(s.queue); k > 0 {
			tail = s.queue[k-1]
		}
		if tail == nil || len(tail.B) == cap(tail.B) {
			tail = bytebuf.Get(bytebuf.Small)
			if len(data) > bytebuf.Small {
				tail.Release()
				tail = bytebuf.Get(bytebuf.Medium)
			}
			s.queue = append(s.queue, tail)
		}
		k := min(len(data), cap(tail.B)-len(tail.B))
		tail.B = append(tail.B, data[:k]...)
		data = data[k:]
	}
	if end {
		s.endRemoteLocked()
	}
	if n > 0 || end {
		signal(s.readable)
	}
	return nil
}

// endRemoteLocked notes that the peer sends no more on the stream.
func (s *stream) endRemoteLocked() {
	s.remoteClosed = true
	if s.localClosed {
		s.c.removeLocked(s)
	}
	signal(s.readable)
}

// endLocalLocked notes that we send no more on the stream.
func (s *stream) endLocalLocked() {
	s.localClosed = true
	if s.remoteClosed {
		s.c.removeLocked(s)
	}
}

// failLocked ends the stream with an error.
func (s *stream) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.remoteClosed, s.localClosed = true, true
	s.c.removeLocked(s)
	signal(s.readable)
	signal(s.writable)
}

// reset ends the stream from our side, unless it has ended already.
func (s *stream) reset(code ErrCode) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] != s {
		return
	}
	c.noteResetLocked(s.id)
	c.controlLocked(func(b []byte) []byte { return appendRSTStream(b, s.id, code) })
	s.failLocked(&ResetError{Code: code})
}

// finish gives back what the stream holds, when its user is done.
func (s *stream) finish() {
	c := s.c
	c.mu.Lock()
	unread := 0
	for _, b := range s.queue {
		unread += len(b.B)
		b.Release()
	}
	s.queue = nil
	if unread > 0 {
		c.giveBackLocked(nil, int64(unread))
	}
	c.mu.Unlock()
	s.dropCurrent()
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *stream) dropCurrent() {
	if s.current != nil {
		s.current.Release()
		s.current = nil
	}
}

// readBody returns the next piece of received data and whether it is the
// last. The piece is valid until the next call.
func (s *stream) readBody(w *waiter) (piece []byte, last bool, err error) {
	s.dropCurrent()
	c := s.c
	for {
		c.mu.Lock()
		switch {
		case len(s.queue) > 0:
			s.current = s.queue[0]
			s.queue = s.queue[1:]
			n := len(s.current.B)
			s.received += int64(n)
			c.giveBackLocked(s, int64(n))
			last = s.err == nil && s.remoteClosed && len(s.queue) == 0
			c.mu.Unlock()
			return s.current.B, last, nil
		case s.err != nil:
			err = s.err
		case s.remoteClosed:
			last = true
		case s.interrupted:
			err = errInterrupted
		default:
			c.mu.Unlock()
			if err := w.wait(s, s.readable); err != nil {
				return nil, false, err
			}
			continue
		}
		c.mu.Unlock()
		return nil, last, err
	}
}

// buffered reports whether readBody would return without waiting.
func (s *stream) buffered() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return len(s.queue) > 0 || s.remoteClosed || s.err != nil
}

// complete reports whether the whole body has been received.
func (s *stream) complete() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.remoteClosed && s.err == nil
}

// oneBuffer reports whether the whole body is here, in one piece at most.
func (s *stream) oneBuffer() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.remoteClosed && s.err == nil && len(s.queue) <= 1
}

func (s *stream) interrupt(on bool) {
	s.c.mu.Lock()
	s.interrupted = on
	s.c.mu.Unlock()
	if on {
		signal(s.readable)
	}
}

// growLocked widens the window of a stream whose reader keeps up, doubling it
// when a whole window went by in less than growTime. It returns by how much.
func (s *stream) growLocked() int64 {
	now := time.Now()
	quick := now.Sub(s.lastGrow) < growTime
	s.lastGrow = now
	limit := int64(s.c.cfg.MaxStreamWindow)
	if !quick || s.recvMax >= limit {
		return 0
	}
	grow := min(s.recvMax, limit-s.recvMax)
	s.recvMax += grow
	return grow
}

// growTime is the time in which a stream has to use up half its window for
// the window to grow: longer than most round trips, so that a stream that is
// held back by its window is not for long.
const growTime = 200 * time.Millisecond

// A waiter bounds the waits of a stream.
type waiter struct {
	limit time.Duration // zero and negative mean no bound
	watch Watcher
}

// A Watcher is asked now and then, while a stream waits for its peer, whether
// the wait still makes sense. Its error ends the wait.
type Watcher interface {
	WhileWaiting() error
}

// The time between two looks at the Watcher.
const (
	firstTick = 100 * time.Millisecond
	lastTick  = time.Second
)

// wait waits for ch.
func (w *waiter) wait(s *stream, ch chan struct{}) error {
	select {
	case <-ch:
		return nil
	default:
	}
	start := time.Now()
	tick := firstTick
	for {
		due := time.Hour
		if w.limit > 0 {
			due = w.limit - time.Since(start)
			if due <= 0 {
				return errTimeout
			}
		}
		if w.watch != nil {
			due = min(due, tick)
		}
		if s.timer == nil {
			s.timer = time.NewTimer(due)
		} else {
			s.timer.Reset(due)
		}
		select {
		case <-ch:
			s.timer.Stop()
			return nil
		case <-s.timer.C:
		}
		if w.watch != nil {
			if err := w.watch.WhileWaiting(); err != nil {
				return err
			}
			tick = min(2*tick, lastTick)
		}
	}
}

// maxData is the largest DATA frame that we send, so that streams share a
// connection finely.
const maxData = 16 << 10

// writeData sends data as DATA frames, waiting for windows and room. end says
// that it is the last of the stream.
func (s *stream) writeData(data []byte, end bool, w *waiter) error {
	c := s.c
	first := true
	for {
		c.mu.Lock()
		if err := s.sendErrLocked(); err != nil {
			c.mu.Unlock()
			return err
		}
		n := s.roomLocked(len(data), first)
		if n == 0 && len(data) > 0 {
			c.waiting.add(s)
			c.mu.Unlock()
			first = false
			if err := w.wait(s, s.writable); err != nil {
				return err
			}
			continue
		}
		last := end && n == len(data)
		if n > 0 || last {
			s.appendDataLocked(data[:n], last)
		}
		data = data[n:]
		c.mu.Unlock()
		if len(data) == 0 {
			return nil
		}
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
		return errors.New("http2: write after the end of the stream")
	}
	return nil
}

// roomLocked returns how many of n bytes may be sent now. A stream that has
// just come does not overtake those in line.
func (s *stream) roomLocked(n int, first bool) int {
	c := s.c
	if first && !c.waiting.empty() && c.waiting.before(s) {
		return 0
	}
	room := maxOut
	if c.out != nil {
		room -= len(c.out.B)
	}
	return max(min(n, maxData, c.peer.maxFrame, room, int(min(s.sendWindow, c.sendWindow, 1<<30))), 0)
}

func (s *stream) appendDataLocked(data []byte, end bool) {
	c := s.c
	var flags uint8
	if end {
		flags = flagEndStream
	}
	b := c.outLocked()
	b.B = appendFrameHeader(b.B, frameHeader{length: len(data), typ: frameData, flags: flags, stream: s.id})
	b.B = append(b.B, data...)
	s.sendWindow -= int64(len(data))
	c.sendWindow -= int64(len(data))
	if end {
		s.endLocalLocked()
	}
	c.flushable.Signal()
}

// appendHeadLocked appends a header block as HEADERS and CONTINUATION.
func (s *stream) appendHeadLocked(block []byte, end bool) {
	c := s.c
	b := c.outLocked()
	typ := frameHeaders
	for {
		n := min(len(block), c.peer.maxFrame)
		var flags uint8
		if typ == frameHeaders && end {
			flags |= flagEndStream
		}
		if n == len(block) {
			flags |= flagEndHeaders
		}
		b.B = appendFrameHeader(b.B, frameHeader{length: n, typ: typ, flags: flags, stream: s.id})
		b.B = append(b.B, block[:n]...)
		if block = block[n:]; len(block) == 0 {
			break
		}
		typ = frameContinuation
	}
	if end {
		s.endLocalLocked()
	}
	c.flushable.Signal()
}

// writeHead encodes and sends a head, or trailers. Unlike data it does not
// wait for room: heads are small and one per stream.
func (s *stream) writeHead(encode func(*headWriter) []byte, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.sendErrLocked(); err != nil {
		return err
	}
	s.appendHeadLocked(encode(c.writer), end)
	return nil
}

// isReset reports whether err says that the peer or its connection is gone.
func isReset(err error) bool {
	var re *ResetError
	var ge *GoAwayError
	return errors.As(err, &re) || errors.As(err, &ge) || err == io.ErrUnexpectedEOF
}
