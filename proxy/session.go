// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/upstream"
)

// A Session is what hooks see of an exchange. It is valid until Log has
// returned, and to be used on the goroutine of the hook that received it.
type Session struct{ x *exchange }

// Request returns the head of the request as it was received, with the target
// as a path and one Host. It must not be modified.
func (s *Session) Request() *header.Request { return s.x.down.Request() }

// Response returns the response head that is being or has been sent to the
// client, or nil if there is none yet.
func (s *Session) Response() *header.Response {
	if !s.x.hasResponse {
		return nil
	}
	return &s.x.res
}

// Attempt returns the number of the attempt, counting from 1; 0 before the
// first.
func (s *Session) Attempt() int { return s.x.attempt }

// Peer returns the peer of the current or last attempt, or nil.
func (s *Session) Peer() *upstream.Peer { return s.x.peer }

// Tried returns the peers of the attempts so far that have failed, in order.
// It is valid until the next hook.
func (s *Session) Tried() []*upstream.Peer { return s.x.tried }

// ClientAddr returns the address of the client's end of the connection, or
// the zero AddrPort if it came through a Unix socket. Behind another proxy it
// is that proxy's.
func (s *Session) ClientAddr() netip.AddrPort { return s.x.conn.client }

// LocalAddr returns the address on which the connection was accepted.
func (s *Session) LocalAddr() net.Addr { return s.x.conn.nc.LocalAddr() }

// Context returns a context that ends when the client goes away or the
// exchange ends. It is made on the first call.
func (s *Session) Context() context.Context { return s.x.context() }

// Draining reports whether the process is ending: the connection will be
// closed after this response.
func (s *Session) Draining() bool { return s.x.conn.front.draining.Load() }

// CloseDownstream makes the client's connection end after this response.
func (s *Session) CloseDownstream() { s.x.down.CloseAfter() }

// SetLimits changes timeouts and minimum rates of the client's connection for
// this request, and for the wait for the next one. Zero fields leave what is
// configured. It is for hooks that run before the request is sent, up to
// UpstreamRequestFilter, and has no effect later. The requests of an HTTP/2
// connection share it: there BodyTimeout, MinBodyRate and WriteTimeout alone
// have an effect.
func (s *Session) SetLimits(l http1.StreamLimits) {
	if s.x.uploading == nil && !s.Responded() {
		s.x.down.SetLimits(l)
	}
}

// Upgrade returns the protocols that the client offers to switch to, or "".
func (s *Session) Upgrade() string { return s.x.down.Upgrade() }

// ConnValue returns what SetConnValue stored on the client's connection, by
// this request or an earlier one, or nil.
func (s *Session) ConnValue() any {
	c := s.x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}

// SetConnValue keeps v for the later requests of the client's connection.
func (s *Session) SetConnValue(v any) {
	c := s.x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = v
}

// TLS returns the state of the client's TLS connection, or nil if it has
// none. It must not be modified.
func (s *Session) TLS() *tls.ConnectionState { return s.x.conn.tls }

// Logger returns the proxy's logger.
func (s *Session) Logger() *slog.Logger { return s.x.proxy.cfg.Logger }

// Body reads the whole request body and returns it. It may be called before
// the peer has been chosen, to choose by content; the body is then sent to
// the peer from memory, and again for each retry. A body of more than limit
// bytes is an error that is answered with 413; part of the body is lost then,
// so the request cannot go on. It is also an error once the body has begun to
// be sent. The slice is valid until Log has returned and must not be modified.
func (s *Session) Body(limit int) ([]byte, error) { return s.x.bufferBody(limit) }

// Responded reports whether a final response head has been sent to the
// client.
func (s *Session) Responded() bool { return s.x.down.HeadSent() }

// Respond answers the client: a status, a body, and fields as names and values
// in turn. It fails if a response has been started.
//
//	return true, s.Respond(401, "who are you?\n", "WWW-Authenticate", "Basic")
func (s *Session) Respond(status int, body string, fields ...string) error {
	res := &header.Response{Status: status, Length: int64(len(body))}
	if status == 304 {
		res.Length = header.UnknownLength // of what the client has, not of what we send
	}
	for i := 0; i+1 < len(fields); i += 2 {
		res.Fields.Add(fields[i], fields[i+1])
	}
	if body != "" && !res.Fields.Has("Content-Type") {
		res.Fields.AddValid("Content-Type", "text/plain; charset=utf-8")
	}
	hasBody := body != "" && res.HasBody(s.Request().Method)
	if err := s.WriteHead(res, !hasBody); err != nil || !hasBody {
		return err
	}
	return s.WriteBody([]byte(body), true)
}

// WriteHead sends the head of an answer of the program's own; last says that
// no body follows. WriteBody, up to its last piece, must follow if it is
// false. head.Length may be header.UnknownLength.
func (s *Session) WriteHead(head *header.Response, last bool) error {
	if s.Responded() {
		return errors.New("proxy: the response has been started already")
	}
	s.x.res.CopyFrom(head)
	s.x.hasResponse = true
	return s.x.down.WriteHead(&s.x.res, last)
}

// WriteBody sends a piece of the body after WriteHead. Small pieces may be
// kept until Flush or the last one.
func (s *Session) WriteBody(piece []byte, last bool) error { return s.x.down.WriteBody(piece, last) }

// Flush sends what WriteHead and WriteBody have kept.
func (s *Session) Flush() error { return s.x.down.Flush() }

// Digest returns facts about the exchange so far.
func (s *Session) Digest() Digest { return s.x.digest() }

// A Digest has facts about an exchange, for logs and metrics.
type Digest struct {
	Start    time.Time     // when the request head had been read
	Total    time.Duration // since Start
	Attempts int

	// The last attempt.
	Peer        *upstream.Peer // nil if none was chosen
	Reused      bool           // its connection came from the pool
	PeerAddr    net.Addr       // the far end of its connection, nil if there was none: that of the ConnectProxy, if the peer has one
	LocalAddr   net.Addr       // our end of it
	ConnectTime time.Duration  // to make its connection; 0 if reused
	ResponseAt  time.Duration  // from Start to its response head; 0 if none came, or without a Log hook

	RequestBodyBytes  int64 // received from the client
	ResponseBodyBytes int64 // received from the peer
	ResponseBodySent  int64 // written to the client
	BytesSent         int64 // written to the client, heads included unless it speaks HTTP/2

	Status int // sent to the client; 0 if none was
}

func (x *exchange) digest() Digest {
	d := Digest{
		Start:             x.start,
		Total:             time.Since(x.start),
		Attempts:          x.attempt,
		Peer:              x.peer,
		Reused:            x.reused,
		ConnectTime:       x.connectTime,
		RequestBodyBytes:  x.down.BodyReceived(),
		ResponseBodyBytes: x.bodyBytes,
		ResponseBodySent:  x.down.BodySent(),
		BytesSent:         x.down.BytesSent(),
	}
	if x.upConn != nil {
		d.PeerAddr, d.LocalAddr = x.upConn.RemoteAddr(), x.upConn.LocalAddr()
	}
	if !x.headAt.IsZero() {
		d.ResponseAt = x.headAt.Sub(x.start)
	}
	if x.down.HeadSent() {
		d.Status = x.res.Status
	}
	return d
}

// bufferBody implements Session.Body.
func (x *exchange) bufferBody(limit int) ([]byte, error) {
	switch {
	case x.bodyReady:
		return x.body, nil
	case x.bodyErr != nil:
		return nil, x.bodyErr
	case x.uploading != nil || !x.replay.empty():
		return nil, proxyerr.New(proxyerr.Internal, proxyerr.Unsupported, "buffer request body", errBodyOnItsWay)
	}
	x.body, x.bodyErr = x.readBody(limit)
	x.bodyReady = x.bodyErr == nil
	return x.body, x.bodyErr
}

var errBodyOnItsWay = errors.New("it is on its way to the peer")

// readBody reads the whole body into memory.
func (x *exchange) readBody(limit int) (body []byte, err error) {
	tooLarge := &proxyerr.Error{Source: proxyerr.Downstream, Op: "buffer request body", Kind: proxyerr.TooLarge, Status: 413}
	if x.down.Request().Length > int64(limit) {
		return nil, tooLarge
	}
	if err := x.down.WriteContinue(); err != nil {
		return nil, err
	}
	for {
		piece, last, err := x.down.ReadBody()
		if err != nil {
			return nil, err
		}
		if len(body)+len(piece) > limit {
			return nil, tooLarge
		}
		if last && body == nil && x.down.BodyComplete() {
			body = append(make([]byte, 0, len(piece)), piece...)
		} else {
			body = append(body, piece...)
		}
		if last {
			return body, nil
		}
	}
}
