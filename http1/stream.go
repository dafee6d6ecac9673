// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"cmp"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

// A ServerStream is one request of a client and the response to it. It is
// valid until the function that it was passed to returns.
//
// One goroutine may read the body while another writes the response. Errors
// are *proxyerr.Error with Source Downstream, but for a program's own mistake.
type ServerStream struct {
	conn *ServerConn
	req  header.Request
	fr   framing
	body bodyReader
	out  output

	arrived   atomic.Bool // the whole body has, be it read or not
	received  atomic.Int64
	keepAlive bool
	headSent  bool // a final head, or 101
	aborted   bool
	tunneled  bool
}

var streams = sync.Pool{New: func() any { return new(ServerStream) }}

func newServerStream(c *ServerConn) *ServerStream {
	s := streams.Get().(*ServerStream)
	s.conn = c
	s.body.in = &c.in
	s.body.lim = &c.cfg.Limits
	s.out.conn = c.io
	return s
}

// release returns s to its pool.
func (s *ServerStream) release() {
	s.out.release()
	s.req.Reset()
	s.body.trailers.Reset()
	*s = ServerStream{req: s.req, body: bodyReader{trailers: s.body.trailers}}
	streams.Put(s)
}

// begin prepares for the body and the response once the head has been parsed.
func (s *ServerStream) begin() {
	kind := bodyFixed
	if s.req.Length < 0 {
		kind = bodyChunked
	}
	s.body.start(kind, s.req.Length)
	s.body.timeout = s.conn.cfg.BodyTimeout
	s.body.pace = netio.NewPace(s.conn.cfg.MinBodyRate, bodyGrace)
	s.arrived.Store(s.body.complete())
	s.out.timeout = s.conn.cfg.WriteTimeout
	if s.conn.ownLimits {
		s.conn.setDefaultLimits()
	}
	s.keepAlive = s.fr.persistent(s.req.Proto)
	if limit := s.conn.cfg.MaxRequests; limit > 0 && s.conn.served+1 >= limit {
		s.keepAlive = false
	}
}

// SetLimits changes limits for this request. It must not be called while
// another goroutine reads the body or writes the response.
func (s *ServerStream) SetLimits(l StreamLimits) {
	c := s.conn
	c.ownLimits = true
	s.body.timeout = cmp.Or(l.BodyTimeout, s.body.timeout)
	s.out.timeout = cmp.Or(l.WriteTimeout, s.out.timeout)
	c.drainTimeout = cmp.Or(l.DrainTimeout, c.drainTimeout)
	c.idleTimeout = cmp.Or(l.IdleTimeout, c.idleTimeout)
	if l.MinBodyRate != 0 {
		s.body.pace = netio.NewPace(l.MinBodyRate, bodyGrace)
	}
	if l.MinSendRate != 0 {
		c.io.SetWritePace(netio.NewPace(l.MinSendRate, sendGrace))
	}
}

// Request returns the head of the request. It must not be modified.
func (s *ServerStream) Request() *header.Request { return &s.req }

// Conn returns the connection that the request came on.
func (s *ServerStream) Conn() *ServerConn { return s.conn }

// Upgrade returns the protocols that the client offers to switch to, or "".
// It takes an Upgrade field that Connection nominates, in HTTP/1.1 (RFC 9110
// section 7.8).
func (s *ServerStream) Upgrade() string {
	if !s.fr.connUpg || s.req.Proto != header.HTTP11 {
		return ""
	}
	return s.fr.upgrade
}

// Nominates reports whether a Connection field lists names of fields, which
// are then meant for this connection only (RFC 9110 section 7.6.1).
func (s *ServerStream) Nominates() bool { return s.fr.nominates }

// ExpectsContinue reports whether the client waits for 100 (Continue) before
// it sends the body.
func (s *ServerStream) ExpectsContinue() bool {
	return s.fr.expect != "" && s.req.Proto == header.HTTP11 && !s.arrived.Load()
}

// mayTunnel reports whether the stream could become a tunnel.
func (s *ServerStream) mayTunnel() bool {
	return s.fr.upgrade != "" || s.req.Method == "CONNECT"
}

// BodyComplete reports whether the whole body has been received, so that
// ReadBody will not wait.
func (s *ServerStream) BodyComplete() bool { return s.body.complete() }

// ReadBody returns the next piece of the body and whether it is the last,
// which may be empty. The piece is valid until the next call. It waits until
// there is one, at most ServerConfig.BodyTimeout.
func (s *ServerStream) ReadBody() (piece []byte, last bool, err error) {
	piece, last, err = s.body.next()
	if err != nil {
		return nil, false, s.readError(err)
	}
	s.received.Store(s.body.received)
	if s.body.complete() {
		s.arrived.Store(true)
	}
	return piece, last, nil
}

// BodyBuffered reports whether ReadBody would return without waiting.
func (s *ServerStream) BodyBuffered() bool { return s.body.buffered() }

// Trailers returns the trailers of the body. They are complete once ReadBody
// has returned the last piece.
func (s *ServerStream) Trailers() *header.Fields { return &s.body.trailers }

// BodyReceived returns the number of body bytes read so far. It may be called
// from any goroutine.
func (s *ServerStream) BodyReceived() int64 { return s.received.Load() }

// InterruptReading makes a ReadBody that waits on another goroutine, and all
// later ones, return an error, until ResumeReading.
func (s *ServerStream) InterruptReading() { s.conn.io.Interrupt() }

// ResumeReading ends InterruptReading. No byte of the body has been lost.
func (s *ServerStream) ResumeReading() { s.conn.io.Resume() }

func (s *ServerStream) readError(err error) error {
	e := &proxyerr.Error{Source: proxyerr.Downstream, Op: "read request body", Kind: proxyerr.ReadFailed, Err: err}
	if pe, ok := errors.AsType[*parseError](err); ok {
		e.Kind, e.Status = proxyerr.BadMessage, pe.status
	} else if err == errTimeout {
		e.Kind, e.Status, e.Err = proxyerr.ReadTimeout, 408, nil
	} else if errors.Is(err, netio.ErrTooSlow) {
		e.Kind, e.Status = proxyerr.ReadTimeout, 408
	} else if netio.IsClosed(err) || err == io.ErrUnexpectedEOF {
		e.Kind = proxyerr.ConnClosed
	}
	return e
}

// HeadSent reports whether a final response head, or 101, has been written.
func (s *ServerStream) HeadSent() bool { return s.headSent }

// BytesSent returns the number of bytes written to the client so far, heads
// included.
func (s *ServerStream) BytesSent() int64 { return s.out.sent }

// BodySent returns the number of body bytes that have been written so far, or
// are kept until the next flush. The framing of chunks does not count.
func (s *ServerStream) BodySent() int64 { return s.out.bodySent }

// CloseAfter makes the connection end after this response.
func (s *ServerStream) CloseAfter() { s.keepAlive = false }

// WriteHead sends a response head. Informational heads (1xx) may come first,
// any number of them, and are sent at once; they are dropped for a client of
// HTTP/1.0. A final head is kept until the body's first flush. last says that
// no body follows.
//
// The framing, Connection, and Date if there is none, are added. The body has
// the length that res.Length says; an unknown length is sent chunked, or to a
// client of HTTP/1.0 ended by the close of the connection.
func (s *ServerStream) WriteHead(res *header.Response, last bool) error {
	if s.headSent {
		return errors.New("http1: second final response head")
	}
	if res.Status < 100 || res.Status > 999 {
		return errors.New("http1: invalid status code")
	}
	if res.Status < 200 {
		return s.writeInformational(res)
	}
	s.headSent = true
	if !s.arrived.Load() {
		s.body.lenient.Store(true)
	}
	kind, length := s.framing(res, last)
	if s.conn.draining.Load() || s.conn.cfg.Draining() || kind == bodyUntilClose || !s.arrived.Load() ||
		s.req.Method == "CONNECT" && res.Status >= 300 {
		// What follows a refused CONNECT may have been meant for the tunnel.
		s.keepAlive = false
	}
	p := s.out.pending()
	b := appendStatusLine(p.B, res)
	b = appendFields(b, &res.Fields)
	if !res.Fields.Has("Date") {
		b = appendField(b, "Date", header.Date(time.Now()))
	}
	switch {
	case res.Status == 204 || s.req.Method == "CONNECT" && res.Status < 300:
		// RFC 9110 section 8.6 and RFC 9112 section 6.1: no framing fields.
	case length >= 0:
		b = appendLength(b, length)
	case kind == bodyChunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case !s.keepAlive:
		b = append(b, "Connection: close\r\n"...)
	case s.req.Proto == header.HTTP10:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	p.B = append(b, crlf...)
	s.out.start(kind, length)
	if s.req.Method == "CONNECT" && res.Status < 300 {
		s.keepAlive = false // what follows is no request
	}
	if last {
		return s.WriteBody(nil, true)
	}
	return nil
}

// framing decides how the body of a final response is delimited, and the
// length to declare, -1 for none.
func (s *ServerStream) framing(res *header.Response, last bool) (bodyKind, int64) {
	switch {
	case !res.HasBody(s.req.Method):
		return bodyNone, res.Length
	case last && res.Length < 0:
		return bodyFixed, 0
	case res.Length >= 0:
		return bodyFixed, res.Length
	case s.req.Proto == header.HTTP10:
		return bodyUntilClose, -1
	}
	return bodyChunked, -1
}

// writeInformational sends a 1xx head. 101 is final: what follows is a
// tunnel.
func (s *ServerStream) writeInformational(res *header.Response) error {
	if res.Status == 101 {
		return s.writeSwitching(res)
	}
	if s.req.Proto == header.HTTP10 {
		return nil // RFC 9110 section 15.2
	}
	if res.Status == 100 {
		s.fr.expect = ""
	}
	p := s.out.pending()
	b := appendStatusLine(p.B, res)
	b = appendFields(b, &res.Fields)
	p.B = append(b, crlf...)
	return s.flushError(s.out.flush())
}

func (s *ServerStream) writeSwitching(res *header.Response) error {
	upgrade := res.Fields.Get("Upgrade")
	if s.Upgrade() == "" || upgrade == "" {
		return errors.New("http1: 101 to a request that did not ask for it")
	}
	s.headSent = true
	s.keepAlive = false
	p := s.out.pending()
	b := appendStatusLine(p.B, res)
	b = appendFields(b, &res.Fields)
	b = appendField(b, "Connection", "Upgrade")
	b = appendField(b, "Upgrade", upgrade)
	p.B = append(b, crlf...)
	s.out.start(bodyUntilClose, -1)
	return s.Flush()
}

// WriteContinue sends 100 (Continue) to a client that waits for it.
func (s *ServerStream) WriteContinue() error {
	if !s.ExpectsContinue() || s.headSent {
		return nil
	}
	return s.writeInformational(&header.Response{Status: 100})
}

// WriteBody sends a piece of the response body. Small pieces may be kept
// until Flush or the last one. piece is not kept.
func (s *ServerStream) WriteBody(piece []byte, last bool) error {
	return s.flushError(s.out.body(piece, last))
}

// WriteTrailers ends the body with trailers. They are dropped if the framing
// cannot carry them.
func (s *ServerStream) WriteTrailers(trailers *header.Fields) error {
	return s.flushError(s.out.trailers(trailers))
}

// Flush sends what WriteHead and WriteBody have kept.
func (s *ServerStream) Flush() error { return s.flushError(s.out.flush()) }

func (s *ServerStream) flushError(err error) error {
	if err == nil || err == errBodyTooLong || err == errBodyTooShort {
		return err
	}
	e := &proxyerr.Error{Source: proxyerr.Downstream, Op: "write response", Kind: proxyerr.WriteFailed, Err: err}
	if errors.Is(err, netio.ErrTooSlow) {
		e.Kind = proxyerr.WriteTimeout
	} else if netio.IsTimeout(err) {
		e.Kind, e.Err = proxyerr.WriteTimeout, nil
	} else if netio.IsClosed(err) {
		e.Kind = proxyerr.ConnClosed
	}
	s.keepAlive = false
	return e
}

// Abort ends the connection after the handler returns, in a way that the
// client cannot take for the end of a complete response.
func (s *ServerStream) Abort() { s.aborted = true }

// ClientGone reports whether the client has closed its end of the connection.
// It never waits and may be called from any goroutine.
func (s *ServerStream) ClientGone() bool { return s.conn.io.PeerGone() }

// Kill makes all reads and writes of the stream fail. It may be called from
// any goroutine.
func (s *ServerStream) Kill() { s.conn.io.Kill() }

// finish ends the stream after the handler and says what becomes of the
// connection.
func (s *ServerStream) finish() verdict {
	switch {
	case s.aborted:
		return hangUpHard
	case s.tunneled:
		return hangUp
	case !s.headSent:
		return hangUp // the program chose not to answer
	}
	if !s.out.done && (s.out.kind == bodyNone || s.out.kind == bodyFixed && s.out.left == 0) {
		s.out.body(nil, true) // nothing is missing but the program's word
	}
	if !s.out.done || s.out.failed {
		return hangUpHard // the response is cut
	}
	if !s.body.done {
		if s.keepAlive && s.conn.drainBody(&s.body) {
			return goOn
		}
		return hangUpGently
	}
	if !s.keepAlive {
		if s.conn.in.empty() && s.conn.io.Idle() != netio.HasData {
			return hangUp
		}
		return hangUpGently
	}
	return goOn
}
