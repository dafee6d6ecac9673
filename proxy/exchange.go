// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/upstream"
)

// An exchange is the proxy's work for one request, from its head to Log. It
// runs on one goroutine, but for a request body that is still arriving, which
// has its own (upload).
//
// Exchanges are reused: begin and end bracket one request.
type exchange struct {
	session Session // its x points back here
	proxy   *Proxy
	phases  *phases
	conn    *conn
	down    downstream
	state   any   // *S
	slots   []any // of Slot
	start   time.Time

	attempt int
	peer    *upstream.Peer
	tried   []*upstream.Peer
	up      upstreamStream // nil outside an attempt
	reused  bool
	upConn  net.Conn // of the last attempt that had one; for its addresses only

	head        header.Request  // for the peer
	res         header.Response // for the client
	hasResponse bool
	trailersOK  bool // the client accepts trailers

	tunneling bool   // either side may end its direction alone from here on
	upgrading string // the protocols that the peer is asked to switch to
	wsKey     string // Sec-WebSocket-Key of the attempt, if one side speaks HTTP/2

	body      []byte // the request body, if bodyReady
	bodyReady bool   // the whole of it is in memory
	bodyErr   error  // why Session.Body failed: part of the body may be lost
	replay    replay // what has been sent of one that is still arriving
	uploading *upload

	connectTime time.Duration
	headAt      time.Time
	bodyBytes   int64
	waitErr     error // why WhileWaiting ended a wait

	clientMu sync.Mutex
	client   *clientContext // made by Session.Context; guarded by clientMu
}

func newExchange(p *Proxy) *exchange {
	x := &exchange{proxy: p, phases: p.phases}
	x.session.x = x
	return x
}

// begin prepares for a request.
func (x *exchange) begin(c *conn, down downstream) {
	x.conn = c
	x.down = down
	x.state = x.phases.newState()
	x.start = time.Now()
	// All at once, as Slot.Of may be called on two goroutines later.
	if n := int(slots.Load()) - len(x.slots); n > 0 {
		x.slots = append(x.slots, make([]any, n)...)
	}
}

// end forgets the request, after Log.
func (x *exchange) end() {
	if x.client != nil {
		x.client.end()
	}
	x.replay.release()
	x.head.Reset()
	x.res.Reset()
	clear(x.tried)
	clear(x.slots)
	*x = exchange{
		session: x.session, proxy: x.proxy, phases: x.phases,
		head: x.head, res: x.res, tried: x.tried[:0], slots: x.slots,
	}
}

// serve does the proxy's work for one request, from its head to Log. Read this
// function first: each call is one box of the phase chart in doc.go, in order.
func (x *exchange) serve() {
	err := x.guard(x.run)
	if x.up != nil { // a hook panicked in the middle of an attempt
		x.finishAttempt(err)
	}
	if err != nil {
		x.fail(err)
	}
	x.log(err)
}

// run is serve up to success or the final error.
func (x *exchange) run() error {
	x.proxy.budget.request()
	if done, err := x.filterRequest(); done || err != nil {
		return err
	}
	for x.attempt = 1; ; x.attempt++ {
		err := x.try()
		if err == nil {
			return nil
		}
		if !x.mayRetry(err) {
			return err
		}
		if over := x.overBudget(err); over != nil {
			return over
		}
		x.prepareRetry(err)
	}
}

// filterRequest runs the hooks that may answer the request themselves.
func (x *exchange) filterRequest() (done bool, err error) {
	s := &x.session
	req := x.down.Request()
	if !x.conn.serves(req.Host()) {
		return false, errMisdirected
	}
	if req.Method == "CONNECT" {
		if err := x.checkConnect(req); err != nil {
			// What follows may be meant for the tunnel, not for us.
			x.down.CloseAfter()
			return false, err
		}
	}
	if req.Method == "TRACE" {
		if err := x.traceRefused(); err != nil {
			return false, err
		}
	}
	if f := x.phases.earlyRequestFilter; f != nil {
		if err := f(s); err != nil {
			return false, hookError("EarlyRequestFilter", err)
		}
	}
	if f := x.phases.requestFilter; f != nil {
		if responded, err := f(s); responded || err != nil {
			return true, hookError("RequestFilter", err)
		}
	}
	if f := x.phases.proxyUpstreamFilter; f != nil {
		proceed, err := f(s)
		switch {
		case err != nil:
			return true, hookError("ProxyUpstreamFilter", err)
		case !proceed && !s.Responded():
			return true, proxyerr.WithStatus(502, "ProxyUpstreamFilter")
		case !proceed:
			return true, nil
		}
	}
	return x.lastStop()
}

// checkConnect decides whether a CONNECT may go on. An extended one (RFC 8441)
// may without being allowed: it is for a WebSocket, and the like, and not for a
// tunnel to anywhere. One for h2c may never: a tunnel of HTTP would escape every
// rule here.
func (x *exchange) checkConnect(req *header.Request) error {
	extended := req.Proto == header.HTTP2 && x.down.Upgrade() != ""
	switch {
	case extended && hasToken(x.down.Upgrade(), "h2c"):
		return errConnectProtocol
	case !extended && !x.conn.front.cfg.AllowConnect:
		return errConnectRefused
	case req.Length > 0, req.Length != 0 && req.Proto != header.HTTP2:
		return errConnectContent
	}
	return nil
}

// try is one attempt: choose a peer, connect, send, relay the response.
func (x *exchange) try() error {
	peer, err := x.phases.upstreamPeer(&x.session)
	if err == nil && peer == nil {
		err = errors.New("no peer and no error")
	}
	if err != nil {
		return x.peerError(err)
	}
	x.peer = peer
	if err := x.connect(); err != nil {
		return x.replaceError("FailToConnect", x.phases.failToConnect, err)
	}
	err = nameAddr(x.exchangeWith(peer), peer)
	x.finishAttempt(err)
	if err != nil {
		err = x.replaceError("ErrorWhileProxy", x.phases.errorWhileProxy, err)
	}
	return err
}

// nameAddr returns err with the address of peer, if it is about that and does
// not say where that is. err itself stays: the streams of one connection may
// have it in common.
func nameAddr(err error, peer *upstream.Peer) error {
	e, ok := err.(*proxyerr.Error)
	if !ok || e.Source != proxyerr.Upstream || e.Addr != "" {
		return err
	}
	named := *e
	named.Addr = peer.Addr
	return &named
}

// replaceError asks a hook for the error to go on with. None is no answer: a
// failed attempt stays one.
func (x *exchange) replaceError(name string, hook func(*Session, *upstream.Peer, error) error, err error) error {
	if hook == nil {
		return err
	}
	if replaced := hook(&x.session, x.peer, err); replaced != nil {
		return hookError(name, replaced)
	}
	return err
}

// connect gets a connection to x.peer, from the pool or by dialing.
func (x *exchange) connect() error {
	x.reused, x.upConn, x.connectTime = false, nil, 0
	connector := x.proxy.cfg.Connector
	conn := connector.Open(x.peer, x)
	if conn == nil {
		var err error
		if conn, err = connector.Connect(x.context(), x.peer, x); err != nil {
			return x.clientLeft(err)
		}
		if !conn.Reused() {
			x.connectTime = conn.DialTime()
		}
	}
	x.reused = conn.Reused()
	x.upConn = conn.NetConn()
	x.up = conn
	x.conn.using(conn)
	return nil
}

// exchangeWith sends the request to the connected peer and relays its answer.
func (x *exchange) exchangeWith(peer *upstream.Peer) error {
	if f := x.phases.connectedToUpstream; f != nil {
		if err := f(&x.session, peer); err != nil {
			return hookError("ConnectedToUpstream", err)
		}
	}
	if err := x.makeHead(); err != nil {
		return err
	}
	if err := x.sendRequest(); err != nil {
		return err
	}
	return x.relayResponse()
}

// finishAttempt gives the connection back. Before that it ends an upload that
// goes on though the attempt is over.
func (x *exchange) finishAttempt(err error) {
	x.stopUpload(err)
	x.conn.using(nil)
	up := x.up
	x.up = nil
	x.bodyBytes = up.BodyReceived()
	if err != nil || x.conn.killed.Load() { // kill may still have it in its hands
		up.Discard()
		return
	}
	up.Release(netio.Now())
}

// log runs Log, once and last.
func (x *exchange) log(err error) {
	if x.phases.log == nil {
		return
	}
	x.guard(func() error { x.phases.log(&x.session, err); return nil })
}

// guard calls f and turns a panic into an error, so that a bug in a hook ends
// its own request only.
func (x *exchange) guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = x.panicked(v)
		}
	}()
	return f()
}

// panicked makes an error of a recovered value and logs the stack.
func (x *exchange) panicked(v any) error {
	if n, ok := x.proxy.logLimit.allow(); ok {
		x.proxy.cfg.Logger.Error("panic while serving a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()), "suppressed", n)
	}
	return proxyerr.New(proxyerr.Internal, proxyerr.HookPanicked, "serve", fmt.Errorf("%v", v))
}

// hookError makes the error of a hook one of this module's, unless it is.
func hookError(hook string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*proxyerr.Error](err); ok {
		return err
	}
	return proxyerr.New(proxyerr.Internal, proxyerr.HookFailed, hook, err)
}

// peerError is hookError for UpstreamPeer: having no backend is a state of
// the world, not a failure of the hook. It is not retried, whatever it says.
func (x *exchange) peerError(err error) error {
	e, ok := errors.AsType[*proxyerr.Error](err)
	switch {
	case ok && e.Retry != proxyerr.RetryNever:
		return &proxyerr.Error{Source: e.Source, Op: "UpstreamPeer", Kind: e.Kind, Status: e.Status, Err: err}
	case !ok && errors.Is(err, proxyerr.NoBackend):
		return proxyerr.New(proxyerr.Upstream, proxyerr.NoBackend, "choose peer", nil)
	}
	return hookError("UpstreamPeer", err)
}
