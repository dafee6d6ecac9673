// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"io"
	"net"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// A frameReader takes frames out of a connection, many per read. Frames are
// at most minMaxFrame long: we never allow more.
type frameReader struct {
	nc net.Conn
	io *netio.Conn // nc; a wait on it that has nothing in hand holds no buffer

	// look is called before each wait. It sees to it, by arm, that it is called
	// again when something is due. An error ends the reading.
	look func(now time.Time) error

	buf  *bytebuf.Buf
	r, w int

	now     time.Time // of the last read: coarse, and good enough to count by
	partial time.Time // since when there is a part of a frame; zero if there is none
	reads   int       // that have returned something
	armed   time.Time // the read deadline; zero if there is none
	fired   bool      // it is past

	// The state of one read.
	n    int
	err  error
	step func() bool // f.readStep, bound once
}

func newFrameReader(nc net.Conn, now time.Time, look func(time.Time) error) *frameReader {
	f := &frameReader{nc: nc, io: netio.New(nc), now: now, look: look}
	f.step = f.readStep
	return f
}

// next returns the next frame. Its payload is valid until the following call.
func (f *frameReader) next() (h frameHeader, payload []byte, err error) {
	for {
		h, ok := consumeFrameHeader(f.unread())
		if ok {
			if h.length > minMaxFrame {
				return h, nil, f.tooLarge()
			}
			if total := frameHeaderLen + h.length; f.w-f.r >= total {
				payload = f.unread()[frameHeaderLen:total]
				f.r += total
				f.partial = time.Time{}
				return h, payload, nil
			}
		}
		if err := f.fill(); err != nil {
			return frameHeader{}, nil, err
		}
	}
}

// tooLarge returns what is wrong with a header that announces too long a frame.
// That is how the answer of a peer looks that does not speak HTTP/2.
func (f *frameReader) tooLarge() error {
	if bytes.HasPrefix(f.unread(), []byte("HTTP/1.")) {
		return &connError{FrameSizeError, "the peer speaks HTTP/1"}
	}
	return &connError{FrameSizeError, "frame too large"}
}

func (f *frameReader) unread() []byte {
	if f.buf == nil {
		return nil
	}
	return f.buf.B[f.r:f.w]
}

// fill receives more.
func (f *frameReader) fill() error {
	if f.partial.IsZero() && f.r < f.w {
		f.partial = f.now
	}
	for {
		if err := f.look(f.now); err != nil {
			return err
		}
		n, err := f.read()
		f.now = time.Now()
		switch {
		case n > 0:
			f.reads++
			return nil
		case err == nil:
			return io.ErrNoProgress
		case !isTimeout(err):
			return err
		}
		f.fired = true
	}
}

// read reads once, waiting if it has to. While nothing is in hand, no buffer is
// held: the wait may be long.
func (f *frameReader) read() (int, error) {
	if f.r == f.w {
		f.r, f.w = 0, 0
		if !f.io.Raw() {
			return f.readSmall()
		}
	}
	if err := f.io.Loop(f.step); err != nil {
		return 0, err
	}
	return f.n, f.err
}

func (f *frameReader) readStep() (done bool) {
	f.n, f.err = f.io.Recv(f.room())
	f.w += f.n
	if f.err != netio.ErrAgain {
		return true
	}
	if f.r == f.w {
		f.release()
	}
	return false
}

// readSmall is read on a connection that cannot wait without a buffer: it has
// a small one, and what ends the wait is most often small.
func (f *frameReader) readSmall() (int, error) {
	f.release()
	small := bytebuf.Get(bytebuf.Small)
	defer small.Release()
	n, err := f.nc.Read(small.B[:cap(small.B)])
	if n > 0 {
		f.w += copy(f.room(), small.B[:n])
	}
	return n, err
}

// room returns free space, at least for one whole frame with what is there.
func (f *frameReader) room() []byte {
	switch {
	case f.buf == nil:
		f.buf = bytebuf.Get(2 * minMaxFrame)
		f.buf.B = f.buf.B[:cap(f.buf.B)]
		f.r, f.w = 0, 0
	case f.r == f.w:
		f.r, f.w = 0, 0
	case cap(f.buf.B)-f.r < frameHeaderLen+minMaxFrame:
		f.w = copy(f.buf.B, f.buf.B[f.r:f.w])
		f.r = 0
	}
	return f.buf.B[f.w:]
}

func (f *frameReader) release() {
	if f.buf != nil {
		f.buf.Release()
		f.buf = nil
	}
	f.r, f.w = 0, 0
}

// arm makes a read return at due, or earlier, to call look again; zero means
// that there is no need. So deadlines that move on with every request cost
// nothing.
func (f *frameReader) arm(due time.Time) {
	if f.fired || !due.IsZero() && (f.armed.IsZero() || due.Before(f.armed)) {
		f.armed, f.fired = due, false
		f.nc.SetReadDeadline(due)
	}
}

// early puts bytes that have been received already in front of the rest.
func (f *frameReader) early(b []byte) {
	if len(b) == 0 {
		return
	}
	f.buf = bytebuf.Get(max(2*minMaxFrame, len(b)))
	f.buf.B = f.buf.B[:cap(f.buf.B)]
	f.w = copy(f.buf.B, b)
}

// preface reads what every client sends first.
func (f *frameReader) preface() error {
	for {
		got := f.unread()
		n := min(len(got), len(preface))
		if string(got[:n]) != preface[:n] {
			return &connError{ProtocolError, "invalid preface"}
		}
		if n == len(preface) {
			f.r += n
			f.partial = time.Time{}
			return nil
		}
		if err := f.fill(); err != nil {
			return err
		}
	}
}
