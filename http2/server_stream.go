// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"cmp"
	"errors"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

// A ServerStream is one request of a client and the response to it. It is
// valid until the function that it was passed to returns.
//
// One goroutine may read the body while another writes the response. Errors
// are *proxyerr.Error with Source Downstream, but for a program's own mistake.
type ServerStream struct {
	stream
	conn     *ServerConn
	req      header.Request
	protocol string   // of an extended CONNECT
	refusal  *refusal // why no handler sees it, nil if one does
	size     int      // of the head, in bytes

	head     pendingHead
	headSent bool
	done     bool // the last of the response has been written, if not sent
	noBody   bool
	left     int64 // of the declared length; negative if unknown
	sent     int64
	read     waiter
	write    waiter
}

// pendingHead is a response head that waits for the first piece of body, so
// that both leave together.
type pendingHead struct {
	res    *header.Response
	length int64
}

// streamLocked returns a stream for the next request. A connection keeps those
// that have ended for reuse, with their channels, timers and room for fields.
func (c *ServerConn) streamLocked(id uint32) *ServerStream {
	var s *ServerStream
	if last := len(c.free) - 1; last >= 0 {
		s, c.free = c.free[last], c.free[:last]
	} else {
		s = &ServerStream{conn: c}
	}
	s.read.limit, s.write.limit = c.cfg.ReadTimeout, c.cfg.WriteTimeout
	s.init(&c.conn, id)
	return s
}

// recycleLocked gives the stream up for reuse. Nobody else may have it.
func (c *ServerConn) recycleLocked(s *ServerStream) {
	s.req.Reset()
	s.stream = stream{c: s.c, queue: s.queue, readable: s.readable, writable: s.writable}
	*s = ServerStream{
		conn: c, stream: s.stream, req: s.req,
		read: waiter{timer: s.read.timer}, write: waiter{timer: s.write.timer},
	}
	c.free = append(c.free, s)
}

// bodyGrace is how long a client may be slower than MinBodyRate.
const bodyGrace = 5 * time.Second

// setPace holds the client to the configured rate, unless its request is of a
// kind whose messages may be far between.
func (s *ServerStream) setPace() {
	if rate := s.c.cfg.MinBodyRate; rate > 0 && s.req.Method != "CONNECT" && !s.req.GRPC() {
		s.read.pace = netio.NewPace(rate, bodyGrace)
	}
}

// SetLimits changes limits for this request: BodyTimeout, MinBodyRate, also of
// a gRPC call, and WriteTimeout. The others are those of a connection of
// HTTP/1. It must not be called while another goroutine reads the body or
// writes the response.
func (s *ServerStream) SetLimits(l http1.StreamLimits) {
	s.read.limit = cmp.Or(l.BodyTimeout, s.read.limit)
	s.write.limit = cmp.Or(l.WriteTimeout, s.write.limit)
	if l.MinBodyRate != 0 {
		s.read.pace = netio.NewPace(l.MinBodyRate, bodyGrace)
	}
}

// end ends the stream after its handler: a response that is not complete is
// reset, and so is a request that nobody reads to its end (RFC 9113 section
// 8.1: the response does not need the rest).
func (s *ServerStream) end() {
	s.reset(InternalError, NoError)
	s.finish()
}

// Request returns the head of the request. It must not be modified.
func (s *ServerStream) Request() *header.Request { return &s.req }

// Conn returns the connection that the request came on.
func (s *ServerStream) Conn() *ServerConn { return s.conn }

// Upgrade returns the protocol of an extended CONNECT (RFC 8441), or "".
func (s *ServerStream) Upgrade() string { return s.protocol }

// Nominates reports false: there is no Connection field in HTTP/2.
func (s *ServerStream) Nominates() bool { return false }

// ExpectsContinue reports whether the client waits for 100 (Continue) before
// it sends the body.
func (s *ServerStream) ExpectsContinue() bool {
	return !s.headSent && header.EqualName(s.req.Fields.Get("Expect"), "100-continue") && !s.buffered()
}

// BodyComplete reports whether the whole body has been received, in one piece
// at most: one ReadBody returns all of it.
func (s *ServerStream) BodyComplete() bool { return s.oneBuffer() }

// BodyBuffered reports whether ReadBody would return without waiting.
func (s *ServerStream) BodyBuffered() bool { return s.buffered() }

// ReadBody returns the next piece of the body and whether it is the last,
// which may be empty. The piece is valid until the next call.
func (s *ServerStream) ReadBody() (piece []byte, last bool, err error) {
	piece, last, err = s.readBody(&s.read)
	if err != nil {
		return nil, false, s.downError("read request body", err)
	}
	return piece, last, nil
}

// Trailers returns the trailers of the body. They are complete once ReadBody
// has returned the last piece.
func (s *ServerStream) Trailers() *header.Fields { return &s.trailersRecv }

// BodyReceived returns the number of body bytes read so far.
func (s *ServerStream) BodyReceived() int64 { return s.received }

// InterruptReading makes a ReadBody that waits on another goroutine, and all
// later ones, return an error, until ResumeReading.
func (s *ServerStream) InterruptReading() { s.interrupt(true) }

// ResumeReading ends InterruptReading. No byte of the body has been lost.
func (s *ServerStream) ResumeReading() { s.interrupt(false) }

func (s *ServerStream) downError(op string, err error) error {
	e := &proxyerr.Error{Source: proxyerr.Downstream, Op: op, Kind: proxyerr.ReadFailed, Err: err}
	if op == opWriteResponse {
		e.Kind = proxyerr.WriteFailed
	}
	switch err.(type) {
	case *streamError, *connError:
		e.Kind = proxyerr.BadMessage
	}
	switch {
	case err == errTimeout && op == opWriteResponse:
		e.Kind, e.Err = proxyerr.WriteTimeout, nil
	case err == errTimeout:
		e.Kind, e.Err, e.Status = proxyerr.ReadTimeout, nil, 408
	case err == netio.ErrTooSlow:
		e.Kind, e.Status = proxyerr.ReadTimeout, 408
	case isGone(err):
		e.Kind = proxyerr.ConnClosed
	}
	return e
}

const opWriteResponse = "write response"

// HeadSent reports whether a final response head has been written.
func (s *ServerStream) HeadSent() bool { return s.headSent }

// BytesSent returns the number of body bytes written so far.
func (s *ServerStream) BytesSent() int64 { return s.sent }

// BodySent is the same as BytesSent.
func (s *ServerStream) BodySent() int64 { return s.sent }

// CloseAfter does nothing: one stream is no reason to end the connection.
func (s *ServerStream) CloseAfter() {}

// WriteContinue sends 100 (Continue) to a client that waits for it.
func (s *ServerStream) WriteContinue() error {
	if !s.ExpectsContinue() {
		return nil
	}
	return s.writeInformational(&header.Response{Status: 100})
}

// WriteHead sends a response head. Informational heads (1xx, but for 101,
// which HTTP/2 does not have) may come first. A final head is kept until the
// first piece of body or Flush. last says that no body follows. Date is added
// if there is none.
func (s *ServerStream) WriteHead(res *header.Response, last bool) error {
	switch {
	case s.headSent:
		return errors.New("http2: second final response head")
	case res.Status < 100 || res.Status > 999 || res.Status == 101:
		return errors.New("http2: invalid status code")
	case res.Status < 200:
		return s.writeInformational(res)
	case last && res.Length > 0 && res.HasBody(s.req.Method):
		return errTooShort
	}
	s.headSent = true
	if s.read.pace.Active() {
		s.read.lenient.Store(true)
	}
	tunnel := s.req.Method == "CONNECT" && res.Status < 300
	s.noBody = last || !tunnel && !res.HasBody(s.req.Method)
	s.left = res.Length
	length := res.Length
	switch {
	case res.Status == 204 || tunnel:
		length = -1
	case last && length < 0 && res.HasBody(s.req.Method):
		length = 0
	}
	if !res.Fields.Has("Date") {
		res.Fields.AddValid("date", header.Date(time.Now()))
	}
	if !s.noBody {
		s.head = pendingHead{res, length}
		return nil
	}
	s.done = true
	return s.writeHead(res, length, true)
}

func (s *ServerStream) writeInformational(res *header.Response) error {
	return s.writeHead(res, -1, false)
}

// writeHead sends a head.
func (s *ServerStream) writeHead(res *header.Response, length int64, end bool) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.writeError(s.writeHeadLocked(res, length, end))
}

func (s *ServerStream) writeHeadLocked(res *header.Response, length int64, end bool) error {
	if err := s.awaitRoomLocked(&s.write); err != nil {
		return err
	}
	s.appendHeadLocked(s.c.writer.response(res, length), end)
	return nil
}

// flushLocked sends the head that WriteHead has kept, if there is one.
func (s *ServerStream) flushLocked() error {
	head := s.head
	if head.res == nil {
		return nil
	}
	s.head.res = nil
	return s.writeHeadLocked(head.res, head.length, false)
}

// writeOnlyHeadLocked sends the head that WriteHead has kept as the whole
// response: one frame, which gRPC takes for trailers. A length that the head
// does not name need not be added: the end of the stream says the same.
func (s *ServerStream) writeOnlyHeadLocked() error {
	head := s.head
	s.head.res = nil
	s.done = true
	if !head.res.Fields.Has("Content-Length") {
		head.length = -1
	}
	return s.writeHeadLocked(head.res, head.length, true)
}

// Flush sends what WriteHead has kept. Body data is on its way already.
func (s *ServerStream) Flush() error {
	if s.head.res == nil {
		return nil
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.writeError(s.flushLocked())
}

// WriteBody sends a piece of the response body. It waits for the client's
// flow control. piece is not kept.
func (s *ServerStream) WriteBody(piece []byte, last bool) error {
	if s.done {
		return nil
	}
	if s.noBody {
		piece = nil
	}
	if s.left >= 0 {
		if s.left -= int64(len(piece)); s.left < 0 {
			return errTooLong
		}
		if last && s.left > 0 {
			return errTooShort
		}
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if last && len(piece) == 0 && s.head.res != nil {
		return s.writeError(s.writeOnlyHeadLocked())
	}
	err := s.flushLocked()
	if err == nil && (len(piece) > 0 || last) {
		s.done = last
		err = s.writeDataLocked(piece, last, &s.write)
		s.sent += int64(len(piece))
	}
	return s.writeError(err)
}

// WriteTrailers ends the body with trailers.
func (s *ServerStream) WriteTrailers(trailers *header.Fields) error {
	if s.done {
		return nil
	}
	if trailers == nil || trailers.Len() == 0 {
		return s.WriteBody(nil, true)
	}
	if s.left > 0 {
		return errTooShort
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	err := s.flushLocked()
	if err == nil {
		err = s.awaitRoomLocked(&s.write)
	}
	if err == nil {
		s.done = true
		s.appendHeadLocked(s.c.writer.trailers(trailers), true)
	}
	return s.writeError(err)
}

// What a program gets that does not keep to the length that it has declared.
var (
	errTooLong  = errors.New("http2: body longer than its declared length")
	errTooShort = errors.New("http2: body shorter than its declared length")
)

func (s *ServerStream) writeError(err error) error {
	if err == nil {
		return nil
	}
	return s.downError(opWriteResponse, err)
}

// StartTunnelReads makes ReadBody go on with raw bytes, after the answer to a
// CONNECT has been written. Each wait takes at most idle; zero and negative mean
// no bound.
func (s *ServerStream) StartTunnelReads(idle time.Duration) { s.read.limit = idle }

// StartTunnelWrites is the same for WriteBody.
func (s *ServerStream) StartTunnelWrites(idle time.Duration) error {
	s.write.limit, s.left = idle, -1
	s.write.anyRate = true
	s.noBody = false
	return s.Flush()
}

// Kill makes everything on the stream fail. It may be called from any
// goroutine.
func (s *ServerStream) Kill() { s.reset(Cancel, Cancel) }

// Abort resets the stream, so that the client cannot take what it has for a
// complete response.
func (s *ServerStream) Abort() { s.reset(InternalError, NoError) }

// ClientGone reports whether the client has reset the stream or left. It may
// be called from any goroutine.
func (s *ServerStream) ClientGone() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err != nil
}
