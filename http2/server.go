// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"encoding/binary"
	"net"
	"sync"

	"github.com/belay-proxy/belay/header"
)

// A ServerConn is the server side of one connection.
type ServerConn struct {
	conn
	handle  func(*ServerStream)
	handled sync.WaitGroup  // streams with a handler
	served  int             // guarded by mu
	running int             // handlers; guarded by mu
	held    int             // bytes of the heads that they have; guarded by mu
	early   []earlyPriority // guarded by mu
	workers workers         // guarded by mu
}

// NewServerConn returns a server connection on nc that passes each request,
// on a goroutine of its own, to handle. cfg must come from WithDefaults. A
// stream is valid until handle returns. early is what has been received
// already; it may be nil.
func NewServerConn(nc net.Conn, cfg *Config, early []byte, handle func(*ServerStream)) *ServerConn {
	c := &ServerConn{handle: handle}
	c.init(nc, cfg, true)
	c.conn.onHead, c.conn.onUpdate = c.onHead, c.onPriorityUpdate
	c.conn.restLocked, c.conn.busyLocked = c.workers.restLocked, c.busyLocked
	c.in.early(early)
	first := c.settings() // before anything that Drain or Kill may send
	b := c.outLocked(len(first))
	b.B = append(b.B, first...)
	return c
}

// NetConn returns the underlying connection.
func (c *ServerConn) NetConn() net.Conn { return c.nc }

// Serve serves requests until the connection ends, closes it, and waits for
// their handlers.
//
// The goroutine of an idle connection rests in readLoop. The collector halves
// its stack as long as less than a quarter is in use, which is 1248 bytes of 8
// KiB: hence the frames on the way there are kept small.
func (c *ServerConn) Serve() {
	c.mu.Lock()
	c.wakeLocked() // to send the settings
	c.mu.Unlock()
	err := c.in.preface()
	if err == nil {
		err = c.readLoop()
	}
	c.finishServe(err)
}

// finishServe ends the connection after readLoop has returned err.
func (c *ServerConn) finishServe(err error) {
	if err == errOver {
		err = nil
	}
	c.mu.Lock()
	c.endLocked(err)
	c.mu.Unlock()
	<-c.flushed
	c.finish()
	c.handled.Wait()
	c.mu.Lock()
	c.workers.dismissLocked(len(c.workers.idle))
	c.mu.Unlock()
	close(c.closed)
	err = c.outcome()
	if _, ok := err.(*connError); ok {
		c.cfg.OnReject(c, 0, err)
	}
	c.cfg.OnClose(err)
}

// onHead takes a complete header block of the client: a request, or trailers.
func (c *ServerConn) onHead(block []byte) error {
	id, ended := c.block.stream, c.block.ended
	if !c.byPeer(id) {
		return &connError{ProtocolError, "client uses an even stream"}
	}
	c.mu.Lock()
	_, state := c.stateLocked(id)
	if state == streamIdle {
		st := c.streamLocked(id)
		c.mu.Unlock()
		return c.onRequest(st, block, ended)
	}
	c.mu.Unlock()
	var fields header.Fields
	c.heads.start(&fields)
	c.heads.trailers = true
	if err := c.decode(block); err != nil {
		return err
	}
	c.mu.Lock()
	s, state := c.stateLocked(id) // its handler may have ended it meanwhile
	if s != nil {
		defer c.mu.Unlock()
		return s.trailersLocked(&c.heads, fields, ended)
	}
	c.mu.Unlock()
	if state == streamReset {
		return c.glitch()
	}
	return &connError{StreamClosed, "HEADERS on closed stream"}
}

// onPriorityUpdate takes a PRIORITY_UPDATE (RFC 9218 section 7.1).
func (c *ServerConn) onPriorityUpdate(h frameHeader, p []byte) error {
	if h.stream != 0 || len(p) < 4 {
		return &connError{ProtocolError, "malformed PRIORITY_UPDATE"}
	}
	id := binary.BigEndian.Uint32(p) &^ (1 << 31)
	if !c.byPeer(id) {
		return &connError{ProtocolError, "PRIORITY_UPDATE for a stream that is not the client's"} // 0, or a push
	}
	if err := c.glitch(); err != nil {
		return err
	}
	pri := parsePriority(string(p[4:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s, state := c.stateLocked(id); state {
	case streamOpen:
		c.waiting.remove(s)
		s.priority = pri
		s.enqueueLocked()
	case streamIdle:
		c.keepPriorityLocked(id, pri)
	}
	return nil
}

// trailersLocked takes the header list that ends a body.
func (s *stream) trailersLocked(r *headReader, fields header.Fields, ended bool) error {
	switch {
	case s.remoteClosed:
		return &streamError{StreamClosed, "HEADERS after the end of the stream"}
	case !ended:
		return &streamError{ProtocolError, "second head"}
	case r.tooLarge:
		return &streamError{EnhanceYourCalm, "trailers too large"}
	case r.bad != "":
		return &streamError{ProtocolError, "malformed trailers"}
	case s.left > 0:
		return &streamError{ProtocolError, "content does not have the declared length"}
	}
	s.trailersRecv = fields
	s.endRemoteLocked()
	return nil
}

// maxHeld is how much the heads of all requests in hand may take together, in
// bytes, unless it is one alone: compressed, they cost a client next to
// nothing.
const maxHeld = 1 << 20

// onRequest takes the head of a new stream.
func (c *ServerConn) onRequest(st *ServerStream, block []byte, ended bool) error {
	c.heads.start(&st.req.Fields)
	if err := c.decode(block); err != nil {
		return err
	}
	why := ""
	if !c.heads.tooLarge {
		why = c.heads.finishRequest(&st.req, ended)
	}
	c.guard.stream(c.in.now)
	if why != "" {
		c.cfg.OnReject(c, 400, &streamError{ProtocolError, why})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if taken, err := c.takesLocked(st.id, why); !taken {
		c.recycleLocked(st)
		return err
	}
	st.stream.headDone = true
	if !ended {
		st.stream.left = c.heads.length
		st.setPace()
	}
	st.stream.remoteClosed = ended
	st.stream.priority = c.priorityLocked(st.id, c.heads.priority)
	st.protocol = c.heads.protocol
	st.refusal = c.heads.refusal(&st.req)
	st.size = min(c.heads.size, c.cfg.MaxHeaderBytes)
	st.openLocked()
	c.peerStreams++
	c.served++
	c.startLocked(st)
	return nil
}

// takesLocked decides whether a new request is handled. why says in which way
// it is malformed, "" if it is not.
func (c *ServerConn) takesLocked(id uint32, why string) (taken bool, err error) {
	c.lastPeerID = id
	switch {
	case c.closing || id > c.goAwaySent:
		c.noteResetLocked(id)
		return false, c.glitch() // GOAWAY has told the client that this one was not taken
	case c.peerStreams >= c.cfg.MaxStreams, c.running >= 2*c.cfg.MaxStreams:
		return false, &streamError{RefusedStream, "too many streams"}
	case c.held > 0 && c.held+c.heads.size > maxHeld:
		return false, &streamError{RefusedStream, "too much in hand"}
	case why != "":
		return false, &streamError{ProtocolError, why}
	}
	return true, nil
}

// run handles one stream, on a worker.
func (c *ServerConn) run(st *ServerStream, w *worker) {
	defer c.handled.Done()
	if r := st.refusal; r != nil {
		c.cfg.OnReject(c, r.status, r.err)
		st.refuse(r.status)
	} else {
		c.handle(st)
	}
	st.end()
	c.mu.Lock()
	c.running--
	c.held -= st.size
	c.recycleLocked(st)
	c.workers.waitLocked(w)
	if c.cfg.Draining() {
		c.drainLocked()
	}
	c.mu.Unlock()
}

// A refusal is the answer to a request that is well-formed and that no handler
// gets to see.
type refusal struct {
	status int
	err    error
}

var (
	headTooLarge   = &refusal{431, &streamError{EnhanceYourCalm, "head too large"}}
	targetTooLong  = &refusal{414, &streamError{EnhanceYourCalm, "request target too long"}}
	unknownExpects = &refusal{417, &streamError{RefusedStream, "unknown expectation"}} // RFC 9110 section 10.1.1
)

// refuse answers with status and its phrase as text.
func (s *ServerStream) refuse(status int) {
	body := header.ErrorText(status)
	res := header.Response{Status: status, Length: int64(len(body))}
	res.Fields.AddValid("content-type", "text/plain; charset=utf-8")
	res.Fields.AddValid("cache-control", "no-store")
	if s.WriteHead(&res, false) == nil {
		s.WriteBody([]byte(body), true)
	}
}

// refusal returns why req, whose head has been read, goes to no handler, nil if
// it does.
func (r *headReader) refusal(req *header.Request) *refusal {
	switch {
	case r.tooLarge:
		return headTooLarge
	case len(req.Target) > r.cfg.MaxTargetBytes:
		return targetTooLong
	case r.expects:
		return unknownExpects
	}
	return nil
}

// Requests returns the number of requests received so far.
func (c *ServerConn) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served
}

// Drain asks the connection to end: no new streams after a moment, and the end
// when the last one has finished. It may be called from any goroutine.
func (c *ServerConn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drainLocked()
}

// Kill ends the connection and all its streams at once. It may be called from
// any goroutine.
func (c *ServerConn) Kill() { c.kill() }

// PeerGone reports whether the connection has ended.
func (c *ServerConn) PeerGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}
