// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"sync"
	"time"

	"github.com/belay-proxy/belay/http1"
)

// muxes keeps the HTTP/2 connections of a Connector, and what is known of who
// speaks it, in one muxSet per identity. A connection stays in its set as long
// as it lives: it is shared, not lent out. A set exists from the first dial to
// its peer until it has been of no use for a while.
type muxes struct {
	maxStreams int         // that a connection is hoped to carry
	recent     recentPeers // *muxSet

	mu       sync.RWMutex
	sets     map[identity]*muxSet // guarded by mu
	closed   bool                 // guarded by mu
	janitor  *time.Timer          // guarded by mu
	sweeping bool                 // the janitor is due; guarded by mu
}

// find returns the set of a peer, or nil if there is none.
func (m *muxes) find(p *Peer) *muxSet {
	if s, ok := m.recent.load(p); ok {
		return s.(*muxSet)
	}
	id := p.identity()
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.sets[id]
	if s != nil {
		m.recent.store(p, s) // under mu, or a set that is being forgotten could get in
	}
	return s
}

// open returns the set of a peer, making it if there is none. It returns nil
// after close.
func (m *muxes) open(p *Peer) *muxSet {
	id := p.identity()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	s := m.sets[id]
	if s == nil {
		s = newMuxSet(false)
		if m.sets == nil {
			m.sets = make(map[identity]*muxSet)
		}
		m.sets[id] = s
		m.wakeJanitorLocked()
	}
	return s
}

// take returns a stream on a connection to p that has room, or nil.
func (m *muxes) take(p *Peer, watch http1.Watcher) *muxStream {
	s := m.find(p)
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked(p, watch)
}

// wakeJanitorLocked makes sure that a sweep is due, as that of the pool does.
func (m *muxes) wakeJanitorLocked() {
	if m.sweeping || m.closed {
		return
	}
	m.sweeping = true
	if m.janitor == nil {
		m.janitor = time.AfterFunc(sweepInterval, m.sweep)
	} else {
		m.janitor.Reset(sweepInterval)
	}
}

// sweep drops the sets that are of no use any more: peers that are gone must
// not stay for ever. If none is left the janitor rests.
func (m *muxes) sweep() {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	crowded := len(m.sets) > maxTLSClients
	for id, s := range m.sets {
		if s.forget(now, crowded) {
			delete(m.sets, id)
		}
	}
	m.recent.clear()
	m.sweeping = false
	if len(m.sets) > 0 {
		m.wakeJanitorLocked()
	} else {
		m.sets = nil // a map never shrinks
	}
}

// close ends all connections when their streams have, and makes those that are
// being dialed end so, too.
func (m *muxes) close() {
	m.mu.Lock()
	m.closed = true
	if m.janitor != nil {
		m.janitor.Stop()
	}
	sets := m.sets
	m.sets = nil
	m.recent.clear()
	m.mu.Unlock()
	for _, s := range sets {
		for _, c := range s.close() {
			c.Close()
		}
	}
}
