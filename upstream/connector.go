// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/internal/netio"
)

// Config configures a Connector. The zero Config is ready to use. A Config
// must not be modified after it has been passed to New.
type Config struct {
	// Dial connects to an address; network is "tcp" or "unix". It must
	// return once ctx ends. Nil means net.Dialer.DialContext with the socket
	// options of the peer, which a Dial function has to see to itself.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// ConnectTimeout bounds the dial of one attempt, and then again the TLS
	// handshake. Zero means 5 seconds; negative means no limit.
	ConnectTimeout time.Duration

	// ReadTimeout bounds each wait for a peer to send something. Zero means
	// 60 seconds; negative means no limit.
	ReadTimeout time.Duration

	// WriteTimeout bounds each wait for a peer to take something. Zero means
	// 60 seconds; negative means no limit.
	WriteTimeout time.Duration

	// IdleTimeout is how long an unused connection stays in the pool, or a
	// little less than the origin says it keeps it, if that is shorter
	// (Keep-Alive: timeout=…). Zero means 50 seconds, a little less than the
	// usual keep-alive of origins, so that it is rarely the origin that ends
	// it; negative means for ever. At least 1 second.
	IdleTimeout time.Duration

	// MaxIdlePerPeer is how many idle connections to keep for one peer. Zero
	// means 1024; negative disables reuse. Connections over HTTP/2 are shared
	// and not kept in the pool: like MaxIdle it does not count them.
	MaxIdlePerPeer int

	// MaxIdle is how many idle connections to keep in all. When there are
	// more, those that have been idle longest are closed: the one too many,
	// and, if MaxIdle is large, a few more to be done with it for a while.
	// Zero means 8192; negative means no limit.
	MaxIdle int

	// BindIPv4 and BindIPv6 are local addresses to connect from, one chosen
	// at random per connection, of the family of the address that it goes
	// to. Empty means that the system chooses. Peer.BindTo takes precedence.
	BindIPv4, BindIPv6 []netip.Addr

	// RootCAs verify the certificates of TLS peers. Nil means the system's.
	RootCAs *x509.CertPool

	// KeyLog receives the secrets of all TLS connections in the format of
	// NSS, with which captured traffic can be read. For debugging only.
	KeyLog io.Writer

	// Limits bound the responses of peers over HTTP/1.
	Limits http1.Limits

	// HTTP2 has the limits of connections over HTTP/2. Its timeouts are
	// those above, or a peer's. Zero for its ConnWindow means 16 MiB: clients
	// that are slow to take a response must not hold up others, whose
	// responses share the connection. Zero for its PingInterval means 10
	// seconds, so that requests do not pile up on a connection that is lost.
	HTTP2 http2.Config
}

// Validate returns every problem with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	if c.IdleTimeout > 0 && c.IdleTimeout < time.Second {
		errs = append(errs, fmt.Errorf("upstream: IdleTimeout is %v, want at least 1s", c.IdleTimeout))
	}
	for _, a := range c.BindIPv4 {
		if !a.Is4() {
			errs = append(errs, fmt.Errorf("upstream: BindIPv4 has %v, want an IPv4 address", a))
		}
	}
	for _, a := range c.BindIPv6 {
		if !a.Is6() || a.Is4In6() || a.Zone() != "" {
			errs = append(errs, fmt.Errorf("upstream: BindIPv6 has %v, want an IPv6 address without zone", a))
		}
	}
	errs = append(errs, c.Limits.Validate(), c.HTTP2.Validate())
	return errors.Join(errs...)
}

// withDefaults returns c with every zero field replaced by its default.
func (c Config) withDefaults() Config {
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, time.Minute)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 50*time.Second)
	c.MaxIdlePerPeer = cmp.Or(c.MaxIdlePerPeer, 1024)
	c.MaxIdle = cmp.Or(c.MaxIdle, 8192)
	c.HTTP2.ConnWindow = cmp.Or(c.HTTP2.ConnWindow, 16<<20)
	c.HTTP2.PingInterval = cmp.Or(c.HTTP2.PingInterval, 10*time.Second)
	c.HTTP2 = c.HTTP2.WithDefaults()
	return c
}

// A Connector gives out connections to peers. It is safe for concurrent use.
type Connector struct {
	cfg   Config
	pool  pool
	muxes muxes
	tls   tlsClients
	stats counters
}

// counters are what Stats reports.
type counters struct {
	dialed, failed, reused, stale, chatty atomic.Int64
}

// Stats are counts since the start of a Connector.
type Stats struct {
	Dialed int64 // connections made
	Failed int64 // dials that failed
	Reused int64 // requests on a connection that had carried one before
	Stale  int64 // idle connections found closed by the peer
	Chatty int64 // idle connections on which the peer sent something unasked
	Idle   int64 // connections in the pool now; those over HTTP/2 are shared and not in it
}

// New returns a Connector.
func New(cfg Config) (*Connector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Connector{cfg: cfg.withDefaults()}
	c.pool.init(&c.cfg)
	c.muxes.maxStreams = c.cfg.HTTP2.MaxStreams
	return c, nil
}

// Stats returns the counts so far.
func (c *Connector) Stats() Stats {
	return Stats{
		Dialed: c.stats.dialed.Load(),
		Failed: c.stats.failed.Load(),
		Reused: c.stats.reused.Load(),
		Stale:  c.stats.stale.Load(),
		Chatty: c.stats.chatty.Load(),
		Idle:   c.pool.idle.Load(),
	}
}

// Close closes all idle connections. Connections that are in use, or dialed
// later, are closed when they are released. It may be called more than once.
func (c *Connector) Close() {
	c.pool.close()
	c.muxes.close()
}

// A Conn is a connection to a peer, on loan from a Connector. Its methods for
// sending and receiving are those of http1.ClientConn; Begin has been called.
type Conn struct {
	*http1.ClientConn

	connector *Connector
	set       *idleSet // where it came from, nil if it is new
	peer      *Peer
	cfg       http1.ClientConfig
	reused    bool
	dialTime  time.Duration
	idleSince time.Time     // since when it is in the pool
	maxIdle   time.Duration // how long it may stay there
	released  bool
}

// Reused reports whether the connection has carried a request before.
func (c *Conn) Reused() bool { return c.reused }

// DialTime returns how long it took to make the connection.
func (c *Conn) DialTime() time.Duration { return c.dialTime }

// Peer returns the peer that the connection was made for.
func (c *Conn) Peer() *Peer { return c.peer }

// Get returns a connection to p that is ready for one request: from the pool
// if it can, and otherwise by dialing. It is Idle and then Dial.
func (c *Connector) Get(ctx context.Context, p *Peer, watch http1.Watcher) (*Conn, error) {
	if conn := c.Idle(p, watch); conn != nil {
		return conn, nil
	}
	return c.Dial(ctx, p, watch)
}

// Idle returns a connection to p from the pool that is ready for one request,
// or nil if there is none. watch is passed to http1.ClientConn.Begin. The
// caller must end with Release or Discard.
func (c *Connector) Idle(p *Peer, watch http1.Watcher) *Conn {
	set := c.pool.find(p)
	if set == nil {
		return nil
	}
	for conn := set.take(); conn != nil; conn = set.take() {
		if !conn.usable() {
			continue
		}
		c.stats.reused.Add(1)
		conn.reused = true
		conn.begin(watch)
		return conn
	}
	return nil
}

// Dial makes a new connection to p that is ready for one request. It waits at
// most ConnectTimeout, or less if ctx ends first. p is validated here and not
// in Idle, whose connections come from here. The caller must end with
// Release or Discard.
//
// The error is a *proxyerr.Error. Its Source is Upstream, or Internal for a
// failure that is not the peer's fault: no local port or descriptor left, a
// socket option that cannot be set, a Peer that Validate refuses. As nothing
// has been sent it permits another attempt, unless ctx was canceled or that
// attempt would fail like this one.
func (c *Connector) Dial(ctx context.Context, p *Peer, watch http1.Watcher) (*Conn, error) {
	start := time.Now()
	nc, err := c.dial(ctx, p)
	if err != nil {
		c.stats.failed.Add(1)
		return nil, err
	}
	dialTime := time.Since(start)
	c.connected(p, dialTime)
	return c.newConn(nc, p, dialTime, watch), nil
}

// connected counts and reports a connection that has been made.
func (c *Connector) connected(p *Peer, dialTime time.Duration) {
	c.stats.dialed.Add(1)
	p.connected(dialTime)
}

// newConn returns a connection, newly dialed, that is ready for one request.
func (c *Connector) newConn(nc net.Conn, p *Peer, dialTime time.Duration, watch http1.Watcher) *Conn {
	conn := &Conn{
		ClientConn: http1.NewClientConn(nc),
		connector:  c,
		peer:       p,
		dialTime:   dialTime,
		cfg: http1.ClientConfig{
			Limits:                    c.cfg.Limits,
			ReadTimeout:               cmp.Or(p.ReadTimeout, c.cfg.ReadTimeout),
			WriteTimeout:              cmp.Or(p.WriteTimeout, c.cfg.WriteTimeout),
			AllowInvalidContentLength: p.AllowInvalidContentLength,
		}.WithDefaults(),
	}
	conn.begin(watch)
	return conn
}

// soonIdle is the idle limit below which a connection's age is looked at not
// only by the sweep but before each use. For longer limits the time between
// two sweeps does not matter, and reading the clock costs as much as a third
// of all else that Idle does.
const soonIdle = 10 * time.Second

// usable reports whether an idle connection is still open and silent, and
// closes it if not. It is asked before every use, which costs a system call:
// what an origin has said unasked must never be taken for the answer to the
// next request.
func (c *Conn) usable() bool {
	if c.maxIdle < soonIdle && c.expired(netio.Now()) {
		c.disconnect()
		return false
	}
	switch c.idleState() {
	case netio.Quiet:
		return true
	case netio.HasData:
		c.connector.stats.chatty.Add(1)
	default:
		c.connector.stats.stale.Add(1)
	}
	c.disconnect()
	return false
}

// begin makes c ready for a request.
func (c *Conn) begin(watch http1.Watcher) {
	c.released = false
	c.Begin(&c.cfg, watch)
}

// Release puts the connection back in the pool if the exchange left it clean,
// and closes it otherwise. A connection is clean if the response was read to
// its end, the request was sent in full, and neither side asked to close. now
// is the current time.
//
// Release never blocks on the network. Calling it twice is a bug and panics.
func (c *Conn) Release(now time.Time) {
	if c.released {
		panic("upstream: Conn released twice")
	}
	c.released = true
	if !c.Reusable() {
		c.disconnect()
		return
	}
	c.keep(now)
}

// keep puts a connection that is clean in the pool.
func (c *Conn) keep(now time.Time) {
	c.Park()
	c.idleSince = now
	c.maxIdle = c.idleLimit()
	c.connector.pool.put(c)
}

// Discard closes the connection instead of releasing it. Calling it again is
// harmless; calling it after Release is a bug, because the connection may be
// in use by someone else.
func (c *Conn) Discard() {
	if !c.released {
		c.released = true
		c.disconnect()
	}
}

func (c *Conn) disconnect() {
	c.hurryClose()
	c.ClientConn.Close()
	c.peer.disconnected()
}

// expired reports whether c has been in the pool for as long as it may.
func (c *Conn) expired(now time.Time) bool { return now.Sub(c.idleSince) >= c.maxIdle }

// idleLimit returns how long c may stay in the pool.
func (c *Conn) idleLimit() time.Duration {
	limit := cmp.Or(c.peer.IdleTimeout, c.connector.cfg.IdleTimeout)
	if limit < 0 {
		limit = math.MaxInt64
	}
	if hint := c.IdleTimeout(); hint > 0 {
		// Leave a second before the origin does (RFC 9112 section 9.3).
		limit = min(limit, max(hint-time.Second, hint/2))
	}
	return limit
}
