// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/upstream"
)

// front takes connections and hands their requests to proxies.
type front struct {
	cfg    Downstream
	log    *slog.Logger
	limit  logLimiter
	choose func(*header.Request) *Proxy

	draining atomic.Bool
	patience atomic.Int64 // nanoseconds that idle connections may stay while draining
	killing  atomic.Bool  // Shutdown has run out of time
	active   atomic.Int64
	requests atomic.Int64
	rejected [numReasons]atomic.Int64

	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
	gone  chan struct{}      // guarded by mu; closed when conns becomes empty, nil if nobody waits
}

// conn is a connection of a client.
type conn struct {
	front    *front
	nc       net.Conn
	h1       *http1.ServerConn
	h2       atomic.Pointer[http2.ServerConn] // set if the client speaks HTTP/2; h1 has ended then
	tls      *tls.ConnectionState             // nil without TLS
	ended    func()                           // to be called at the end; nil: the connection is not to be parked
	client   netip.AddrPort                   // zero for a Unix socket
	clientIP string                           // as text, made once per connection

	mu    sync.Mutex
	value any // Session.SetConnValue; guarded by mu: the requests of HTTP/2 are concurrent

	upstream atomic.Pointer[upstream.Conn] // the one in use by a request of HTTP/1, for kill
	killed   atomic.Bool
	unix     bool // it came through a Unix socket
}

func (f *front) init(cfg Downstream, log *slog.Logger, choose func(*header.Request) *Proxy) {
	f.cfg = cfg
	f.cfg.HTTP1 = cfg.HTTP1.WithDefaults()
	f.cfg.HTTP1.Draining = f.draining.Load
	f.cfg.HTTP1.Patience = func() time.Duration { return time.Duration(f.patience.Load()) }
	f.cfg.HTTP1.OnReject = f.onReject
	f.cfg.HTTP1.Preface = cfg.H2C
	f.cfg.HTTP2.MaxTargetBytes = cmp.Or(cfg.HTTP2.MaxTargetBytes, f.cfg.HTTP1.MaxTargetBytes)
	f.cfg.HTTP2.MinBodyRate = cmp.Or(cfg.HTTP2.MinBodyRate, f.cfg.HTTP1.MinBodyRate)
	f.cfg.HTTP2 = f.cfg.HTTP2.WithDefaults()
	f.cfg.HTTP2.Draining = f.draining.Load
	f.cfg.HTTP2.OnReject = f.onRejectH2
	f.log = log
	f.choose = choose
	f.conns = make(map[*conn]struct{})
}

// open returns a connection that counts as open; run serves it. If ended is not
// nil, it may be parked meanwhile, and ended is called at the end. This is not part
// of run, so that what it needs on the stack is free again while the connection is
// idle.
//
//go:noinline
func (f *front) open(nc net.Conn, ended func()) *conn {
	c := &conn{front: f, nc: nc, ended: ended}
	switch addr := nc.RemoteAddr().(type) {
	case *net.TCPAddr:
		ap := addr.AddrPort()
		c.client = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		c.clientIP = c.client.Addr().WithZone("").String()
	case *net.UnixAddr:
		c.unix = true
	}
	if tc, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := tc.ConnectionState()
		c.tls = &state
	}
	c.h1 = http1.NewServerConn(nc, &f.cfg.HTTP1, func(s *http1.ServerStream) { c.serve(s) })
	if c.tls != nil && c.tls.NegotiatedProtocol == "h2" {
		c.startH2(nil)
	}
	f.add(c)
	return c
}

// run serves the connection until it ends or is parked.
func (c *conn) run() {
	parked, panics := false, true
	defer func() {
		if parked {
			return // maybe another goroutine has it by now
		}
		if panics {
			cut(c.nc)
		}
		c.front.remove(c)
		if c.ended != nil {
			c.ended()
		}
	}()
	parked = c.serveOrPark()
	panics = false
}

// serveOrPark serves the connection until it ends, or is parked. In that case
// wake goes on with it.
func (c *conn) serveOrPark() (parked bool) {
	if h2 := c.h2.Load(); h2 != nil {
		h2.Serve()
		return false
	}
	if c.ended == nil {
		c.h1.Serve()
	} else if c.h1.ServeOrPark(c.wake) {
		return true
	}
	if early := c.h1.Preface(); early != nil {
		c.startH2(early)
		c.begun()
		c.h2.Load().Serve()
	}
	return false
}

// wake goes on with a connection that was parked. There is no caller who would
// see to a panic.
func (c *conn) wake() {
	defer func() {
		if p := recover(); p != nil {
			c.front.log.Error("connection panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	c.run()
}

// cut closes a connection without the goodbye of TLS: nothing on it is complete.
func cut(nc net.Conn) {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	nc.Close()
}

// startH2 makes the connection one of HTTP/2. early is what has been received
// already.
func (c *conn) startH2(early []byte) {
	c.h2.Store(http2.NewServerConn(c.nc, &c.front.cfg.HTTP2, early, func(s *http2.ServerStream) { c.serve(s) }))
}

// begun makes up for a drain or kill that came before the protocol was known.
func (c *conn) begun() {
	if c.front.draining.Load() {
		c.drain()
	}
	if c.front.killing.Load() || c.killed.Load() {
		c.kill()
	}
}

// drain asks the connection to end when what is in hand has.
func (c *conn) drain() {
	if h2 := c.h2.Load(); h2 != nil {
		h2.Drain()
		return
	}
	c.h1.Drain()
}

func (f *front) add(c *conn) {
	f.mu.Lock()
	f.conns[c] = struct{}{}
	f.mu.Unlock()
	c.begun()
}

func (f *front) remove(c *conn) {
	f.mu.Lock()
	delete(f.conns, c)
	if len(f.conns) == 0 && f.gone != nil {
		close(f.gone)
		f.gone = nil
	}
	f.mu.Unlock()
}

// serve is called for each request of the connection.
func (c *conn) serve(s downstream) {
	f := c.front
	f.active.Add(1)
	f.requests.Add(1)
	if p := f.proxyFor(s.Request()); p != nil {
		x := p.exchanges.Get().(*exchange)
		x.begin(c, s)
		x.serve()
		x.end()
		p.exchanges.Put(x)
	} else {
		s.WriteHead(&header.Response{Status: 500}, true)
	}
	f.active.Add(-1)
}

// proxyFor returns the proxy for a request, nil if choose has failed.
func (f *front) proxyFor(req *header.Request) (p *Proxy) {
	defer func() {
		v := recover()
		if p != nil {
			return
		}
		if n, ok := f.limit.allow(); ok {
			f.log.Error("no proxy chosen for a request", "panic", v, "suppressed", n)
		}
	}()
	return f.choose(req)
}

func (f *front) stats() Stats {
	f.mu.Lock()
	n := len(f.conns)
	f.mu.Unlock()
	by := f.rejections()
	return Stats{Connections: n, Active: f.active.Load(), Requests: f.requests.Load(), Rejected: by.sum(), RejectedBy: by}
}

// retire makes connections end after their next request, or when there is none
// for idle.
func (f *front) retire(idle time.Duration) {
	f.patience.Store(int64(max(idle, 0)))
	f.draining.Store(true)
	for _, c := range f.all() {
		c.drain()
	}
}

func (f *front) shutdown(ctx context.Context) error {
	f.retire(0)
	if f.wait(ctx) {
		return nil
	}
	f.killing.Store(true)
	for _, c := range f.all() {
		c.kill()
	}
	f.wait(context.WithoutCancel(ctx))
	return ctx.Err()
}

func (f *front) all() []*conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*conn, 0, len(f.conns))
	for c := range f.conns {
		all = append(all, c)
	}
	return all
}

// wait waits until no connection is left. It returns false if ctx ended first.
func (f *front) wait(ctx context.Context) bool {
	f.mu.Lock()
	if len(f.conns) == 0 {
		f.mu.Unlock()
		return true
	}
	if f.gone == nil {
		f.gone = make(chan struct{})
	}
	gone := f.gone
	f.mu.Unlock()
	select {
	case <-gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// kill ends the connection and what is in hand on it.
func (c *conn) kill() {
	c.killed.Store(true)
	if h2 := c.h2.Load(); h2 != nil {
		h2.Kill() // its requests notice while they wait
		return
	}
	c.h1.Kill()
	if up := c.upstream.Load(); up != nil {
		up.Kill()
	}
}

// using notes the upstream connection that a request of c uses, nil for none.
// Kill ends waits on it at once; others notice within a second.
func (c *conn) using(up upstreamStream) {
	conn, _ := up.(*upstream.Conn)
	if c.h2.Load() == nil {
		c.upstream.Store(conn)
	}
	if conn != nil && c.killed.Load() {
		conn.Kill()
	}
}
