// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"net"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxyerr"
)

// connectShared is Connect for a peer that may speak HTTP/2. Requests that come
// while a dial is under way wait for it and share the connection; if the peer
// turns out to speak HTTP/1.1 each dials one of its own.
func (c *Connector) connectShared(ctx context.Context, p *Peer, watch http1.Watcher) (Stream, error) {
	patience, cancel := withLimit(ctx, c.dialLimit(p))
	defer cancel()
	for {
		s := c.muxSet(p)
		if s == nil {
			return c.dialFor(ctx, p, newMuxSet(true), newMuxDial(), watch)
		}
		j := s.join(p, watch, c.muxes.maxStreams)
		if j.stream != nil {
			c.stats.reused.Add(1)
			return j.stream, nil
		}
		if j.alone { // others may have put one in the pool meanwhile
			if conn := c.Idle(p, watch); conn != nil {
				s.end(j.dial)
				return conn, nil
			}
		}
		switch {
		case j.own:
			return c.dialFor(ctx, p, s, j.dial, watch)
		case j.dial != nil:
			if err := j.dial.wait(patience, p); err != nil {
				return nil, err
			}
		}
	}
}

// muxSet returns the set of a peer, or nil if its connections are not to be
// used for more than one request.
func (c *Connector) muxSet(p *Peer) *muxSet {
	if p.IdleTimeout < 0 || c.cfg.MaxIdlePerPeer < 0 {
		return nil
	}
	return c.muxes.open(p)
}

// dialLimit returns how long a dial to p may take in all; zero and negative
// mean no limit.
func (c *Connector) dialLimit(p *Peer) time.Duration {
	limit := cmp.Or(p.ConnectTimeout, c.cfg.ConnectTimeout)
	if p.TLS {
		limit *= 2 // the handshake has it once more
	}
	if total := p.TotalConnectTimeout; total > 0 && (limit <= 0 || total < limit) {
		return total
	}
	return limit
}

// wait waits until d has ended, or ctx. It returns the error of the dial if it
// is everybody's. Otherwise it is time to look again.
func (d *muxDial) wait(ctx context.Context, p *Peer) error {
	select {
	case <-d.done:
	case <-ctx.Done():
		return dialError(ctx, p, ctx.Err())
	}
	if e, ok := d.err.(*proxyerr.Error); ok {
		own := *e
		return &own
	}
	return d.err
}

// dialFor makes a connection for one request, which it has to itself if it is
// HTTP/1.1 and shares, by s, if it is HTTP/2. It ends d.
func (c *Connector) dialFor(ctx context.Context, p *Peer, s *muxSet, d *muxDial, watch http1.Watcher) (Stream, error) {
	defer s.end(d)
	start := time.Now()
	nc, proto, err := c.dialAny(ctx, p)
	if err != nil {
		c.stats.failed.Add(1)
		if ctx.Err() == nil { // that is no business of the others
			d.err = err
		}
		return nil, err
	}
	dialTime := time.Since(start)
	c.connected(p, dialTime)
	s.chose(p, proto)
	if proto == header.HTTP11 {
		return c.newConn(nc, p, dialTime, watch), nil
	}
	st, err := s.add(c, p, nc, dialTime, watch)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// dialAny connects to p, and returns the version of HTTP that is to be spoken.
// Its error is a *proxyerr.Error.
func (c *Connector) dialAny(ctx context.Context, p *Peer) (net.Conn, header.Proto, error) {
	if !p.TLS {
		nc, err := c.dial(ctx, p)
		return nc, header.HTTP2, err
	}
	tc, proto, err := c.dialTLS(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	if proto == protoH2 {
		return sharedTLS{tc}, header.HTTP2, nil
	}
	return tc, header.HTTP11, nil
}
