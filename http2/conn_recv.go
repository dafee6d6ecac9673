// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"encoding/binary"
)

func (c *conn) onData(h frameHeader, p []byte) error {
	if h.stream == 0 {
		return &connError{ProtocolError, "DATA on stream 0"}
	}
	data, err := unpad(h, p)
	if err != nil {
		return err
	}
	if len(data) == 0 && !h.has(flagEndStream) {
		if err := c.glitch(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int64(h.length) // padding counts (RFC 9113 section 6.9.1)
	if c.recvWindow -= n; c.recvWindow < 0 {
		return &connError{FlowControlError, "connection window exceeded"}
	}
	s, state := c.stateLocked(h.stream)
	switch state {
	case streamIdle:
		return &connError{ProtocolError, "DATA on idle stream"}
	case streamClosed:
		return &connError{StreamClosed, "DATA on closed stream"}
	case streamReset:
		c.giveBackLocked(nil, n)
		return c.lateLocked(n)
	}
	if err := s.takesLocked(n, len(data), h.has(flagEndStream)); err != nil {
		c.giveBackLocked(nil, n)
		return err
	}
	s.receiveLocked(data, h.has(flagEndStream))
	if pad := n - int64(len(data)); pad > 0 {
		c.giveBackLocked(s, pad)
	} else {
		c.updateLocked()
	}
	return nil
}

// minLate is for how much the smallest frame of late data counts, in bytes.
const minLate = 256

// lateLocked counts n bytes that have come on a stream that we have reset. The
// peer may not know of that yet, but it cannot have sent more than the window.
func (c *conn) lateLocked(n int64) error {
	if c.late -= max(n, minLate); c.late >= 0 {
		return nil
	}
	c.late = 0
	return c.glitch()
}

// giveBackLocked returns n bytes of received and consumed data to the windows
// of the connection and of s, which may be nil. Updates are sent in large
// steps.
func (c *conn) giveBackLocked(s *stream, n int64) {
	c.recvUnsent += n
	c.updateLocked()
	if s == nil || s.remoteClosed || s.err != nil {
		return
	}
	s.recvUnsent += n
	if s.recvUnsent >= s.stepLocked() {
		grow := s.recvUnsent + s.growLocked()
		s.recvUnsent = 0
		s.recvWindow += grow
		c.windowUpdateLocked(s.id, grow)
	}
}

// updateLocked sends an update for the connection if it is time: no later than
// when the peer has left less than what is held back, as a window that others
// fill must not make the rest of it useless.
func (c *conn) updateLocked() {
	c.crowded.run(c.recvWindow+c.recvUnsent < c.recvMax/4)
	if c.recvUnsent == 0 || c.recvUnsent < c.recvMax/2 && c.recvUnsent < c.recvWindow {
		return
	}
	grow := c.recvUnsent + c.growLocked()
	c.recvUnsent = 0
	c.recvWindow += grow
	c.windowUpdateLocked(0, grow)
}

func (c *conn) windowUpdateLocked(id uint32, n int64) {
	c.controlLocked(func(b []byte) []byte { return appendWindowUpdate(b, id, n) })
}

func (c *conn) onPriority(h frameHeader, p []byte) error {
	if h.stream == 0 {
		return &connError{ProtocolError, "PRIORITY on stream 0"}
	}
	if len(p) != 5 {
		return &streamError{FrameSizeError, "PRIORITY of wrong size"}
	}
	if binary.BigEndian.Uint32(p)&^(1<<31) == h.stream {
		return &streamError{ProtocolError, "stream depends on itself"}
	}
	return c.glitch() // deprecated (RFC 9113 section 5.3.2)
}

func (c *conn) onRSTStream(h frameHeader, p []byte) error {
	if h.stream == 0 {
		return &connError{ProtocolError, "RST_STREAM on stream 0"}
	}
	if len(p) != 4 {
		return &connError{FrameSizeError, "RST_STREAM of wrong size"}
	}
	code := ErrCode(binary.BigEndian.Uint32(p))
	c.mu.Lock()
	s, state := c.stateLocked(h.stream)
	if s != nil {
		// RFC 9113 section 8.1: a server that has answered may tell us so not
		// to send the rest of the request.
		answered := !c.server && s.remoteClosed && code == NoError
		s.failLocked(&ResetError{Code: code})
		c.mu.Unlock()
		if answered {
			return nil
		}
		return c.countReset()
	}
	c.mu.Unlock()
	if state == streamIdle {
		return &connError{ProtocolError, "RST_STREAM on idle stream"}
	}
	return c.spendCredit()
}

func (c *conn) onSettings(h frameHeader, p []byte) error {
	if h.stream != 0 {
		return &connError{ProtocolError, "SETTINGS on a stream"}
	}
	if h.has(flagAck) && len(p) != 0 {
		return &connError{FrameSizeError, "SETTINGS acknowledgement with content"}
	}
	if len(p)%6 != 0 {
		return &connError{FrameSizeError, "SETTINGS of wrong size"}
	}
	if err := c.glitch(); err != nil {
		return err
	}
	if len(p)/6 > 64 {
		return &connError{EnhanceYourCalm, "too many settings"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.has(flagAck) {
		if !c.settingsAck {
			c.settingsAck = true
			c.rtt = min(c.in.now.Sub(c.started), maxRTT)
		}
		return nil
	}
	window := c.peer.initialWindow
	for ; len(p) > 0; p = p[6:] {
		if err := c.setLocked(consumeSetting(p)); err != nil {
			return err
		}
	}
	if err := c.shiftWindowsLocked(c.peer.initialWindow - window); err != nil {
		return err
	}
	if !c.peer.seen {
		c.peer.seen = true
		close(c.ready)
	}
	c.controlLocked(appendSettingsAck)
	c.scheduleLocked() // behind it, so that the peer knows why
	return nil
}

// maxTableSize is the size of the dynamic tables for header compression, in
// bytes: the default (RFC 9113 section 6.5.2), for either direction.
const maxTableSize = 4096

// setLocked applies one setting of the peer.
func (c *conn) setLocked(s setting) error {
	switch s.id {
	case settingHeaderTableSize:
		c.writer.table.setLimit(s.value)
	case settingEnablePush:
		if s.value > 1 || !c.server && s.value == 1 {
			return &connError{ProtocolError, "invalid ENABLE_PUSH"}
		}
	case settingMaxConcurrentStreams:
		c.peer.maxStreams = s.value
	case settingInitialWindowSize:
		if s.value > maxWindow {
			return &connError{FlowControlError, "INITIAL_WINDOW_SIZE too large"}
		}
		c.peer.initialWindow = int64(s.value)
	case settingMaxFrameSize:
		if s.value < minMaxFrame || s.value > maxMaxFrame {
			return &connError{ProtocolError, "invalid MAX_FRAME_SIZE"}
		}
		c.peer.maxFrame = int(s.value)
	case settingEnableConnect:
		if s.value > 1 || c.peer.enableConnect && s.value == 0 {
			return &connError{ProtocolError, "invalid ENABLE_CONNECT_PROTOCOL"}
		}
		c.peer.enableConnect = s.value == 1
	}
	return nil
}

// maxWindow is the largest flow-control window (RFC 9113 section 6.9.1).
const maxWindow = 1<<31 - 1

// shiftWindowsLocked changes the send windows of all streams by what the
// initial window has changed (RFC 9113 section 6.9.2): once for a whole frame,
// however many values it has.
func (c *conn) shiftWindowsLocked(by int64) error {
	if by == 0 {
		return nil
	}
	for _, s := range c.streams {
		if s.sendWindow += by; s.sendWindow > maxWindow {
			return &connError{FlowControlError, "stream window overflow"}
		}
		if s.sendWindow <= 0 {
			c.waiting.remove(s)
		}
		s.enqueueLocked()
	}
	return nil
}

func (c *conn) onPing(h frameHeader, p []byte) error {
	if h.stream != 0 {
		return &connError{ProtocolError, "PING on a stream"}
	}
	if len(p) != 8 {
		return &connError{FrameSizeError, "PING of wrong size"}
	}
	if h.has(flagAck) && (c.answersDrain(p) || c.answersLast(p)) {
		return nil
	}
	if h.has(flagAck) && !c.quiet.pinged.IsZero() {
		return nil // any frame proves that the peer is there
	}
	if err := c.spendCredit(); err != nil || h.has(flagAck) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.controlLocked(func(b []byte) []byte { return appendPing(b, flagAck, p) })
	return nil
}

// answersLast reports whether a PING's answer says that the client has taken
// everything. It may come to the reader before that has learned of the end.
func (c *conn) answersLast(p []byte) bool {
	if !bytes.Equal(p, lastPing) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastHeard = c.closing
	return c.closing
}

// answersDrain reports whether a PING's answer says that the client has heard
// of the end, which goes on then. It has taken everything that was sent before.
func (c *conn) answersDrain(p []byte) bool {
	if !bytes.Equal(p, drainPing) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining || c.drainHeard {
		return false
	}
	c.drainHeard = true
	c.drainNowLocked()
	return true
}

// spendCredit counts a frame that something we have sent may be the reason for:
// every head and every piece of data lets the peer send a few PING and
// WINDOW_UPDATE, by which it measures and opens the path, or a late
// RST_STREAM. Beyond that they are glitches.
func (c *conn) spendCredit() error {
	c.mu.Lock()
	covered := c.credit > 0
	if covered {
		c.credit--
	}
	c.mu.Unlock()
	if covered {
		return nil
	}
	return c.glitch()
}

func (c *conn) onGoAway(h frameHeader, p []byte) error {
	if h.stream != 0 {
		return &connError{ProtocolError, "GOAWAY on a stream"}
	}
	if len(p) < 8 {
		return &connError{FrameSizeError, "GOAWAY of wrong size"}
	}
	if err := c.glitch(); err != nil {
		return err
	}
	last := binary.BigEndian.Uint32(p) &^ (1 << 31)
	code := ErrCode(binary.BigEndian.Uint32(p[4:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goneAway && last > c.goAwayLast {
		return &connError{ProtocolError, "GOAWAY with a higher stream than before"}
	}
	c.goneAway, c.goAwayLast = true, last
	if code != NoError && c.err == nil {
		c.err = &GoAwayError{Code: code, Debug: string(p[8:min(len(p), 8+200)])}
	}
	for id, s := range c.streams {
		if !c.byPeer(id) && id > last {
			s.failLocked(&ResetError{Code: RefusedStream, GoAway: true})
		}
	}
	if len(c.streams) == 0 {
		c.endLocked(nil)
	}
	return nil
}

func (c *conn) onWindowUpdate(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return &connError{FrameSizeError, "WINDOW_UPDATE of wrong size"}
	}
	if err := c.spendCredit(); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(p) &^ (1 << 31))
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.stream == 0 {
		if n == 0 {
			return &connError{ProtocolError, "WINDOW_UPDATE of 0"}
		}
		if c.sendWindow += n; c.sendWindow > maxWindow {
			return &connError{FlowControlError, "connection window overflow"}
		}
		c.scheduleLocked()
		return nil
	}
	s, state := c.stateLocked(h.stream)
	switch {
	case state == streamIdle:
		return &connError{ProtocolError, "WINDOW_UPDATE on idle stream"}
	case n == 0:
		return &streamError{ProtocolError, "WINDOW_UPDATE of 0"}
	case s == nil:
		return nil
	}
	if s.sendWindow += n; s.sendWindow > maxWindow {
		return &streamError{FlowControlError, "stream window overflow"}
	}
	s.enqueueLocked()
	c.scheduleLocked()
	return nil
}
