// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"io"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// A ClientStream is one request to an origin and the response to it. One
// goroutine may send the request while another reads the response. Errors are
// *proxyerr.Error with Source Upstream.
type ClientStream struct {
	stream
	conn *ClientConn

	opened   bool
	head     *header.Request // waits for the first piece of body
	protocol string
	trailers bool // TE: trailers
	tunnel   bool // raw bytes follow; guarded by mu of the connection
	leftOut  int64
	read     waiter
	write    waiter
}

// NewStream returns a stream for one request, or nil if the connection can take
// none now. It is opened by the first write and must be ended by Finish.
// watch, if not nil, is asked now and then while the stream waits for the
// origin to send something. readTimeout and writeTimeout replace those of the configuration
// unless they are zero.
func (c *ClientConn) NewStream(watch Watcher, readTimeout, writeTimeout time.Duration) *ClientStream {
	c.mu.Lock()
	if c.availableLocked() == 0 {
		c.mu.Unlock()
		return nil
	}
	c.reserved++
	c.mu.Unlock()
	s := &ClientStream{conn: c, read: waiter{limit: c.cfg.ReadTimeout, watch: watch}, write: waiter{limit: c.cfg.WriteTimeout}}
	if readTimeout != 0 {
		s.read.limit = readTimeout
	}
	if writeTimeout != 0 {
		s.write.limit = writeTimeout
	}
	s.init(&c.conn, 0)
	return s
}

// Conn returns the connection of the stream.
func (s *ClientStream) Conn() *ClientConn { return s.conn }

// WriteHead sends the head of the request. upgrade, if not "", makes it an
// extended CONNECT for that protocol (RFC 8441). trailersOK passes on that the
// client accepts trailers. last says that no body follows. The head is kept
// until the first piece of body, Flush or SendAndReadHead, so that both leave
// together.
func (s *ClientStream) WriteHead(head *header.Request, upgrade string, trailersOK, last bool) error {
	if !header.ValidName(head.Method) || !validPath(head.Method, head.Target) && head.Method != "CONNECT" {
		return proxyerr.New(proxyerr.Internal, proxyerr.BadMessage, "write request head", errors.New("invalid method or target"))
	}
	s.method = head.Method
	s.head, s.protocol, s.trailers = head, upgrade, trailersOK
	s.leftOut = head.Length
	if !last {
		return nil
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.openLocked(true)
}

// openLocked opens the stream with the head that WriteHead has kept.
func (s *ClientStream) openLocked(last bool) error {
	c := s.conn
	head := s.head
	s.head = nil
	if s.protocol != "" {
		if err := s.awaitConnectLocked(); err != nil {
			return err
		}
	}
	err := s.awaitRoomLocked(&s.write)
	if s.err == nil && (c.closing || c.goneAway || c.nextID >= maxStreamID) {
		err = ErrNoStream
	}
	if err != nil {
		return s.upErrorLocked(opOpenStream, err)
	}
	c.reserved--
	s.id = c.nextID
	c.nextID += 2
	s.stream.openLocked()
	s.opened = true
	s.appendHeadLocked(c.writer.request(head, c.scheme, s.protocol, s.trailers), last)
	return nil
}

// awaitConnectLocked waits for the SETTINGS that say whether the origin takes
// an extended CONNECT, which may not be sent before (RFC 8441 section 3).
// c.mu is released while waiting.
func (s *ClientStream) awaitConnectLocked() error {
	c := s.conn
	if !c.peer.seen && !c.closing && s.err == nil {
		c.mu.Unlock()
		timer := time.NewTimer(max(c.cfg.HeadTimeout, time.Second))
		select {
		case <-c.ready:
		case <-c.closed:
		case <-s.writable: // Kill
		case <-timer.C:
		}
		timer.Stop()
		c.mu.Lock()
	}
	switch {
	case s.err != nil:
		return s.upErrorLocked(opOpenStream, s.err)
	case c.peer.enableConnect:
		return nil
	case !c.peer.seen:
		return s.upErrorLocked(opOpenStream, ErrNoStream)
	}
	return proxyerr.New(proxyerr.Upstream, proxyerr.Unsupported, opOpenStream, errors.New("http2: origin takes no extended CONNECT"))
}

// WriteBody sends a piece of the request body. It waits for the origin's flow
// control. piece is not kept.
func (s *ClientStream) WriteBody(piece []byte, last bool) error {
	if s.leftOut >= 0 {
		if s.leftOut -= int64(len(piece)); s.leftOut < 0 {
			return errTooLong
		}
		if last && s.leftOut > 0 {
			return errTooShort
		}
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if err := s.flushLocked(); err != nil {
		return err
	}
	if len(piece) == 0 && !last {
		return nil
	}
	return s.sendErrorLocked(s.writeDataLocked(piece, last, &s.write))
}

// WriteTrailers ends the body with trailers.
func (s *ClientStream) WriteTrailers(trailers *header.Fields) error {
	if trailers == nil || trailers.Len() == 0 {
		return s.WriteBody(nil, true)
	}
	if s.leftOut > 0 {
		return errTooShort
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if err := s.flushLocked(); err != nil {
		return err
	}
	err := s.awaitRoomLocked(&s.write)
	if err == nil {
		s.appendHeadLocked(s.c.writer.trailers(trailers), true)
	}
	return s.sendErrorLocked(err)
}

// Flush sends the head if it has been kept.
func (s *ClientStream) Flush() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.flushLocked()
}

func (s *ClientStream) flushLocked() error {
	if s.head == nil {
		return nil
	}
	return s.openLocked(false)
}

// sendErrorLocked returns the error of a write. There is none if the stream has
// ended after a response has come, which says why the rest of the request is
// not wanted, or else reading it fails.
func (s *ClientStream) sendErrorLocked(err error) error {
	if err == nil || s.headDone && s.err != nil && !s.tunnel {
		return nil
	}
	return s.upErrorLocked(opSendRequest, err)
}

const (
	opOpenStream  = "open stream"
	opSendRequest = "send request"
)

// upError classifies an error. A stream that the origin says it has not
// processed may be sent again, whatever its method (RFC 9113 section 8.7).
func (s *ClientStream) upError(op string, err error) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.upErrorLocked(op, err)
}

func (s *ClientStream) upErrorLocked(op string, err error) error {
	if e, ok := errors.AsType[*proxyerr.Error](err); ok {
		return e // the Watcher's
	}
	e := &proxyerr.Error{Source: proxyerr.Upstream, Op: op, Kind: proxyerr.ReadFailed, Err: err}
	if op == opSendRequest {
		e.Kind = proxyerr.WriteFailed
	}
	_, broken := err.(*connError)
	re, reset := errors.AsType[*ResetError](err)
	se, malformed := errors.AsType[*streamError](err)
	switch {
	case err == ErrNoStream:
		e.Kind, e.Retry = proxyerr.StreamRefused, proxyerr.RetryAlways
	case err == errTimeout && op == opOpenStream:
		e.Kind, e.Err, e.Retry = proxyerr.WriteTimeout, nil, proxyerr.RetryAlways // nothing was sent
		s.c.suspectLocked(s.write.limit)
	case err == errTimeout && op == opSendRequest:
		e.Kind, e.Err = proxyerr.WriteTimeout, nil
		s.c.suspectLocked(s.write.limit)
	case err == errTimeout:
		e.Kind, e.Err = proxyerr.ReadTimeout, nil
		s.c.suspectLocked(s.read.limit)
	case reset && re.Code == RefusedStream:
		e.Kind, e.Retry = proxyerr.StreamRefused, proxyerr.RetryAlways
	case malformed && se.code == EnhanceYourCalm:
		e.Kind = proxyerr.TooLarge
	case malformed, broken:
		e.Kind = proxyerr.BadMessage
	case isGone(err):
		e.Kind = proxyerr.ConnClosed
		if !s.headDone && !reset {
			e.Retry = proxyerr.RetryIfReused
		}
	}
	return e
}

// SendAndReadHead sends what is pending and reads a response head.
func (s *ClientStream) SendAndReadHead(res *header.Response) error {
	if err := s.Flush(); err != nil {
		return err
	}
	return s.ReadHead(res)
}

// ReadHead reads a response head into res, which is reset first: any number
// of informational (1xx) heads, then the final one.
func (s *ClientStream) ReadHead(res *header.Response) error {
	c := s.c
	for {
		c.mu.Lock()
		var err error
		switch {
		case len(s.heads) > 0:
			*res = *s.heads[0]
			s.heads = s.heads[1:]
			c.mu.Unlock()
			return nil
		case s.err != nil:
			err = s.err
		case s.remoteClosed, s.c.closing:
			err = io.ErrUnexpectedEOF
		}
		c.mu.Unlock()
		if err == nil {
			err = s.read.wait(s.readable)
		}
		if err != nil {
			return s.upError("read response head", err)
		}
	}
}

// ReadBody returns the next piece of the response body and whether it is the
// last, which may be empty. The piece is valid until the next call.
func (s *ClientStream) ReadBody() (piece []byte, last bool, err error) {
	piece, last, err = s.readBody(&s.read)
	if err != nil {
		return nil, false, s.upError("read response body", err)
	}
	return piece, last, nil
}

// BodyBuffered reports whether ReadBody would return without waiting.
func (s *ClientStream) BodyBuffered() bool { return s.buffered() }

// Nominates reports false: there is no Connection field in HTTP/2.
func (s *ClientStream) Nominates() bool { return false }

// Trailers returns the trailers of the response. They are complete once
// ReadBody has returned the last piece.
func (s *ClientStream) Trailers() *header.Fields { return &s.trailersRecv }

// BodyReceived returns the number of body bytes read so far.
func (s *ClientStream) BodyReceived() int64 { return s.received }

// StartTunnelReads makes ReadBody go on with raw bytes, after the answer to a
// CONNECT. Each wait takes at most idle; zero and negative mean no bound.
func (s *ClientStream) StartTunnelReads(idle time.Duration) { s.read.limit = idle }

// StartTunnelWrites is the same for WriteBody.
func (s *ClientStream) StartTunnelWrites(idle time.Duration) {
	s.write.limit, s.leftOut = idle, -1
	s.write.anyRate = true
	s.c.mu.Lock()
	s.tunnel = true
	s.c.mu.Unlock()
}

// Kill ends the stream at once. It may be called from any goroutine.
func (s *ClientStream) Kill() {
	s.c.mu.Lock()
	if !s.opened {
		s.failLocked(&ResetError{Code: Cancel, Local: true})
	}
	s.c.mu.Unlock()
	s.reset(Cancel, Cancel)
}

// Finish ends the use of the stream: what is not complete is reset. The
// connection goes on.
func (s *ClientStream) Finish() {
	if !s.opened {
		s.c.mu.Lock()
		s.conn.reserved--
		s.c.mu.Unlock()
	}
	s.reset(Cancel, Cancel)
	s.finish()
}
