// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// A conn is what both roles have in common.
type conn struct {
	cfg      *Config
	nc       net.Conn
	server   bool
	tls      bool                                // nc speaks TLS
	onHead   func(block []byte) error            // takes a complete header block; c.block says of what
	onUpdate func(h frameHeader, p []byte) error // takes a PRIORITY_UPDATE

	// restLocked ends what the role has not needed since the last time, and
	// busyLocked reports whether it has something that it may not need later.
	restLocked func()
	busyLocked func() bool

	// The reader's own.
	in      *frameReader
	dec     *hpack.Decoder
	heads   headReader
	block   headerBlock
	guard   guard
	started time.Time
	maxAge  time.Duration
	quiet   quiet

	mu          sync.Mutex
	flushable   sync.Cond
	lastHeard   bool               // the answer to lastPing has come; guarded by mu
	flushing    bool               // there is a flusher; guarded by mu
	rest        bool               // it shall end if there is nothing to send; guarded by mu
	flushes     int                // how often there was something; guarded by mu
	lastFlushes int                // at the last rest; guarded by mu
	lastRest    time.Time          // guarded by mu
	flushedAll  bool               // it has ended for good; guarded by mu
	streams     map[uint32]*stream // guarded by mu, like all that follows
	reserved    int                // client: streams that have been promised and not opened yet
	free        []*ServerStream    // server: for reuse
	idleSince   time.Time
	lastPeerID  uint32 // the highest stream that the peer has opened
	nextID      uint32 // the next stream that we open
	peerStreams int    // open streams that the peer has opened
	recentReset [32]uint32
	resets      int   // streams that we have reset so far
	late        int64 // bytes that may still come on them

	out         *bytebuf.Buf // frames to send; nil if there are none
	writer      *headWriter
	waiting     waitQueue
	headWaiters []*stream // wait for room to write a head
	credit      int       // frames that the peer may send because of data that we have sent
	sendWindow  int64
	recvWindow  int64         // what the peer may still send us
	recvMax     int64         // what the window is when nothing is unread
	recvUnsent  int64         // consumed, and not yet given back by WINDOW_UPDATE
	crowded     stopwatch     // runs while others may leave a stream no window
	lastGrow    time.Time     // as of a stream
	rtt         time.Duration // of the path, once settingsAck is true; at most maxRTT
	grown       int64         // by how much the windows of streams have grown together
	peer        peerSettings
	settingsAck bool // ours have been acknowledged

	err        error // why the connection has ended or is ending
	goAwaySent uint32
	draining   bool   // GOAWAY has been sent, or must be
	goneAway   bool   // GOAWAY has been received
	goAwayLast uint32 // with this last stream
	closing    bool   // the flusher ends when it has sent everything
	urgent     bool   // because of an error: nothing that is pending is worth a wait
	behind     bool   // the peer may still have something to take
	broken     bool   // nothing can be sent any more
	killed     bool
	writing    bool      // the flusher is in a write
	drainedAt  time.Time // server: when draining began
	drainHeard bool      // and the client has taken everything that was sent before
	ready      chan struct{}
	flushed    chan struct{} // closed when the flusher has ended for good
	closed     chan struct{}
}

// peerSettings are the settings of the other side.
type peerSettings struct {
	maxFrame      int
	initialWindow int64
	maxStreams    uint32
	enableConnect bool
	seen          bool // ready is closed
}

func (c *conn) init(nc net.Conn, cfg *Config, server bool) {
	c.cfg, c.nc, c.server = cfg, nc, server
	_, c.tls = nc.(interface{ ConnectionState() tls.ConnectionState })
	c.streams = make(map[uint32]*stream)
	c.nextID = 1
	if server {
		c.nextID = 2
	}
	c.writer = newHeadWriter()
	c.sendWindow, c.recvWindow, c.recvMax = defaultWindow, defaultWindow, int64(cfg.ConnWindow)
	c.peer = peerSettings{maxFrame: minMaxFrame, initialWindow: defaultWindow, maxStreams: 1<<32 - 1}
	c.goAwaySent = maxStreamID
	c.ready = make(chan struct{})
	c.flushed = make(chan struct{})
	c.closed = make(chan struct{})
	c.started = time.Now()
	c.idleSince = c.started
	if c.maxAge = cfg.MaxAge; c.maxAge > 0 {
		c.maxAge -= time.Duration(rand.Int64N(int64(c.maxAge)/10 + 1))
	}
	c.flushable.L = &c.mu
	c.in = newFrameReader(nc, c.started, c.look)
	c.heads.cfg = cfg
	c.heads.response = !server
	c.dec = hpack.NewDecoder(maxTableSize, c.emit)
	c.dec.SetMaxStringLength(2 * cfg.maxBlock())
	c.guard.cfg = cfg
}

// maxStreamID is the highest number that a stream can have.
const maxStreamID = 1<<31 - 1

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
	if grow := c.recvMax - c.recvWindow; grow > 0 {
		c.recvWindow += grow
		b = appendWindowUpdate(b, 0, grow)
	}
	return b
}

// readLoop reads frames until the connection ends.
func (c *conn) readLoop() error {
	for {
		h, payload, err := c.in.next()
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
	if err := c.countReset(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteResetLocked(id)
	c.controlLocked(func(b []byte) []byte { return appendRSTStream(b, id, se.code) })
	if s := c.streams[id]; s != nil {
		s.failLocked(se)
	}
	return nil
}

// countReset counts a stream that the peer has reset, or made us reset. A server
// ends a connection that has too many. A client spares the other streams, which
// may be of other clients of a proxy, and opens no more.
func (c *conn) countReset() error {
	err := c.guard.reset(c.in.now)
	if err == nil || c.server {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drainLocked()
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
		return c.onUpdate(h, p)
	}
	return c.glitch() // RFC 9113 section 4.1: ignore what is unknown
}

// glitch counts a frame that is allowed and useless.
func (c *conn) glitch() error { return c.guard.glitch(c.in.now) }

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
	if c.resets > len(c.recentReset) {
		return nil, streamReset // it may be one of those that we do not remember
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

// noteResetLocked notes that we reset a stream, open or not, on which the peer
// may have sent as much as its window allows.
func (c *conn) noteResetLocked(id uint32) {
	late := int64(c.cfg.StreamWindow)
	if s := c.streams[id]; s != nil {
		if late = s.recvWindow; s.remoteClosed {
			late = 0
		}
	}
	c.late = min(c.late+late, 2*c.recvMax)
	c.recentReset[c.resets%len(c.recentReset)] = id
	c.resets++
}
