// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/upstream"
)

// A Proxy serves requests by the hooks it was made with. It is safe for
// concurrent use.
type Proxy struct {
	cfg       Config
	phases    *phases
	budget    retryBudget
	logLimit  logLimiter
	exchanges sync.Pool // of *exchange
	front     front
}

// New returns a Proxy. Hooks.UpstreamPeer is required.
func New[S any](cfg Config, hooks Hooks[S]) (*Proxy, error) {
	if hooks.UpstreamPeer == nil {
		return nil, errors.New("proxy: Hooks.UpstreamPeer is nil")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, phases: bind(hooks)}
	p.budget.init(cfg.RetryBudget)
	p.exchanges.New = func() any { return newExchange(p) }
	p.front.init(cfg.Downstream, cfg.Logger, func(*header.Request) *Proxy { return p })
	return p, nil
}

// Connector returns the Connector that the proxy uses.
func (p *Proxy) Connector() *upstream.Connector { return p.cfg.Connector }

// ServeConn serves the requests on c until it ends, and closes it.
func (p *Proxy) ServeConn(c net.Conn) { p.front.open(c, nil).run() }

// ServeOrPark is ServeConn, but it may return while c is idle
// (http1.ServerConfig.ParkAfter), and go on with it on another goroutine when
// something has come. When c has ended it calls ended, once. If ended is nil, it is
// ServeConn.
func (p *Proxy) ServeOrPark(c net.Conn, ended func()) { p.front.open(c, ended).run() }

// Shutdown ends idle connections, lets busy ones finish what is in hand, and
// returns when all are gone. When ctx ends first, it closes those that are
// left and returns ctx's error. Connections that arrive later are served one
// request each.
func (p *Proxy) Shutdown(ctx context.Context) error { return p.front.shutdown(ctx) }

// Retire prepares for the end when another process serves new connections
// already: each connection ends after its next request, or when none has come
// for idle. So no request meets a connection that is being closed. Shutdown is
// still to be called.
func (p *Proxy) Retire(idle time.Duration) { p.front.retire(idle) }

// Stats returns how much is going on now.
func (p *Proxy) Stats() Stats { return p.front.stats() }

// Stats says how much is going on.
type Stats struct {
	Connections int   // of clients, open now
	Active      int64 // requests and tunnels in hand now
	Requests    int64 // since the start, with those before an upgrade
	Rejected    int64 // what never became a request, likewise
	RejectedBy  Rejections
}

// A Switch serves connections on which each request may belong to another
// Proxy, so that a route without body hooks keeps its fast path though its
// neighbour has them.
type Switch struct{ front front }

// NewSwitch returns a Switch. choose returns the Proxy for a request; it must
// not return nil or keep the head. cfg is for the connections; the Downstream
// of the proxies chosen does not count. cfg.Logger is for requests that are
// malformed.
func NewSwitch(cfg Config, choose func(*header.Request) *Proxy) (*Switch, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := new(Switch)
	s.front.init(cfg.Downstream, cfg.Logger, choose)
	return s, nil
}

// ServeConn serves the requests on c until it ends, and closes it.
func (s *Switch) ServeConn(c net.Conn) { s.front.open(c, nil).run() }

// ServeOrPark is as for a Proxy.
func (s *Switch) ServeOrPark(c net.Conn, ended func()) { s.front.open(c, ended).run() }

// Shutdown is as for a Proxy.
func (s *Switch) Shutdown(ctx context.Context) error { return s.front.shutdown(ctx) }

// Retire is as for a Proxy.
func (s *Switch) Retire(idle time.Duration) { s.front.retire(idle) }

// Stats returns how much is going on now.
func (s *Switch) Stats() Stats { return s.front.stats() }
