// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// pool keeps the idle connections of a Connector, in one idleSet per identity.
// A set exists from the first connection put into it until it has been empty
// for a while; the janitor runs as long as there are sets.
type pool struct {
	cfg *Config // of the Connector

	recent recentPeers // *idleSet

	mu       sync.RWMutex
	sets     map[identity]*idleSet // guarded by mu
	closed   bool                  // guarded by mu
	janitor  *time.Timer           // guarded by mu
	sweeping bool                  // the janitor is due or at work; guarded by mu

	evictMu sync.Mutex // held while evicting; taken before any other

	_    [64]byte     // keeps what is always read apart from what is always written
	idle atomic.Int64 // connections in all sets; changed under the mu of a set
	_    [56]byte
}

// idleSet holds the idle connections of one identity, the most recently used
// one last. That is used first: it is the warmest, and the rest can time out.
type idleSet struct {
	pool *pool

	mu        sync.Mutex
	conns     []*Conn // guarded by mu
	used      bool    // something was put since the last sweep; guarded by mu
	forgotten bool    // the pool no longer knows the set, which stays empty; guarded by mu
}

func (p *pool) init(cfg *Config) {
	p.cfg = cfg
	p.sets = make(map[identity]*idleSet)
}

// find returns the set of a peer, or nil if there is none.
func (p *pool) find(peer *Peer) *idleSet {
	if s, ok := p.recent.load(peer); ok {
		return s.(*idleSet)
	}
	id := peer.identity()
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := p.sets[id]
	if s == nil {
		return nil
	}
	p.recent.store(peer, s) // under mu, or a set that is being forgotten could get in
	return s
}

// open returns the set of a peer, making it if there is none. It returns nil
// if the pool does not keep connections of the peer.
func (p *pool) open(peer *Peer) *idleSet {
	if peer.IdleTimeout < 0 || p.cfg.MaxIdlePerPeer < 0 {
		return nil
	}
	id := peer.identity()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	s := p.sets[id]
	if s == nil {
		s = &idleSet{pool: p, used: true}
		p.sets[id] = s
		p.wakeJanitorLocked()
	}
	return s
}

// put keeps a connection, or closes it if that is not possible. If there are
// too many then, it closes those that have been idle longest.
func (p *pool) put(c *Conn) {
	for {
		if c.set == nil {
			c.set = p.open(c.peer)
		}
		if c.set == nil {
			c.disconnect()
			return
		}
		evicted, ok := c.set.put(c)
		if !ok { // forgotten since c was taken
			c.set = nil
			continue
		}
		if evicted != nil {
			evicted.disconnect()
		}
		p.evict()
		return
	}
}

// take removes and returns the connection used last, or nil.
func (s *idleSet) take() *Conn {
	s.mu.Lock()
	n := len(s.conns)
	if n == 0 {
		s.mu.Unlock()
		return nil
	}
	c := s.conns[n-1]
	s.conns[n-1] = nil
	s.conns = s.conns[:n-1]
	s.pool.idle.Add(-1)
	s.mu.Unlock()
	return c
}

// put adds a connection and, if there is no room for it, removes the oldest
// one. ok is false if the set takes no more.
func (s *idleSet) put(c *Conn) (evicted *Conn, ok bool) {
	s.mu.Lock()
	if s.forgotten {
		s.mu.Unlock()
		return nil, false
	}
	if len(s.conns) >= s.pool.cfg.MaxIdlePerPeer {
		evicted = s.removeFirstLocked(1)[0]
	}
	s.conns = append(s.conns, c)
	s.used = true
	s.pool.idle.Add(1)
	s.mu.Unlock()
	return evicted, true
}

// removeFirstLocked removes and returns the n oldest connections.
func (s *idleSet) removeFirstLocked(n int) []*Conn {
	first := slices.Clone(s.conns[:n])
	s.conns = slices.Delete(s.conns, 0, n)
	s.pool.idle.Add(-int64(n))
	return first
}

// allSets returns every set there is now.
func (p *pool) allSets() []*idleSet {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make([]*idleSet, 0, len(p.sets))
	for _, s := range p.sets {
		all = append(all, s)
	}
	return all
}

// evict makes sure that there are no more than MaxIdle connections. As it has
// to look at all of them to find the oldest, it makes some room to spare, one
// part in evictSlack.
func (p *pool) evict() {
	limit := int64(p.cfg.MaxIdle)
	if limit < 0 || p.idle.Load() <= limit {
		return
	}
	p.evictMu.Lock()
	defer p.evictMu.Unlock()
	if excess := p.idle.Load() - limit; excess > 0 { // nobody else did it meanwhile
		for _, c := range p.removeOldest(int(excess + limit/evictSlack)) {
			c.disconnect()
		}
	}
}

const evictSlack = 32

// removeOldest removes and returns about n connections, of all sets those that
// have been idle longest.
func (p *pool) removeOldest(n int) (removed []*Conn) {
	now := netio.Now()
	all := p.allSets()
	var ages []time.Duration
	for _, s := range all {
		s.mu.Lock()
		for _, c := range s.conns {
			ages = append(ages, now.Sub(c.idleSince))
		}
		s.mu.Unlock()
	}
	if len(ages) == 0 {
		return nil
	}
	slices.Sort(ages)
	limit := ages[max(0, len(ages)-n)]
	for _, s := range all {
		s.mu.Lock()
		k := 0
		for k < len(s.conns) && len(removed)+k < n && now.Sub(s.conns[k].idleSince) >= limit {
			k++
		}
		removed = append(removed, s.removeFirstLocked(k)...)
		s.mu.Unlock()
	}
	return removed
}

// close closes all idle connections and makes put close the rest.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.janitor != nil {
		p.janitor.Stop()
	}
	sets := p.sets
	p.sets = nil
	p.recent.clear()
	p.mu.Unlock()
	for _, s := range sets {
		s.mu.Lock()
		s.forgotten = true
		conns := s.removeFirstLocked(len(s.conns))
		s.mu.Unlock()
		for _, c := range conns {
			c.disconnect()
		}
	}
}
