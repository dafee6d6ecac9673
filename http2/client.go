// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"io"
	"net"
	"os"
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
	scheme   string
	reserved int // streams that have been promised and not opened yet; guarded by mu
}

// NewClientConn returns a client connection on nc and starts its goroutines,
// which end when the connection does. cfg must come from WithDefaults. scheme
// is that of the requests, "http" or "https".
func NewClientConn(nc net.Conn, cfg *Config, scheme string) *ClientConn {
	c := &ClientConn{scheme: scheme}
	c.init(nc, cfg, false)
	c.conn.onHead = c.onHead
	b := c.outLocked()
	b.B = append(b.B, preface...)
	b.B = append(b.B, c.settings()...)
	go c.flushLoop()
	go c.serve()
	return c
}

// NetConn returns the underlying connection.
func (c *ClientConn) NetConn() net.Conn { return c.nc }

func (c *ClientConn) serve() {
	err := c.read()
	c.mu.Lock()
	c.endLocked(err)
	c.mu.Unlock()
	c.in.release()
	close(c.closed)
	if err = c.err; err == io.EOF {
		err = nil
	}
	c.cfg.OnClose(err)
}

// read reads until the connection ends. nil is a good end.
func (c *ClientConn) read() error {
	for {
		err := c.readLoop()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err, over := c.afterTimeout(); over {
			return err
		}
	}
}

// afterTimeout decides what to do when nothing has come for a while.
func (c *ClientConn) afterTimeout() (err error, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.armed = time.Time{}
	switch {
	case c.closing:
		return nil, true
	case !c.peer.seen:
		return &connError{SettingsTimeout, "no SETTINGS"}, true
	case c.block.open:
		return &connError{ProtocolError, "header block not complete in time"}, true
	case len(c.streams) > 0:
		return nil, false
	}
	return nil, time.Since(c.idleSince) >= c.cfg.IdleTimeout
}

// Available returns how many more streams the connection can take now, 0 if
// it takes none.
func (c *ClientConn) Available() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.availableLocked()
}

func (c *ClientConn) availableLocked() int {
	if c.closing || c.goneAway || c.draining || c.nextID >= 1<<31-1 {
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
	c.draining = true
	c.goAwaySent = 0
	if len(c.streams) == 0 {
		c.endLocked(nil)
	}
}

// Kill ends the connection and all its streams at once.
func (c *ClientConn) Kill() {
	c.mu.Lock()
	c.endLocked(net.ErrClosed)
	c.mu.Unlock()
	c.nc.SetDeadline(past)
}

// Closed is closed when the connection has ended.
func (c *ClientConn) Closed() <-chan struct{} { return c.closed }

// onHead takes a complete header block of the server: a response head or
// trailers.
func (c *ClientConn) onHead(block []byte) error {
	id, ended := c.block.stream, c.block.ended
	c.mu.Lock()
	s, state := c.stateLocked(id)
	c.mu.Unlock()
	var res header.Response
	c.heads.start(&res.Fields)
	c.heads.trailers = s != nil && s.headDone
	if err := c.decode(block); err != nil {
		return err
	}
	if c.heads.tooLarge {
		return &streamError{EnhanceYourCalm, "response head too large"}
	}
	switch state {
	case streamIdle:
		return &connError{ProtocolError, "HEADERS on idle stream"}
	case streamClosed:
		return &connError{StreamClosed, "HEADERS on closed stream"}
	case streamReset:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.remoteClosed {
		return &streamError{StreamClosed, "HEADERS after the end of the stream"}
	}
	if s.headDone {
		return s.trailersLocked(&c.heads, res.Fields, ended)
	}
	if why := c.heads.finishResponse(&res); why != "" {
		return &streamError{ProtocolError, why}
	}
	return s.responseLocked(&res, ended)
}

// trailersLocked takes the header list that ends a response body.
func (s *stream) trailersLocked(r *headReader, fields header.Fields, ended bool) error {
	switch {
	case !ended:
		return &streamError{ProtocolError, "second head"}
	case r.bad != "":
		return &streamError{ProtocolError, "malformed trailers"}
	case s.left > 0:
		return &streamError{ProtocolError, "content does not have the declared length"}
	}
	s.trailersRecv = fields
	s.endRemoteLocked()
	return nil
}

// maxInformational is the number of 1xx heads that may precede one response.
const maxInformational = 100

// responseLocked takes a response head.
func (s *stream) responseLocked(res *header.Response, ended bool) error {
	if res.Informational() {
		if ended || len(s.heads) >= maxInformational {
			return &streamError{ProtocolError, "informational response ends the stream"}
		}
	} else {
		s.headDone = true
		switch {
		case !res.HasBody(s.method):
			if !ended && res.Length > 0 {
				s.left = 0 // HEAD and the like: no content, whatever is declared
			}
		case ended && res.Length > 0:
			return &streamError{ProtocolError, "content-length without content"}
		default:
			s.left = res.Length
		}
		if ended && res.Length < 0 && res.HasBody(s.method) {
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
