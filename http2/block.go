// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A headerBlock gathers a header block from HEADERS and CONTINUATION frames.
type headerBlock struct {
	open   bool // frames are still to come
	stream uint32
	ended  bool      // END_STREAM was set
	since  time.Time // when HEADERS came
	data   []byte    // what has come, if there was more than one frame
	frames int       // CONTINUATION frames
}

func (c *conn) onHeaders(h frameHeader, p []byte) error {
	if h.stream == 0 {
		return &connError{ProtocolError, "HEADERS on stream 0"}
	}
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	if h.has(flagPriority) {
		if len(p) < 5 {
			return &connError{FrameSizeError, "HEADERS too short for its priority"}
		}
		if binary.BigEndian.Uint32(p)&^(1<<31) == h.stream {
			return &connError{ProtocolError, "stream depends on itself"}
		}
		p = p[5:]
	}
	c.block = headerBlock{stream: h.stream, ended: h.has(flagEndStream)}
	if h.has(flagEndHeaders) {
		return c.onHead(p)
	}
	c.block.open = true
	c.block.since = c.in.now
	c.block.data = append(c.block.data, p...)
	return c.checkBlock()
}

func (c *conn) onContinuation(h frameHeader, p []byte) error {
	if !c.block.open {
		return &connError{ProtocolError, "CONTINUATION without HEADERS"}
	}
	c.block.frames++
	c.block.data = append(c.block.data, p...)
	if err := c.checkBlock(); err != nil {
		return err
	}
	if len(p) == 0 {
		if err := c.glitch(); err != nil {
			return err
		}
	}
	if !h.has(flagEndHeaders) {
		return nil
	}
	block := c.block.data
	c.block.open, c.block.data = false, nil
	return c.onHead(block)
}

// checkBlock bounds a block in frames and bytes. What is compressed is never
// longer than what it stands for by more than a little, so the limit for the
// list bounds the block as well.
func (c *conn) checkBlock() error {
	if c.block.frames > c.cfg.MaxContinuations || len(c.block.data) > c.cfg.maxBlock() {
		return &connError{EnhanceYourCalm, "header block too large"}
	}
	return nil
}

// maxBlock is how long a header block may be, in bytes. The strings in it are
// at most 1.6 times as long, in the code of RFC 7541 appendix B.
func (c *Config) maxBlock() int { return c.MaxHeaderBytes + minMaxFrame }

// maxSizeUpdates is how many changes of the table's size may begin a header
// block (RFC 7541 section 4.2).
const maxSizeUpdates = 2

// sizeUpdates returns how many changes of the table's size p begins with, at
// most one more than there may be.
func sizeUpdates(p []byte) (n int) {
	for n <= maxSizeUpdates && len(p) > 0 && p[0]&0xe0 == 0x20 {
		n++
		more := p[0]&0x1f == 0x1f // the number goes on
		for p = p[1:]; more && len(p) > 0; p = p[1:] {
			more = p[0]&0x80 != 0
		}
	}
	return n
}

// decode runs the decoder over a complete block into c.heads.
func (c *conn) decode(p []byte) error {
	if sizeUpdates(p) > maxSizeUpdates {
		return &connError{CompressionError, "too many changes of the header table"}
	}
	c.dec.SetEmitEnabled(true)
	defer c.heads.done()
	if _, err := c.dec.Write(p); err != nil {
		return &connError{CompressionError, "invalid header block"}
	}
	if err := c.dec.Close(); err != nil {
		return &connError{CompressionError, "incomplete header block"}
	}
	return nil
}

// emit takes one field from the decoder. Beyond a limit the decoder goes on, to
// stay in step with the peer's encoder, and makes nothing of what it reads.
func (c *conn) emit(f hpack.HeaderField) {
	c.heads.emit(f)
	if c.heads.tooLarge {
		c.dec.SetEmitEnabled(false)
	}
}
