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
	if c.block.frames > c.cfg.MaxContinuations || len(c.block.data) > c.cfg.MaxHeaderBytes+minMaxFrame {
		return &connError{EnhanceYourCalm, "header block too large"}
	}
	return nil
}

// decode runs the decoder over a complete block into c.heads.
func (c *conn) decode(p []byte) error {
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
