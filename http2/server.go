// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/belay-proxy/belay/header"
)

// A ServerConn is the server side of one connection.
type ServerConn struct {
	conn
	handle  func(*ServerStream)
	handled sync.WaitGroup // streams with a handler
	served  int
}

// NewServerConn returns a server connection on nc that passes each request,
// on a goroutine of its own, to handle. cfg must come from WithDefaults. A
// stream is valid until handle returns. early is what has been received
// already; it may be nil.
func NewServerConn(nc net.Conn, cfg *Config, early []byte, handle func(*ServerStream)) *ServerConn {
	c := &ServerConn{handle: handle}
	c.init(nc, cfg, true)
	c.conn.onHead = c.onHead
	c.in.early(early)
	return c
}

// NetConn returns the underlying connection.
func (c *ServerConn) NetConn() net.Conn { return c.nc }

// Serve serves requests until the connection ends, waits for their handlers,
// and closes it.
func (c *ServerConn) Serve() {
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		c.flushLoop()
	}()
	err := c.serve()
	c.mu.Lock()
	c.endLocked(err)
	c.mu.Unlock()
	c.in.release()
	<-flushed
	c.handled.Wait()
	close(c.closed)
	if err = c.err; err == io.EOF {
		err = nil
	}
	c.cfg.OnClose(err)
}

// serve reads until the connection ends. nil is a good end.
func (c *ServerConn) serve() error {
	c.mu.Lock()
	b := c.outLocked()
	b.B = append(b.B, c.settings()...)
	c.flushable.Signal()
	c.mu.Unlock()
	if err := c.in.preface(c.cfg.HeadTimeout); err != nil {
		return err
	}
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

// afterTimeout decides what to do when nothing has come for as long as
// readLimit allowed, or when Drain has interrupted the wait.
func (c *ServerConn) afterTimeout() (err error, over bool) {
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
	case c.draining:
		return nil, c.goAwaySent != 1<<31-1
	}
	return nil, time.Since(c.idleSince) >= c.cfg.IdleTimeout
}

// onHead takes a complete header block of the client: a request, or trailers.
func (c *ServerConn) onHead(block []byte) error {
	id, ended := c.block.stream, c.block.ended
	c.mu.Lock()
	s, state := c.stateLocked(id)
	c.mu.Unlock()
	if !c.byPeer(id) {
		return &connError{ProtocolError, "client uses an even stream"}
	}
	switch state {
	case streamOpen:
		return c.onTrailers(s, block, ended)
	case streamClosed, streamReset:
		var junk header.Fields
		c.heads.start(&junk)
		if err := c.decode(block); err != nil {
			return err
		}
		if state == streamReset {
			return nil
		}
		return &connError{StreamClosed, "HEADERS on closed stream"}
	}
	return c.onRequest(id, block, ended)
}

// onTrailers takes the header block that ends a request body.
func (c *ServerConn) onTrailers(s *stream, block []byte, ended bool) error {
	var fields header.Fields
	c.heads.start(&fields)
	c.heads.trailers = true
	if err := c.decode(block); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.remoteClosed:
		return &streamError{StreamClosed, "HEADERS after the end of the stream"}
	case !ended:
		return &streamError{ProtocolError, "second head"}
	case c.heads.bad != "" || c.heads.tooLarge:
		return &streamError{ProtocolError, "malformed trailers"}
	case s.left > 0:
		return &streamError{ProtocolError, "content does not have the declared length"}
	}
	s.trailersRecv = fields
	s.endRemoteLocked()
	return nil
}

// onRequest takes the head of a new stream.
func (c *ServerConn) onRequest(id uint32, block []byte, ended bool) error {
	st := newServerStream(c, id)
	c.heads.start(&st.req.Fields)
	if err := c.decode(block); err != nil {
		return err
	}
	why := ""
	if !c.heads.tooLarge {
		why = c.heads.finishRequest(&st.req, ended)
	}
	c.guard.stream(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastPeerID = id
	switch {
	case c.closing || id > c.goAwaySent:
		c.noteResetLocked(id)
		return nil // GOAWAY has told the client that this one was not taken
	case c.peerStreams >= c.cfg.MaxStreams:
		return &streamError{RefusedStream, "too many streams"}
	case why != "":
		return &streamError{ProtocolError, why}
	}
	st.stream.headDone = true
	if !ended {
		st.stream.left = c.heads.length
	}
	st.stream.urgency = parsePriority(c.heads.priority)
	st.protocol = c.heads.protocol
	st.tooLarge = c.heads.tooLarge
	st.openLocked()
	c.peerStreams++
	if ended {
		st.stream.remoteClosed = true
	}
	c.served++
	c.handled.Add(1)
	go c.run(st)
	return nil
}

// run handles one stream.
func (c *ServerConn) run(st *ServerStream) {
	defer c.handled.Done()
	if st.tooLarge {
		st.WriteHead(&header.Response{Status: 431}, true)
	} else {
		c.handle(st)
	}
	st.end()
}

// Requests returns the number of requests received so far.
func (c *ServerConn) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served
}

// drainPause is the time between the GOAWAY that asks the client to open no
// more streams and the one that says which have been taken: what it opened in
// between is served (RFC 9113 section 6.8).
const drainPause = time.Second

// Drain asks the connection to end: no new streams after a moment, and the end
// when the last one has finished. It may be called from any goroutine.
func (c *ServerConn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining || c.closing {
		return
	}
	c.draining = true
	c.controlLocked(func(b []byte) []byte { return appendGoAway(b, 1<<31-1, NoError, "") })
	time.AfterFunc(drainPause, c.drainNow)
}

// drainNow sends the final GOAWAY.
func (c *ServerConn) drainNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.goAwaySent = c.lastPeerID
	c.controlLocked(func(b []byte) []byte { return appendGoAway(b, c.lastPeerID, NoError, "") })
	if len(c.streams) == 0 {
		c.nc.SetReadDeadline(past)
		c.endLocked(nil)
	}
}

// Kill ends the connection and all its streams at once. It may be called from
// any goroutine.
func (c *ServerConn) Kill() {
	c.mu.Lock()
	c.endLocked(net.ErrClosed)
	c.mu.Unlock()
	c.nc.SetDeadline(past)
}

// PeerGone reports whether the connection has ended.
func (c *ServerConn) PeerGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}
