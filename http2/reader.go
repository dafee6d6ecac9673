// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"io"
	"net"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// A frameReader takes frames out of a connection, many per read. Frames are
// at most minMaxFrame long: we never allow more.
type frameReader struct {
	nc   net.Conn
	buf  *bytebuf.Buf
	r, w int

	small [64]byte // what an idle connection waits with instead of buf
	armed time.Time
}

// next returns the next frame. Its payload is valid until the following call.
// limit is asked before a wait how long it may take, zero and negative for
// ever, and whether the connection is idle.
func (f *frameReader) next(limit func() (time.Duration, bool)) (h frameHeader, payload []byte, err error) {
	for {
		h, ok := consumeFrameHeader(f.unread())
		if ok {
			if h.length > minMaxFrame {
				return h, nil, &connError{FrameSizeError, "frame too large"}
			}
			if total := frameHeaderLen + h.length; f.w-f.r >= total {
				payload = f.unread()[frameHeaderLen:total]
				f.r += total
				return h, payload, nil
			}
		}
		if err := f.fill(limit); err != nil {
			return frameHeader{}, nil, err
		}
	}
}

func (f *frameReader) unread() []byte {
	if f.buf == nil {
		return nil
	}
	return f.buf.B[f.r:f.w]
}

// fill receives more.
func (f *frameReader) fill(limit func() (time.Duration, bool)) error {
	wait, idle := limit()
	f.arm(wait)
	if f.r == f.w && idle {
		// Nothing is in hand: wait without a buffer.
		f.release()
		n, err := f.nc.Read(f.small[:])
		if n > 0 {
			b := f.room()
			f.w += copy(b, f.small[:n])
			return nil
		}
		return orEOF(err)
	}
	n, err := f.nc.Read(f.room())
	f.w += n
	if n > 0 {
		return nil
	}
	return orEOF(err)
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
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

// arm sets the read deadline, coarsely: one that is due within the last
// quarter of the wait will do.
func (f *frameReader) arm(wait time.Duration) {
	if wait <= 0 {
		if !f.armed.IsZero() {
			f.armed = time.Time{}
			f.nc.SetReadDeadline(f.armed)
		}
		return
	}
	now := time.Now()
	if left := f.armed.Sub(now); left < wait*3/4 || left > wait {
		f.armed = now.Add(wait)
		f.nc.SetReadDeadline(f.armed)
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
func (f *frameReader) preface(limit time.Duration) error {
	for f.w-f.r < len(preface) {
		if got := f.unread(); string(got) != preface[:len(got)] {
			break
		}
		if err := f.fill(func() (time.Duration, bool) { return limit, false }); err != nil {
			return err
		}
	}
	if got := f.unread(); len(got) < len(preface) || string(got[:len(preface)]) != preface {
		return &connError{ProtocolError, "invalid preface"}
	}
	f.r += len(preface)
	return nil
}
