// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// identity is everything that makes a connection to a peer different from
// one to another. Timeouts of the exchange are not part of it: they are taken
// from the peer when a request begins on the connection it was dialed for.
type identity struct {
	addr              string
	group             uint64
	tls               bool
	serverName        string
	altName           string
	insecure          bool
	rootCAs           *x509.CertPool
	clientCert        *tls.Certificate
	alpn              ALPN
	bindTo            netip.AddrPort
	bindMax           uint16
	keepAlive         KeepAlive
	recvBuf, sendBuf  int
	dscp              int
	fastOpen          bool
	readTmo, writeTmo time.Duration
	idleTmo           time.Duration
	badLengthOK       bool
	proxy             *ConnectProxy
	owner             *Peer // set if functions, which have no equality, are
}

func (p *Peer) identity() identity {
	id := identity{
		addr: p.Addr, group: p.Group, tls: p.TLS,
		bindTo: p.BindTo, bindMax: p.BindPortMax, keepAlive: p.KeepAlive,
		recvBuf: p.RecvBuffer, sendBuf: p.SendBuffer, dscp: p.DSCP, fastOpen: p.FastOpen,
		readTmo: p.ReadTimeout, writeTmo: p.WriteTimeout, idleTmo: p.IdleTimeout,
		badLengthOK: p.AllowInvalidContentLength, proxy: p.Proxy,
	}
	if p.TLS {
		id.serverName, id.altName, id.insecure = p.ServerName, p.AlternativeName, p.InsecureSkipVerify
		id.rootCAs, id.clientCert, id.alpn = p.RootCAs, p.ClientCert, p.ALPN
	}
	if p.Dial != nil || p.Control != nil || p.Tracer != nil {
		id.owner = p
	}
	return id
}

// poolShards is the number of independently locked parts of a pool.
const poolShards = 64

// pool keeps the idle connections of a Connector, in one idleSet per identity.
type pool struct {
	connector *Connector
	seed      maphash.Seed
	shards    [poolShards]poolShard
	idle      atomic.Int64 // connections in all sets
	closed    atomic.Bool

	noReuse idleSet // for peers whose connections are never kept

	janitorMu sync.Mutex
	janitor   *time.Timer // runs while there are idle connections
	sweeping  bool
}

type poolShard struct {
	mu   sync.RWMutex
	sets map[string][]*idleSet // by Peer.Addr; guarded by mu
	_    [40]byte              // keeps shards on cache lines of their own
}

// idleSet holds the idle connections of one identity, the most recently used
// one last. It uses that first: it is the warmest, and the rest can time out.
type idleSet struct {
	pool  *pool
	id    identity
	limit int

	mu        sync.Mutex
	conns     []*Conn   // guarded by mu
	forgotten bool      // guarded by mu; the pool no longer knows the set
	lastFull  time.Time // last sweep that found a connection; the janitor's
}

func (p *pool) init(c *Connector) {
	p.connector = c
	p.seed = maphash.MakeSeed()
	for i := range p.shards {
		p.shards[i].sets = make(map[string][]*idleSet)
	}
	p.noReuse = idleSet{pool: p, limit: -1}
}

// set returns the set for a peer, making it if there is none.
func (p *pool) set(peer *Peer) *idleSet {
	if peer.IdleTimeout < 0 || p.connector.cfg.MaxIdlePerPeer < 0 {
		return &p.noReuse
	}
	shard := &p.shards[maphash.String(p.seed, peer.Addr)%poolShards]
	id := peer.identity()
	shard.mu.RLock()
	s := find(shard.sets[peer.Addr], &id)
	shard.mu.RUnlock()
	if s != nil {
		return s
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if s := find(shard.sets[peer.Addr], &id); s != nil {
		return s
	}
	s = &idleSet{pool: p, id: id, limit: p.connector.cfg.MaxIdlePerPeer}
	shard.sets[peer.Addr] = append(shard.sets[peer.Addr], s)
	return s
}

func find(sets []*idleSet, id *identity) *idleSet {
	for _, s := range sets {
		if s.id == *id {
			return s
		}
	}
	return nil
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
	s.mu.Unlock()
	s.pool.idle.Add(-1)
	return c
}

// put adds a connection, closing the oldest one if there are too many.
func (s *idleSet) put(c *Conn) {
	if s.limit < 0 || s.pool.closed.Load() {
		c.disconnect()
		return
	}
	var evicted *Conn
	s.mu.Lock()
	if s.forgotten {
		s.mu.Unlock()
		c.disconnect()
		return
	}
	if len(s.conns) >= s.limit {
		evicted = s.removeOldestLocked()
	}
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	if evicted != nil {
		evicted.disconnect()
		return
	}
	n := s.pool.idle.Add(1)
	if n == 1 {
		s.pool.wakeJanitor()
	}
	if limit := int64(s.pool.connector.cfg.MaxIdle); limit > 0 && n > limit {
		s.pool.evictOldest()
	}
	if s.pool.closed.Load() { // closed meanwhile
		s.pool.close()
	}
}

// removeOldestLocked removes the connection that has been idle longest.
func (s *idleSet) removeOldestLocked() *Conn {
	c := s.conns[0]
	copy(s.conns, s.conns[1:])
	s.conns[len(s.conns)-1] = nil
	s.conns = s.conns[:len(s.conns)-1]
	return c
}

// allSets returns every set there is now.
func (p *pool) allSets() (all []*idleSet) {
	for i := range p.shards {
		shard := &p.shards[i]
		shard.mu.RLock()
		for _, sets := range shard.sets {
			all = append(all, sets...)
		}
		shard.mu.RUnlock()
	}
	return all
}

// evictOldest closes the connection of all sets that has been idle longest.
// It looks at every set: it is the slow path of a pool that is too small.
func (p *pool) evictOldest() {
	var oldest *idleSet
	var since time.Time
	for _, s := range p.allSets() {
		s.mu.Lock()
		if len(s.conns) > 0 && (oldest == nil || s.conns[0].idleSince.Before(since)) {
			oldest, since = s, s.conns[0].idleSince
		}
		s.mu.Unlock()
	}
	if oldest == nil {
		return
	}
	var c *Conn
	oldest.mu.Lock()
	if len(oldest.conns) > 0 {
		c = oldest.removeOldestLocked()
	}
	oldest.mu.Unlock()
	if c != nil {
		p.idle.Add(-1)
		c.disconnect()
	}
}

// close closes all idle connections and makes put close the rest.
func (p *pool) close() {
	p.closed.Store(true)
	p.janitorMu.Lock()
	if p.janitor != nil {
		p.janitor.Stop()
	}
	p.janitorMu.Unlock()
	for _, s := range p.allSets() {
		for c := s.take(); c != nil; c = s.take() {
			c.disconnect()
		}
	}
}
