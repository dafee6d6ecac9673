// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"net"
	"time"

	"github.com/belay-proxy/belay/header"
)

// ErrNoStream is returned by ClientConn.Open when the connection can take no
// further stream now, or ever.
var ErrNoStream = errors.New("http2: no stream available on the connection")

// A ClientConn is the client side of one connection. It carries many requests
// at a time and is safe for concurrent use.
type ClientConn struct {
	conn
	scheme string
}

// NewClientConn returns a client connection on nc and starts its goroutines,
// which end when the connection does. cfg must come from WithDefaults. scheme
// is that of the requests, "http" or "https".
func NewClientConn(nc net.Conn, cfg *Config, scheme string) *ClientConn {
	c := &ClientConn{scheme: scheme}
	c.init(nc, cfg, false)
	c.conn.onHead = c.onHead
	c.conn.restLocked, c.conn.busyLocked = func() {}, func() bool { return false }
	c.conn.onUpdate = func(frameHeader, []byte) error { return &connError{ProtocolError, "PRIORITY_UPDATE of a server"} }
	first := c.settings()
	b := c.outLocked(len(preface) + len(first))
	b.B = append(b.B, preface...)
	b.B = append(b.B, first...)
	go c.serve()
	return c
}

// NetConn returns the underlying connection.
func (c *ClientConn) NetConn() net.Conn { return c.nc }

func (c *ClientConn) serve() {
	c.mu.Lock()
	c.wakeLocked() // to send the preface
	c.mu.Unlock()
	err := c.readLoop()
	if err == errOver {
		err = nil
	}
	c.mu.Lock()
	c.endLocked(err)
	c.mu.Unlock()
	<-c.flushed
	c.finish()
	close(c.closed)
	c.cfg.OnClose(c.outcome())
}

// Available returns how many more streams the connection can take now, 0 if
// it takes none.
func (c *ClientConn) Available() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.availableLocked()
}

func (c *ClientConn) availableLocked() int {
	if c.closing || c.goneAway || c.draining || c.quiet.suspect || c.nextID >= maxStreamID {
		return 0
	}
	limit := c.cfg.MaxStreams
	if uint32(limit) > c.peer.maxStreams {
		limit = int(c.peer.maxStreams)
	}
	return max(limit-len(c.streams)-c.reserved, 0)
}

// Active returns the number of streams that are open.
func (c *ClientConn) Active() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// IdleSince returns since when no stream has been open. It means nothing
// while one is.
func (c *ClientConn) IdleSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idleSince
}

// ConnectProtocol reports whether the server takes extended CONNECT requests
// (RFC 8441). It is known once SETTINGS have come.
func (c *ClientConn) ConnectProtocol() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.enableConnect
}

// Close ends the connection in good order, once its streams have ended.
func (c *ClientConn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drainLocked()
}

// Kill ends the connection and all its streams at once.
func (c *ClientConn) Kill() { c.kill() }

// Closed is closed when the connection has ended.
func (c *ClientConn) Closed() <-chan struct{} { return c.closed }

// onHead takes a complete header block of the server: a response head or
// trailers.
func (c *ClientConn) onHead(block []byte) error {
	id, ended := c.block.stream, c.block.ended
	c.mu.Lock()
	s, state := c.stateLocked(id)
	trailers := s != nil && s.headDone
	c.mu.Unlock()
	if state == streamIdle {
		return &connError{ProtocolError, "HEADERS on idle stream"}
	}
	var res header.Response
	c.heads.start(&res.Fields)
	c.heads.trailers = trailers
	if err := c.decode(block); err != nil {
		return err
	}
	c.guard.stream(c.in.now)
	c.mu.Lock()
	s, state = c.stateLocked(id) // its user may have ended it meanwhile
	if s != nil {
		defer c.mu.Unlock()
		if trailers {
			return s.trailersLocked(&c.heads, res.Fields, ended)
		}
		return s.responseLocked(&c.heads, &res, ended)
	}
	c.mu.Unlock()
	if state == streamReset {
		return c.spendCredit()
	}
	return &connError{StreamClosed, "HEADERS on closed stream"}
}

// maxInformational is the number of 1xx heads that may precede one response.
const maxInformational = 100

// responseLocked takes a response head.
func (s *stream) responseLocked(r *headReader, res *header.Response, ended bool) error {
	if r.tooLarge {
		return &streamError{EnhanceYourCalm, "response head too large"}
	}
	if why := r.finishResponse(res); why != "" {
		return &streamError{ProtocolError, why}
	}
	tunnel := s.method == "CONNECT" && res.Status < 300
	hasBody := res.HasBody(s.method)
	switch {
	case res.Informational():
		s.infos++
		s.infoBytes += r.size
		if ended {
			return &streamError{ProtocolError, "informational response ends the stream"}
		}
		if s.infos > maxInformational || s.infoBytes > r.cfg.MaxHeaderBytes {
			return &streamError{EnhanceYourCalm, "too many informational responses"}
		}
	case tunnel:
		s.headDone = true
	case ended && hasBody && res.Length > 0:
		return &streamError{ProtocolError, "content-length without content"}
	default:
		s.headDone = true
		if s.left = res.Length; !hasBody {
			s.left = 0 // whatever is declared
		}
		if ended && hasBody {
			res.Length = 0
		}
	}
	s.heads = append(s.heads, res)
	if ended {
		s.endRemoteLocked()
	}
	signal(s.readable)
	return nil
}
