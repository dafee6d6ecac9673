// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// errTimeout is returned when a wait took longer than it may.
var errTimeout = errors.New("http1: timeout")

// A Watcher is asked now and then, while a connection waits for its peer,
// whether the wait still makes sense. Its error ends the wait, except
// ErrStillSending, which says that the peer has no reason yet to send anything:
// its time starts anew.
type Watcher interface {
	WhileWaiting() error
}

// ErrStillSending is what a Watcher returns while the request that the peer
// shall answer is still being sent.
var ErrStillSending = errors.New("http1: still sending")

// The time between two looks at the Watcher: the first is what a client that
// leaves may cost, the growth keeps long polls cheap.
const (
	firstTick = 100 * time.Millisecond
	lastTick  = time.Second
)

// An input is the receiving half of a connection: a buffer that is attached
// only while it holds something or is about to.
type input struct {
	conn  *netio.Conn
	watch Watcher
	buf   *bytebuf.Buf
	r, w  int  // what is unread is buf.B[r:w]
	full  bool // the last recv may have left something behind
}

// unread returns what has been received and not consumed.
func (in *input) unread() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.B[in.r:in.w]
}

func (in *input) empty() bool { return in.r == in.w }

// skip consumes n unread bytes.
func (in *input) skip(n int) { in.r += n }

// release gives the buffer back if it is empty.
func (in *input) release() {
	if in.buf != nil && in.r == in.w {
		in.drop()
	}
}

// drop gives the buffer back with all that is in it.
func (in *input) drop() {
	if in.buf != nil {
		in.buf.Release()
		in.buf = nil
	}
	in.r, in.w = 0, 0
}

// room makes sure that there is a buffer of at least size bytes, with free
// space at its end, and returns that space. Slices of the old content become
// invalid.
func (in *input) room(size int) []byte {
	switch {
	case in.buf == nil:
		in.buf = bytebuf.Get(size)
	case in.r == in.w:
		in.r, in.w = 0, 0
		if cap(in.buf.B) < size {
			in.buf.Release()
			in.buf = bytebuf.Get(size)
		}
	case in.w == cap(in.buf.B):
		in.grow(size)
	}
	b := in.buf.B[:cap(in.buf.B)]
	in.buf.B = b
	return b[in.w:]
}

// grow makes space behind unread bytes that reach the end of the buffer: by
// moving them to the front if that frees at least a quarter, or into a larger
// buffer.
func (in *input) grow(size int) {
	unread := in.buf.B[in.r:in.w]
	old := in.buf
	if n := cap(old.B); in.r < n/4 || n < size {
		in.buf = bytebuf.Get(max(size, 2*n))
	}
	b := in.buf.B[:cap(in.buf.B)]
	in.w = copy(b, unread)
	in.r = 0
	in.buf.B = b
	if old != in.buf {
		old.Release()
	}
}

// recv receives once, as netio.Conn.Recv does.
func (in *input) recv(size int) error {
	p := in.room(size)
	n, err := in.conn.Recv(p)
	in.w += n
	in.full = in.conn.More()
	return err
}

// recvWait receives once, outside Loop, waiting at most limit; zero and
// negative mean no bound. Its errors are errTimeout, that of the Watcher, and
// those of the connection.
func (in *input) recvWait(size int, limit time.Duration) error {
	start := netio.Now()
	w := wait{start: start, limit: limit, tick: firstTick}
	for now := start; ; now = netio.Now() {
		w.arm(in, now)
		err := in.recv(size)
		if err == nil || !netio.IsTimeout(err) {
			return err
		}
		if err := w.expired(in, netio.Now()); err != nil {
			return err
		}
	}
}

// A wait is the bookkeeping of one bounded wait on an input.
type wait struct {
	start time.Time
	limit time.Duration
	tick  time.Duration // until the next look at the Watcher
	look  bool          // look after one tick, even without a Watcher
}

// arm sets a read deadline that is due no later than the next event of w, and
// keeps the one that is set if it will do.
func (w *wait) arm(in *input, now time.Time) {
	due := w.limit - now.Sub(w.start)
	if w.limit <= 0 {
		due = time.Hour
	}
	if in.watch != nil || w.look {
		due = min(due, w.tick)
	}
	due = max(due, time.Millisecond)
	in.conn.EnsureRead(now, due/2, due)
}

// expired tells whether a read deadline that fired ends the wait. nil means
// that the wait goes on.
func (w *wait) expired(in *input, now time.Time) error {
	if in.conn.Interrupted() {
		return errTimeout
	}
	if in.watch != nil {
		switch err := in.watch.WhileWaiting(); err {
		case nil:
		case ErrStillSending:
			w.start = now
		default:
			return err
		}
		w.tick = min(2*w.tick, lastTick)
	}
	w.look = false
	if w.limit > 0 && now.Sub(w.start) >= w.limit-w.limit/64 {
		return errTimeout
	}
	return nil
}
