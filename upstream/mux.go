// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxyerr"
)

// muxes keeps the HTTP/2 connections of a Connector, in one muxSet per
// identity. A connection stays in its set as long as it lives: it is shared,
// not lent out.
type muxes struct {
	cfg http2.Config

	mu     sync.RWMutex
	sets   map[identity]*muxSet // guarded by mu
	closed bool                 // guarded by mu
}

// muxSet holds the connections to one peer.
type muxSet struct {
	mu      sync.Mutex
	conns   []*muxConn    // guarded by mu
	dialing int           // dials under way; guarded by mu
	waiting int           // requests that wait for them; guarded by mu
	changed chan struct{} // closed and replaced when a dial ends; guarded by mu
}

// muxConn is one connection.
type muxConn struct {
	*http2.ClientConn
	dialTime time.Duration
}

// muxStream is one request on a muxConn.
type muxStream struct {
	*http2.ClientStream
	conn   *muxConn
	reused bool
	ended  bool
}

// set returns the set of a peer, making it if there is none. It returns nil
// after close.
func (m *muxes) set(p *Peer) *muxSet {
	id := p.identity()
	m.mu.RLock()
	s := m.sets[id]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	if s = m.sets[id]; s == nil {
		s = &muxSet{changed: make(chan struct{})}
		if m.sets == nil {
			m.sets = make(map[identity]*muxSet)
		}
		m.sets[id] = s
	}
	return s
}

// open returns a stream on a connection that has room, or nil.
func (m *muxes) open(p *Peer, watch http1.Watcher) *muxStream {
	s := m.set(p)
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openLocked(p, watch)
}

// openLocked takes the first connection with room, so that few are full
// rather than many half empty.
func (s *muxSet) openLocked(p *Peer, watch http1.Watcher) *muxStream {
	for _, c := range s.conns {
		if st := c.NewStream(watch, p.ReadTimeout, p.WriteTimeout); st != nil {
			return &muxStream{ClientStream: st, conn: c, reused: true}
		}
	}
	return nil
}

// connect returns a stream, dialing if no connection has room. Requests that
// come while dials are under way wait for these as far as they will do.
func (m *muxes) connect(ctx context.Context, c *Connector, p *Peer, watch http1.Watcher) (Stream, error) {
	s := m.set(p)
	if s == nil {
		return nil, proxyerr.New(proxyerr.Internal, proxyerr.Canceled, "dial", nil)
	}
	for {
		s.mu.Lock()
		if st := s.openLocked(p, watch); st != nil {
			s.mu.Unlock()
			return st, nil
		}
		if s.waiting >= s.dialing*c.muxes.cfg.MaxStreams {
			s.dialing++
			s.mu.Unlock()
			return m.dial(ctx, c, p, s, watch)
		}
		s.waiting++
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
		if ctx.Err() != nil {
			return nil, dialError(ctx, p, ctx.Err())
		}
	}
}

// dial makes a new connection and opens its first stream.
func (m *muxes) dial(ctx context.Context, c *Connector, p *Peer, s *muxSet, watch http1.Watcher) (Stream, error) {
	start := time.Now()
	nc, err := c.dial(ctx, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing--
	close(s.changed)
	s.changed = make(chan struct{})
	if err != nil {
		c.stats.failed.Add(1)
		return nil, err
	}
	c.stats.dialed.Add(1)
	conn := &muxConn{dialTime: time.Since(start)}
	if p.Tracer != nil {
		p.Tracer.Connected(p, conn.dialTime)
	}
	cfg := m.cfg
	cfg.IdleTimeout = cmp.Or(p.IdleTimeout, c.cfg.IdleTimeout)
	cfg.ReadTimeout, cfg.WriteTimeout = c.cfg.ReadTimeout, c.cfg.WriteTimeout
	cfg.OnClose = func(error) {
		s.remove(conn)
		if p.Tracer != nil {
			p.Tracer.Disconnected(p)
		}
	}
	conn.ClientConn = http2.NewClientConn(nc, &cfg, "http")
	s.conns = append(s.conns, conn)
	st := conn.NewStream(watch, p.ReadTimeout, p.WriteTimeout)
	if st == nil { // it has failed already
		return nil, &proxyerr.Error{Source: proxyerr.Upstream, Addr: p.Addr, Op: "open stream", Kind: proxyerr.ConnClosed, Retry: proxyerr.RetryAlways}
	}
	return &muxStream{ClientStream: st, conn: conn}, nil
}

func (s *muxSet) remove(c *muxConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.conns, c); i >= 0 {
		s.conns = slices.Delete(s.conns, i, i+1)
	}
}

// close ends all connections when their streams have.
func (m *muxes) close() {
	m.mu.Lock()
	m.closed = true
	sets := m.sets
	m.sets = nil
	m.mu.Unlock()
	for _, s := range sets {
		s.mu.Lock()
		conns := slices.Clone(s.conns)
		s.mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	}
}

// Proto returns HTTP/2.
func (s *muxStream) Proto() header.Proto { return header.HTTP2 }

// Reused reports whether the connection has carried a request before.
func (s *muxStream) Reused() bool { return s.reused }

// DialTime returns how long it took to make the connection.
func (s *muxStream) DialTime() time.Duration { return s.conn.dialTime }

// Release ends the use of the stream.
func (s *muxStream) Release(time.Time) { s.Discard() }

// Discard ends the use of the stream. The connection goes on.
func (s *muxStream) Discard() {
	if !s.ended {
		s.ended = true
		s.Finish()
	}
}
