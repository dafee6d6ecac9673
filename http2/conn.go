// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// maxOut is how much a connection gathers before streams have to wait, in
// bytes. Answers to control frames may exceed it up to maxControl, where the
// peer is not reading and the connection ends.
const (
	maxOut     = 64 << 10
	maxControl = 256 << 10
)

// A conn is what both roles have in common.
type conn struct {
	cfg    *Config
	nc     net.Conn
	server bool
	onHead func(block []byte) error // takes a complete header block; c.block says of what

	// The reader's own.
	in    frameReader
	dec   *hpack.Decoder
	heads headReader
	block headerBlock
	guard guard

	mu          sync.Mutex
	flushable   sync.Cond
	streams     map[uint32]*stream // guarded by mu, like all that follows
	idleSince   time.Time
	lastPeerID  uint32 // the highest stream that the peer has opened
	nextID      uint32 // the next stream that we open
	peerStreams int    // open streams that the peer has opened
	recentReset [32]uint32
	resetAt     int // next slot of recentReset

	out         *bytebuf.Buf // frames to send; nil if there are none
	writer      *headWriter
	waiting     waitQueue
	sendWindow  int64
	recvWindow  int64 // what the peer may still send us
	recvUnsent  int64 // consumed, and not yet given back by WINDOW_UPDATE
	peer        peerSettings
	settingsAck bool // ours have been acknowledged

	err        error // why the connection has ended or is ending
	goAwaySent uint32
	draining   bool   // GOAWAY has been sent, or must be
	goneAway   bool   // GOAWAY has been received
	goAwayLast uint32 // with this last stream
	closing    bool   // the flusher closes when it has sent everything
	closed     chan struct{}
}

// peerSettings are the settings of the other side.
type peerSettings struct {
	maxFrame      int
	initialWindow int64
	maxStreams    uint32
	enableConnect bool
	seen          bool
}

func (c *conn) init(nc net.Conn, cfg *Config, server bool) {
	c.cfg, c.nc, c.server = cfg, nc, server
	c.streams = make(map[uint32]*stream)
	c.nextID = 1
	if server {
		c.nextID = 2
	}
	c.writer = newHeadWriter()
	c.sendWindow, c.recvWindow = defaultWindow, defaultWindow
	c.peer = peerSettings{maxFrame: minMaxFrame, initialWindow: defaultWindow, maxStreams: 1<<32 - 1}
	c.goAwaySent = 1<<31 - 1
	c.closed = make(chan struct{})
	c.idleSince = time.Now()
	c.flushable.L = &c.mu
	c.in.nc = nc
	c.heads.cfg = cfg
	c.heads.response = !server
	c.dec = hpack.NewDecoder(4096, c.heads.emit)
	c.dec.SetMaxStringLength(cfg.MaxHeaderBytes)
	c.guard.cfg = cfg
}

// settings returns the SETTINGS that start a connection, and the
// WINDOW_UPDATE that makes its window what the configuration says.
func (c *conn) settings() []byte {
	list := []setting{
		{settingInitialWindowSize, uint32(c.cfg.StreamWindow)},
		{settingMaxHeaderListSize, uint32(c.cfg.MaxHeaderBytes)},
	}
	if c.server {
		list = append(list, setting{settingMaxConcurrentStreams, uint32(c.cfg.MaxStreams)},
			setting{settingEnableConnect, 1}, setting{settingNoRFC7540Priorities, 1})
	} else {
		list = append(list, setting{settingEnablePush, 0})
	}
	b := appendSettings(nil, list...)
	if grow := int64(c.cfg.ConnWindow) - defaultWindow; grow > 0 {
		c.recvWindow += grow
		b = appendWindowUpdate(b, 0, grow)
	}
	return b
}

// readLoop reads frames until the connection ends.
func (c *conn) readLoop() error {
	for {
		h, payload, err := c.in.next(c.readLimit)
		if err != nil {
			return err
		}
		if err := c.frame(h, payload); err != nil {
			var se *streamError
			if !errors.As(err, &se) {
				return err
			}
			if err := c.resetStream(h.stream, se); err != nil {
				return err
			}
		}
	}
}

// resetStream ends a stream for a mistake of the peer.
func (c *conn) resetStream(id uint32, se *streamError) error {
	if err := c.guard.reset(time.Now()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		s.failLocked(se)
	}
	c.noteResetLocked(id)
	c.controlLocked(func(b []byte) []byte { return appendRSTStream(b, id, se.code) })
	return nil
}

// frame handles one frame.
func (c *conn) frame(h frameHeader, p []byte) error {
	if !c.peer.seen && (h.typ != frameSettings || h.has(flagAck)) {
		return &connError{ProtocolError, "first frame is not SETTINGS"}
	}
	if c.block.open && (h.typ != frameContinuation || h.stream != c.block.stream) {
		return &connError{ProtocolError, "header block interrupted"}
	}
	switch h.typ {
	case frameData:
		return c.onData(h, p)
	case frameHeaders:
		return c.onHeaders(h, p)
	case frameContinuation:
		return c.onContinuation(h, p)
	case framePriority:
		return c.onPriority(h, p)
	case frameRSTStream:
		return c.onRSTStream(h, p)
	case frameSettings:
		return c.onSettings(h, p)
	case framePushPromise:
		return &connError{ProtocolError, "PUSH_PROMISE"}
	case framePing:
		return c.onPing(h, p)
	case frameGoAway:
		return c.onGoAway(h, p)
	case frameWindowUpdate:
		return c.onWindowUpdate(h, p)
	case framePriorityUpdate:
		return c.onPriorityUpdate(h, p)
	}
	return c.guard.glitch(time.Now()) // RFC 9113 section 4.1: ignore what is unknown
}

// Streams as the peer names them.
type streamState uint8

const (
	streamOpen   streamState = iota // in the map
	streamIdle                      // not opened yet
	streamClosed                    // ended, both sides know
	streamReset                     // we have reset it: frames may be on their way
)

func (c *conn) stateLocked(id uint32) (*stream, streamState) {
	if s := c.streams[id]; s != nil {
		return s, streamOpen
	}
	if c.byPeer(id) && id > c.lastPeerID || !c.byPeer(id) && id >= c.nextID {
		return nil, streamIdle
	}
	for _, r := range c.recentReset {
		if r == id {
			return nil, streamReset
		}
	}
	return nil, streamClosed
}

// byPeer reports whether the peer is the one to open a stream of this number.
func (c *conn) byPeer(id uint32) bool { return (id%2 == 1) == c.server }

func (c *conn) noteResetLocked(id uint32) {
	c.recentReset[c.resetAt] = id
	c.resetAt = (c.resetAt + 1) % len(c.recentReset)
}

func (c *conn) onData(h frameHeader, p []byte) error {
	if h.stream == 0 {
		return &connError{ProtocolError, "DATA on stream 0"}
	}
	data, err := unpad(h, p)
	if err != nil {
		return err
	}
	if len(data) == 0 && !h.has(flagEndStream) {
		if err := c.guard.glitch(time.Now()); err != nil {
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
		return nil
	}
	if s.remoteClosed {
		c.giveBackLocked(nil, n)
		return &streamError{StreamClosed, "DATA after the end of the stream"}
	}
	if !s.headDone {
		c.giveBackLocked(nil, n)
		return &streamError{ProtocolError, "DATA before the head"}
	}
	if s.recvWindow -= n; s.recvWindow < 0 {
		return &streamError{FlowControlError, "stream window exceeded"}
	}
	if pad := n - int64(len(data)); pad > 0 {
		c.giveBackLocked(s, pad)
	}
	return s.receiveLocked(data, h.has(flagEndStream))
}

// giveBackLocked returns n bytes of received and consumed data to the windows
// of the connection and of s, which may be nil. Updates are sent in large
// steps.
func (c *conn) giveBackLocked(s *stream, n int64) {
	c.recvUnsent += n
	if c.recvUnsent >= int64(c.cfg.ConnWindow)/2 {
		grow := c.recvUnsent
		c.recvUnsent = 0
		c.recvWindow += grow
		c.controlLocked(func(b []byte) []byte { return appendWindowUpdate(b, 0, grow) })
	}
	if s == nil || s.remoteClosed {
		return
	}
	s.recvUnsent += n
	if s.recvUnsent >= s.recvMax/2 {
		grow := s.recvUnsent + s.growLocked()
		s.recvUnsent = 0
		s.recvWindow += grow
		c.controlLocked(func(b []byte) []byte { return appendWindowUpdate(b, s.id, grow) })
	}
}

func (c *conn) onPriority(h frameHeader, p []byte) error {
	if len(p) != 5 {
		return &streamError{FrameSizeError, "PRIORITY of wrong size"}
	}
	if h.stream == 0 {
		return &connError{ProtocolError, "PRIORITY on stream 0"}
	}
	if binary.BigEndian.Uint32(p)&^(1<<31) == h.stream {
		return &streamError{ProtocolError, "stream depends on itself"}
	}
	return c.guard.glitch(time.Now()) // deprecated (RFC 9113 section 5.3.2)
}

func (c *conn) onPriorityUpdate(h frameHeader, p []byte) error {
	if h.stream != 0 || len(p) < 4 || !c.server {
		return &connError{ProtocolError, "malformed PRIORITY_UPDATE"}
	}
	if err := c.guard.glitch(time.Now()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[binary.BigEndian.Uint32(p)&^(1<<31)]; s != nil {
		s.urgency = parsePriority(string(p[4:]))
	}
	return nil
}

func (c *conn) onRSTStream(h frameHeader, p []byte) error {
	if h.stream == 0 {
		return &connError{ProtocolError, "RST_STREAM on stream 0"}
	}
	if len(p) != 4 {
		return &connError{FrameSizeError, "RST_STREAM of wrong size"}
	}
	if err := c.guard.reset(time.Now()); err != nil {
		return err
	}
	code := ErrCode(binary.BigEndian.Uint32(p))
	c.mu.Lock()
	defer c.mu.Unlock()
	s, state := c.stateLocked(h.stream)
	if state == streamIdle {
		return &connError{ProtocolError, "RST_STREAM on idle stream"}
	}
	if s != nil {
		s.failLocked(&ResetError{Code: code})
	}
	return nil
}

func (c *conn) onSettings(h frameHeader, p []byte) error {
	if h.stream != 0 {
		return &connError{ProtocolError, "SETTINGS on a stream"}
	}
	if h.has(flagAck) {
		if len(p) != 0 {
			return &connError{FrameSizeError, "SETTINGS acknowledgement with content"}
		}
		c.settingsAck = true
		return c.guard.glitch(time.Now())
	}
	if len(p)%6 != 0 {
		return &connError{FrameSizeError, "SETTINGS of wrong size"}
	}
	if err := c.guard.glitch(time.Now()); err != nil {
		return err
	}
	if len(p)/6 > 64 {
		return &connError{EnhanceYourCalm, "too many settings"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	window := c.peer.initialWindow
	for ; len(p) > 0; p = p[6:] {
		if err := c.setLocked(consumeSetting(p)); err != nil {
			return err
		}
	}
	if err := c.shiftWindowsLocked(c.peer.initialWindow - window); err != nil {
		return err
	}
	c.peer.seen = true
	c.controlLocked(appendSettingsAck)
	return nil
}

// setLocked applies one setting of the peer.
func (c *conn) setLocked(s setting) error {
	switch s.id {
	case settingHeaderTableSize:
		c.writer.enc.SetMaxDynamicTableSizeLimit(min(s.value, 4096))
		c.writer.enc.SetMaxDynamicTableSize(min(s.value, 4096))
	case settingEnablePush:
		if s.value > 1 || !c.server && s.value == 1 {
			return &connError{ProtocolError, "invalid ENABLE_PUSH"}
		}
	case settingMaxConcurrentStreams:
		c.peer.maxStreams = s.value
	case settingInitialWindowSize:
		if s.value > 1<<31-1 {
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

// shiftWindowsLocked changes the send windows of all streams by what the
// initial window has changed (RFC 9113 section 6.9.2): once for a whole frame,
// however many values it has.
func (c *conn) shiftWindowsLocked(by int64) error {
	if by == 0 {
		return nil
	}
	for _, s := range c.streams {
		if s.sendWindow += by; s.sendWindow > 1<<31-1 {
			return &connError{FlowControlError, "stream window overflow"}
		}
	}
	c.waiting.wakeAll()
	return nil
}

func (c *conn) onPing(h frameHeader, p []byte) error {
	if h.stream != 0 {
		return &connError{ProtocolError, "PING on a stream"}
	}
	if len(p) != 8 {
		return &connError{FrameSizeError, "PING of wrong size"}
	}
	if h.has(flagAck) {
		return nil // any frame proves that the peer is there
	}
	if err := c.guard.glitch(time.Now()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.controlLocked(func(b []byte) []byte { return appendPing(b, flagAck, p) })
	return nil
}

func (c *conn) onGoAway(h frameHeader, p []byte) error {
	if h.stream != 0 {
		return &connError{ProtocolError, "GOAWAY on a stream"}
	}
	if len(p) < 8 {
		return &connError{FrameSizeError, "GOAWAY of wrong size"}
	}
	last := binary.BigEndian.Uint32(p) &^ (1 << 31)
	code := ErrCode(binary.BigEndian.Uint32(p[4:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goneAway && last > c.goAwayLast {
		return &connError{ProtocolError, "GOAWAY with a higher stream than before"}
	}
	c.goneAway, c.goAwayLast = true, last
	for id, s := range c.streams {
		if !c.byPeer(id) && id > last {
			s.failLocked(&ResetError{Code: RefusedStream, GoAway: true})
		}
	}
	if code != NoError && c.err == nil {
		c.err = &GoAwayError{Code: code, Debug: string(p[8:min(len(p), 8+200)])}
	}
	return nil
}

func (c *conn) onWindowUpdate(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return &connError{FrameSizeError, "WINDOW_UPDATE of wrong size"}
	}
	n := int64(binary.BigEndian.Uint32(p) &^ (1 << 31))
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.stream == 0 {
		if n == 0 {
			return &connError{ProtocolError, "WINDOW_UPDATE of 0"}
		}
		if c.sendWindow += n; c.sendWindow > 1<<31-1 {
			return &connError{FlowControlError, "connection window overflow"}
		}
		c.waiting.wakeAll()
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
	if s.sendWindow += n; s.sendWindow > 1<<31-1 {
		return &streamError{FlowControlError, "stream window overflow"}
	}
	c.waiting.wake(s)
	return nil
}

// controlLocked adds a frame that nobody waits for. A peer that makes us send
// such frames and does not read them loses its connection.
func (c *conn) controlLocked(add func([]byte) []byte) {
	if c.closing {
		return
	}
	b := c.outLocked()
	b.B = add(b.B)
	if len(b.B) > maxControl {
		c.endLocked(&connError{EnhanceYourCalm, "peer does not read"})
		return
	}
	c.flushable.Signal()
}

// outLocked returns the buffer to append frames to.
func (c *conn) outLocked() *bytebuf.Buf {
	if c.out == nil {
		c.out = bytebuf.Get(bytebuf.Medium)
	}
	return c.out
}

// flushLoop sends what gathers in out until the connection ends.
func (c *conn) flushLoop() {
	c.mu.Lock()
	for {
		for c.out == nil && !c.closing {
			c.flushable.Wait()
		}
		out := c.out
		c.out = nil
		if out == nil { // closing, and everything is sent
			c.mu.Unlock()
			c.nc.Close()
			return
		}
		c.mu.Unlock()
		if t := c.cfg.WriteTimeout; t > 0 {
			c.nc.SetWriteDeadline(time.Now().Add(t))
		}
		_, err := c.nc.Write(out.B)
		out.Release()
		c.mu.Lock()
		if err != nil {
			c.endLocked(err)
			if c.out != nil {
				c.out.Release()
				c.out = nil
			}
			continue
		}
		c.waiting.wakeAll()
	}
}

// endLocked ends the connection with err: all streams fail, what is pending
// is sent, a GOAWAY behind it unless the connection is broken already, and
// then it is closed.
func (c *conn) endLocked(err error) {
	if c.closing {
		return
	}
	if c.err == nil {
		c.err = err
	}
	var ce *connError
	switch {
	case errors.As(err, &ce):
		b := c.outLocked()
		b.B = appendGoAway(b.B, c.lastPeerID, ce.code, ce.why)
	case err == nil:
		b := c.outLocked()
		b.B = appendGoAway(b.B, c.lastPeerID, NoError, "")
	}
	c.closing = true
	for _, s := range c.streams {
		s.failLocked(c.streamErr())
	}
	c.waiting.wakeAll()
	c.flushable.Signal()
	c.nc.SetReadDeadline(past)
	c.nc.SetWriteDeadline(time.Now().Add(time.Second))
}

var past = time.Unix(1, 0)

// streamErr returns the error of streams on a connection that has ended.
func (c *conn) streamErr() error {
	if c.err == nil || c.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return c.err
}

// removeLocked forgets a stream that has ended on both sides.
func (c *conn) removeLocked(s *stream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if c.byPeer(s.id) {
		c.peerStreams--
	}
	c.waiting.remove(s)
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
		if c.draining && c.goAwaySent != 1<<31-1 || c.goneAway {
			c.endLocked(nil)
		}
	}
}

// readLimit says how long the reader may wait for the next frame, and whether
// the connection holds anything: it needs no large buffer if not.
func (c *conn) readLimit() (limit time.Duration, idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.peer.seen || c.block.open:
		return c.cfg.HeadTimeout, false
	case len(c.streams) > 0:
		return 0, false
	}
	return c.cfg.IdleTimeout, true
}
