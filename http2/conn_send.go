// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"runtime"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// How much a connection gathers, in bytes. Data is added below maxOut, so that
// it fits a pooled buffer together with one frame; heads wait from maxHeads
// on. Answers to control frames may come on top up to maxControl, where the
// peer is not reading and the connection ends.
const (
	maxOut     = bytebuf.Large - maxData - 1<<10
	maxHeads   = 128 << 10
	maxControl = 256 << 10
)

// maxData is the largest DATA frame that we send, so that streams share a
// connection finely.
const maxData = 16 << 10

// outLocked returns the buffer to append n bytes of frames to.
func (c *conn) outLocked(n int) *bytebuf.Buf {
	if c.out == nil {
		c.out = bytebuf.Get(max(n, bytebuf.Medium))
		return c.out
	}
	if need := len(c.out.B) + n; need > cap(c.out.B) {
		if need > bytebuf.Large {
			need *= 2
		}
		next := bytebuf.Get(need)
		next.B = append(next.B, c.out.B...)
		c.out.Release()
		c.out = next
	}
	return c.out
}

// pendingLocked returns how many bytes wait to be sent.
func (c *conn) pendingLocked() int {
	if c.out == nil {
		return 0
	}
	return len(c.out.B)
}

// controlLocked adds a frame that nobody waits for. A peer that makes us send
// such frames and does not read them loses its connection.
func (c *conn) controlLocked(add func([]byte) []byte) {
	if c.closing {
		return
	}
	b := c.outLocked(0)
	b.B = add(b.B)
	if len(b.B) > maxControl {
		c.endLocked(&connError{EnhanceYourCalm, "peer does not read"})
		return
	}
	c.wakeLocked()
}

// maxCredit bounds what spendCredit can count on.
const maxCredit = 10_000

// earnLocked lets the peer send a few frames because of one of n bytes that we
// send. If the peer's window is the reason for its end, as cut says, the bytes
// alone count: a window that is opened bit by bit must not pay for itself.
func (c *conn) earnLocked(n int, cut bool) {
	frames := n / 512
	if !cut {
		frames += 4
	}
	c.credit = min(c.credit+frames, maxCredit)
}

// scheduleLocked adds data of the streams in line, in their order, as far as
// there is room and window.
func (c *conn) scheduleLocked() {
	for c.sendWindow > 0 && c.pendingLocked() < maxOut && !c.closing {
		s := c.waiting.next()
		if s == nil {
			return
		}
		s.sendPendingLocked()
	}
}

// wakeLocked has what is in out sent, by a flusher that it starts if there is
// none.
func (c *conn) wakeLocked() {
	switch {
	case c.flushing:
		c.flushable.Signal()
	case !c.flushedAll:
		c.flushing = true
		go c.flushLoop() // ends when it rests or the connection does
	}
}

// flushLoop sends what gathers in out until the connection ends, or there has
// been nothing for some time.
func (c *conn) flushLoop() {
	// The streams that are ready to run add their frames first: one write for
	// many small responses is worth 40 % of their CPU.
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	var armed time.Time // the write deadline, due coarsely
	for {
		for c.out == nil && !c.closing {
			if c.rest {
				c.rest, c.flushing = false, false
				c.restWriteLocked(armed)
				return
			}
			c.flushable.Wait()
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
		}
		c.rest = false
		c.flushes++
		out := c.takeLocked()
		if out == nil { // closing, and everything is sent
			c.flushing, c.flushedAll = false, true
			close(c.flushed)
			return
		}
		var err error
		armed, err = c.writeLocked(out.B, armed)
		out.Release()
		if err != nil {
			c.broken = true
			c.endLocked(err)
		}
	}
}

// restWrite is the write deadline of a connection that has nothing to send.
const restWrite = time.Hour

// restWriteLocked puts a write deadline off that would expire while there is
// nothing to send: crypto/tls answers some messages (KeyUpdate) while it reads,
// and could not.
func (c *conn) restWriteLocked(armed time.Time) {
	if c.tls && !armed.IsZero() && !c.killed {
		c.nc.SetWriteDeadline(time.Now().Add(restWrite))
	}
}

// maxRecord is how much is written at a time over TLS, in bytes, where a write
// that was cut short cannot be continued.
const maxRecord = 16 << 10

// writeLocked sends b. A write that is out of time goes on if the peer has kept
// to minRate. c.mu is released while writing.
func (c *conn) writeLocked(b []byte, armed time.Time) (time.Time, error) {
	c.writing = true
	defer func() { c.writing = false }()
	for len(b) > 0 {
		armed = c.armWriteLocked(armed)
		piece := b
		if c.tls {
			piece = b[:min(len(b), maxRecord)]
		}
		c.mu.Unlock()
		n, err := c.nc.Write(piece)
		c.mu.Lock()
		if err != nil {
			if !isTimeout(err) || !c.keepsUpLocked(n) {
				return armed, err
			}
			armed = time.Time{}
		}
		b = b[n:]
	}
	return armed, nil
}

// keepsUpLocked reports whether n bytes are enough for a write that is out of
// time.
func (c *conn) keepsUpLocked(n int) bool {
	limit := c.writeLimitLocked() * 3 / 4
	return !c.broken && !c.urgent && n > 0 && n >= int(limit.Seconds()*minRate)
}

// takeLocked takes what is to be sent next, nil if there is nothing, and lets
// those who wait for room go on.
func (c *conn) takeLocked() *bytebuf.Buf {
	out := c.out
	c.out = nil
	if c.broken && out != nil {
		out.Release()
		return nil
	}
	for _, s := range c.headWaiters {
		signal(s.writable)
	}
	clear(c.headWaiters)
	c.headWaiters = c.headWaiters[:0]
	c.scheduleLocked()
	return out
}

// armWriteLocked sets the write deadline unless the one that is set has three
// quarters of its time left.
func (c *conn) armWriteLocked(armed time.Time) time.Time {
	limit := c.writeLimitLocked()
	if limit == 0 {
		return armed
	}
	now := time.Now()
	if left := armed.Sub(now); left < limit*3/4 || left > limit {
		armed = now.Add(limit)
		c.nc.SetWriteDeadline(armed)
	}
	return armed
}

// appendDataLocked appends a DATA frame. cut says that the peer's window does
// not allow for more.
func (s *stream) appendDataLocked(data []byte, end, cut bool) {
	c := s.c
	var flags uint8
	if end {
		flags = flagEndStream
	}
	b := c.outLocked(frameHeaderLen + len(data))
	b.B = appendFrameHeader(b.B, frameHeader{length: len(data), typ: frameData, flags: flags, stream: s.id})
	b.B = append(b.B, data...)
	s.sendWindow -= int64(len(data))
	c.sendWindow -= int64(len(data))
	c.earnLocked(len(data), cut)
	if end {
		s.endLocalLocked()
	}
	c.wakeLocked()
}

// appendHeadLocked appends a header block as HEADERS and CONTINUATION.
func (s *stream) appendHeadLocked(block []byte, end bool) {
	c := s.c
	frames := len(block)/c.peer.maxFrame + 1
	b := c.outLocked(len(block) + frames*frameHeaderLen)
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
	c.earnLocked(0, false)
	if end {
		s.endLocalLocked()
	}
	c.wakeLocked()
}
