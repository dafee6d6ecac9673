// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

// maxInformational is the number of 1xx heads that may precede one response.
const maxInformational = 100

// A ClientConn is the client side of one connection. It carries one request
// at a time:
//
//	c.Begin(&cfg, nil)
//	c.WriteHead(req, true)
//	c.ReadHead(&res)          // sends what is pending and waits
//	piece, last, err := c.ReadBody()
//	if c.Reusable() { … }     // another Begin may follow
//
// One goroutine may write the request while another reads the response, if
// the writer has called Flush itself. Errors are *proxyerr.Error with Source
// Upstream.
type ClientConn struct {
	cfg *ClientConfig
	io  *netio.Conn
	in  input
	out output

	req struct {
		method  string
		upgrade string
	}
	body      bodyReader
	fr        framing
	infos     int
	reusable  bool
	idleHint  time.Duration // Keep-Alive: timeout, 0 if none
	sentStart int64         // out.sent at Begin

	// The state of ReadHead.
	res       *header.Response
	scanned   int
	sendFirst bool
	writeErr  error
	stepErr   error
	step      func() bool // c.headStep, bound once
}

// NewClientConn returns a client connection on nc.
func NewClientConn(nc net.Conn) *ClientConn {
	c := &ClientConn{io: netio.New(nc)}
	c.in.conn = c.io
	c.out.conn = c.io
	c.body.in = &c.in
	c.step = c.headStep
	return c
}

// NetConn returns the underlying connection.
func (c *ClientConn) NetConn() net.Conn { return c.io.NetConn() }

// Begin prepares for a request. cfg must come from WithDefaults and stay
// unchanged until the next Begin. watch, if not nil, is asked now and then
// while the connection waits for the origin.
func (c *ClientConn) Begin(cfg *ClientConfig, watch Watcher) {
	c.cfg = cfg
	c.in.watch = watch
	c.out.timeout = cfg.WriteTimeout
	c.out.done = false
	c.sentStart = c.out.sent
	c.body.lim = &cfg.Limits
	c.body.timeout = cfg.ReadTimeout
	c.body.start(bodyNone, 0)
	c.body.done = false
	c.infos = 0
	c.reusable = false
	c.writeErr = nil
}

// WriteHead writes the head of the request, with framing by head.Length. last
// says that no body follows. Nothing is sent before Flush, ReadHead, or a
// body larger than the buffer. upgrade, if not "", asks to switch to one of
// these protocols; trailersOK passes on that the client accepts trailers.
//
// An error means that the head cannot be sent as it is: a method, target or
// length that no correct message could have.
func (c *ClientConn) WriteHead(head *header.Request, upgrade string, trailersOK, last bool) error {
	if !header.ValidName(head.Method) || !validTarget(head.Target) {
		return proxyerr.New(proxyerr.Internal, proxyerr.BadMessage, "write request head",
			errors.New("invalid method or target"))
	}
	if last && head.Length > 0 {
		return proxyerr.New(proxyerr.Internal, proxyerr.BadMessage, "write request head", errBodyTooShort)
	}
	c.req.method = head.Method
	c.req.upgrade = upgrade
	p := c.out.pending()
	p.B = appendRequestHead(p.B, head, connectionField(upgrade, trailersOK), upgrade)
	if trailersOK { // in front of the empty line
		p.B = appendField(p.B[:len(p.B)-len(crlf)], "TE", "trailers")
		p.B = append(p.B, crlf...)
	}
	kind, length := bodyFixed, head.Length
	if length < 0 {
		kind = bodyChunked
	}
	c.out.start(kind, length)
	if last {
		if kind == bodyChunked {
			p.B = appendLastChunk(p.B, nil)
		}
		c.out.done = true
	}
	return nil
}

func connectionField(upgrade string, trailers bool) string {
	switch {
	case upgrade != "" && trailers:
		return "Upgrade, TE"
	case upgrade != "":
		return "Upgrade"
	case trailers:
		return "TE"
	}
	return ""
}

// WriteBody sends a piece of the request body. Small pieces may be kept until
// Flush or the last one; the last one is kept only until ReadHead or Flush.
// piece is not kept.
func (c *ClientConn) WriteBody(piece []byte, last bool) error {
	return c.writeError(c.out.body(piece, last))
}

// WriteTrailers ends the body with trailers.
func (c *ClientConn) WriteTrailers(trailers *header.Fields) error {
	return c.writeError(c.out.trailers(trailers))
}

// Flush sends what is pending.
func (c *ClientConn) Flush() error { return c.writeError(c.out.flush()) }

// Sent reports whether anything of the current request has been sent.
func (c *ClientConn) Sent() bool { return c.out.sent > c.sentStart }

func (c *ClientConn) writeError(err error) error {
	if err == nil || err == errBodyTooLong || err == errBodyTooShort {
		return err
	}
	e := &proxyerr.Error{Source: proxyerr.Upstream, Op: "send request", Kind: proxyerr.WriteFailed, Err: err}
	switch {
	case !c.Sent():
		e.Retry = proxyerr.RetryAlways
	default:
		e.Retry = proxyerr.RetryIfReused
	}
	switch {
	case netio.IsTimeout(err):
		e.Kind, e.Err, e.Retry = proxyerr.WriteTimeout, nil, proxyerr.RetryNever
	case netio.IsClosed(err):
		e.Kind = proxyerr.ConnClosed
	}
	return e
}

// SendAndReadHead sends what is pending and reads a response head into res,
// which is reset first. It is one wait for the network instead of two.
func (c *ClientConn) SendAndReadHead(res *header.Response) error {
	c.sendFirst = true
	return c.ReadHead(res)
}

// ReadHead reads a response head into res, which is reset first: any number
// of informational (1xx) heads, then the final one. 101 is final.
func (c *ClientConn) ReadHead(res *header.Response) error {
	res.Reset()
	c.res = res
	c.scanned = 0
	c.fr = framing{}
	now := netio.Now()
	// There is no event for an answer that came before the request was sent,
	// as that of a server that has no room: look again.
	w := wait{start: now, limit: c.cfg.ReadTimeout, tick: firstTick, look: c.sendFirst}
	for {
		c.stepErr = nil
		w.arm(&c.in, now)
		err := c.io.Loop(c.step)
		if err == nil {
			err = c.stepErr
		}
		if err == nil {
			return c.acceptHead(res)
		}
		now = netio.Now()
		if err == c.writeErr {
			return c.writeError(err)
		}
		if netio.IsTimeout(err) {
			if err = w.expired(&c.in, now); err == nil {
				continue
			}
		}
		return c.readError("read response head", err)
	}
}

// headStep is the body of ReadHead's Loop.
func (c *ClientConn) headStep() (done bool) {
	if c.sendFirst {
		c.sendFirst = false
		before := c.out.sent
		c.writeErr = c.out.flush()
		if c.writeErr == nil && c.io.Raw() && c.out.sent > before {
			return false // the answer cannot have come yet
		}
		if !c.io.Raw() && netio.IsTimeout(c.writeErr) {
			c.stepErr = c.writeErr // Recv could wait as long again
			return true
		}
	}
	for {
		if !c.in.empty() {
			u := c.in.unread()
			n, err := consumeResponseHead(u, c.scanned, &c.cfg.Limits, c.res, &c.fr)
			if n > 0 || err != nil {
				c.in.skip(n)
				c.stepErr = err
				return true
			}
			c.scanned = len(u)
		}
		switch err := c.in.recv(bytebuf.Medium); err {
		case nil:
		case netio.ErrAgain:
			if c.writeErr != nil { // nothing more will come
				c.stepErr = c.writeErr
				return true
			}
			c.in.release()
			return false
		default:
			c.stepErr = err
			return true
		}
	}
}

// acceptHead checks a head that has been read and prepares for what follows.
func (c *ClientConn) acceptHead(res *header.Response) error {
	if res.Informational() && res.Status != 101 {
		if c.infos++; c.infos > maxInformational {
			return c.readError("read response head", refuse(502, "too many informational responses"))
		}
		return nil
	}
	if res.Status == 101 && !c.switched(res) {
		return c.readError("read response head", refuse(502, "101 without a matching Upgrade"))
	}
	kind, err := responseFraming(res, &c.fr, c.req.method, c.cfg.AllowInvalidContentLength)
	if err != nil {
		return c.readError("read response head", err)
	}
	c.body.start(kind, res.Length)
	// After a CONNECT, even a refused one, the two sides may disagree about
	// what belongs to it.
	c.reusable = c.fr.persistent(res.Proto) && kind != bodyUntilClose && res.Status != 101 && c.req.method != "CONNECT"
	if c.fr.keepParams != "" {
		c.idleHint = keepAliveTimeout(c.fr.keepParams)
	}
	return nil
}

// switched reports whether a 101 names a protocol that was asked for.
func (c *ClientConn) switched(res *header.Response) bool {
	got := res.Fields.Get("Upgrade")
	for want := range strings.SplitSeq(c.req.upgrade, ",") {
		if want = trimSpace(want); want != "" && header.EqualName(want, got) {
			return true
		}
	}
	return false
}

// keepAliveTimeout returns the timeout parameter of a Keep-Alive field.
func keepAliveTimeout(params string) time.Duration {
	for param := range strings.SplitSeq(params, ",") {
		name, value, _ := strings.Cut(trimSpace(param), "=")
		if header.EqualName(name, "timeout") {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
				return time.Duration(min(n, 3600)) * time.Second
			}
		}
	}
	return 0
}

func (c *ClientConn) readError(op string, err error) error {
	c.reusable = false
	if e, ok := errors.AsType[*proxyerr.Error](err); ok {
		return e // the Watcher's
	}
	e := &proxyerr.Error{Source: proxyerr.Upstream, Op: op, Kind: proxyerr.ReadFailed, Err: err}
	pe, malformed := errors.AsType[*parseError](err)
	switch {
	case malformed && pe == errHeadTooLarge, malformed && pe == errTooManyFields:
		e.Kind = proxyerr.TooLarge
	case malformed:
		e.Kind = proxyerr.BadMessage
	case err == errTimeout:
		e.Kind, e.Err = proxyerr.ReadTimeout, nil
	case netio.IsClosed(err), err == io.ErrUnexpectedEOF:
		e.Kind = proxyerr.ConnClosed
		if c.in.empty() && c.body.kind == bodyNone && c.infos == 0 {
			e.Retry = proxyerr.RetryIfReused // nothing of a response has come
		}
	}
	if c.writeErr != nil && !c.Sent() && e.Kind == proxyerr.ConnClosed {
		e.Retry = proxyerr.RetryAlways
	}
	return e
}

// ReadBody returns the next piece of the response body and whether it is the
// last, which may be empty. The piece is valid until the next call.
func (c *ClientConn) ReadBody() (piece []byte, last bool, err error) {
	piece, last, err = c.body.next()
	if err != nil {
		return nil, false, c.readError("read response body", err)
	}
	return piece, last, nil
}

// Nominates reports whether a Connection field of the response lists names of
// fields, which are then meant for this connection only.
func (c *ClientConn) Nominates() bool { return c.fr.nominates }

// BodyBuffered reports whether ReadBody would return without waiting.
func (c *ClientConn) BodyBuffered() bool { return c.body.buffered() }

// Trailers returns the trailers of the response. They are complete once
// ReadBody has returned the last piece.
func (c *ClientConn) Trailers() *header.Fields { return &c.body.trailers }

// BodyReceived returns the number of body bytes read so far.
func (c *ClientConn) BodyReceived() int64 { return c.body.received }

// Kill makes all reads and writes on the connection fail, for good. It may be
// called from any goroutine.
func (c *ClientConn) Kill() { c.io.Kill() }

// Reusable reports whether another request may be sent on the connection: the
// request was sent in full, the response read to its end with nothing behind
// it, and neither side asked to close (RFC 9112 section 9.3).
func (c *ClientConn) Reusable() bool {
	return c.reusable && c.body.done && c.out.done && !c.out.failed && c.in.empty() && !c.io.Interrupted()
}

// Park lets go of everything that an idle connection does not need.
func (c *ClientConn) Park() {
	c.in.watch = nil
	c.in.release()
	c.out.release()
	c.body.trailers.Reset()
	c.res = nil
	c.fr = framing{}
	c.req.method, c.req.upgrade = "", ""
}

// IdleTimeout returns how long the origin said it keeps the connection open
// (Keep-Alive: timeout=…), or 0 if it did not.
func (c *ClientConn) IdleTimeout() time.Duration { return c.idleHint }

// Idle looks at a parked connection without reading: Quiet is what it should
// be.
func (c *ClientConn) Idle() netio.IdleState { return c.io.Idle() }

// Close closes the connection and gives its buffers back. No other goroutine
// may be using it.
func (c *ClientConn) Close() {
	c.in.drop()
	c.out.release()
	c.io.Close()
}
