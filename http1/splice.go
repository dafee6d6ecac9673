// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"io"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// minSplice is the number of bytes of body from which on moving them inside
// the kernel pays for the pipe it takes.
const minSplice = 64 << 10

// CanSplice reports whether what is left of the response body can go from src
// to dst without passing through the program: both are plain TCP, the framing
// is a length on both sides, and enough is left.
func CanSplice(dst *ServerStream, src *ClientConn) bool { return canSplice(&dst.out, &src.body) }

// CanSpliceRequest is the same for the request body.
func CanSpliceRequest(dst *ClientConn, src *ServerStream) bool { return canSplice(&dst.out, &src.body) }

func canSplice(dst *output, src *bodyReader) bool {
	return src.kind == bodyFixed && dst.kind == bodyFixed && src.left == dst.left && src.left >= minSplice &&
		src.in.empty() && netio.CanSplice(dst.conn, src.in.conn)
}

// Splice moves the rest of a response body for which CanSplice holds.
func Splice(dst *ServerStream, src *ClientConn) error {
	if err := dst.Flush(); err != nil {
		return err
	}
	s := splicer{dst: &dst.out, src: &src.body}
	err := s.run()
	if we, ok := errors.AsType[*netio.SpliceWriteError](err); ok {
		return dst.flushError(we.Err)
	}
	if err != nil {
		return src.readError("read response body", err)
	}
	return nil
}

// SpliceRequest moves the rest of a request body for which CanSpliceRequest
// holds. beforeLast is called when only the last piece is still to be sent.
func SpliceRequest(dst *ClientConn, src *ServerStream, beforeLast func()) error {
	if err := dst.Flush(); err != nil {
		return err
	}
	s := splicer{dst: &dst.out, src: &src.body, taken: func() {
		src.received.Store(src.body.received)
		if src.body.done {
			src.arrived.Store(true) // the answer may come before send returns
			beforeLast()
		}
	}}
	err := s.run()
	if we, ok := errors.AsType[*netio.SpliceWriteError](err); ok {
		return dst.writeError(we.Err)
	}
	if err != nil {
		return src.readError(err)
	}
	return nil
}

// A splicer moves the rest of a body from src to dst.
type splicer struct {
	dst   *output
	src   *bodyReader
	taken func() // called when src has been read from; may be nil

	start time.Time // of the wait for src
}

// run moves all of it. Its errors are those of bodyReader.next and
// *netio.SpliceWriteError.
func (s *splicer) run() error {
	s.src.in.release()
	took := s.took
	for !s.src.done {
		n, err := s.piece(took)
		s.dst.left -= n
		s.dst.sent += n
		s.dst.bodySent += n
		if err != nil {
			return err
		}
	}
	s.dst.done = true
	return nil
}

// piece moves what has come, waiting for it as bodyReader does.
func (s *splicer) piece(took func(int)) (n int64, err error) {
	in := s.src.in
	if !s.src.pace.MayWait() && !s.src.lenient.Load() {
		return 0, netio.ErrTooSlow
	}
	s.start = netio.Now()
	w := wait{start: s.start, limit: s.src.timeout, tick: firstTick}
	for now := s.start; ; now = netio.Now() {
		w.arm(in, now)
		n, err = netio.Splice(s.dst.conn, in.conn, s.src.left, took, s.dst.timeout)
		if _, ok := errors.AsType[*netio.SpliceWriteError](err); ok {
			s.dst.failed = true
			return n, err
		}
		if err == io.EOF {
			return n, io.ErrUnexpectedEOF
		}
		if netio.IsTimeout(err) {
			if err = w.expired(in, netio.Now()); err == nil {
				continue
			}
		}
		return n, err
	}
}

// took takes note of what src has given.
func (s *splicer) took(n int) {
	b := s.src
	if b.pace.Active() {
		b.pace.Waited(netio.Now().Sub(s.start))
		b.pace.Moved(n)
	}
	b.left -= int64(n)
	b.received += int64(n)
	b.done = b.left == 0
	if s.taken != nil {
		s.taken()
	}
}
