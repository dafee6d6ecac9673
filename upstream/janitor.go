// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// sweepInterval is how often idle connections are looked at: one that its
// origin has closed is not kept for longer. A set that has been empty for as
// long is forgotten.
const sweepInterval = 2 * time.Second

// wakeJanitorLocked makes sure that a sweep is due. The janitor is a timer
// that arms itself again as long as there is something to look after, so an
// unused Connector owns neither timer nor goroutine.
func (p *pool) wakeJanitorLocked() {
	if p.sweeping || p.closed {
		return
	}
	p.sweeping = true
	if p.janitor == nil {
		p.janitor = time.AfterFunc(sweepInterval, p.sweep)
	} else {
		p.janitor.Reset(sweepInterval)
	}
}

// sweep closes the idle connections that are too old, dead or chatty, and
// forgets the sets that nobody uses any more.
func (p *pool) sweep() {
	now := netio.Now()
	for _, s := range p.allSets() {
		s.sweep(now)
	}
	p.evict() // for what came back
	p.forget()
}

// sweep looks at the connections of s that were not in use lately. Those that
// pass go back under the ones that have been put meanwhile.
func (s *idleSet) sweep(now time.Time) {
	s.mu.Lock()
	n := 0
	for n < len(s.conns) && now.Sub(s.conns[n].idleSince) >= sweepInterval/2 {
		n++
	}
	old := s.removeFirstLocked(n)
	s.mu.Unlock()
	kept := slices.DeleteFunc(old, func(c *Conn) bool {
		if c.expired(now) {
			c.disconnect()
			return true
		}
		return !c.usable()
	})
	if len(kept) == 0 {
		return
	}
	for _, c := range s.putBack(kept) {
		c.disconnect()
	}
}

// putBack adds connections that are older than those in the set. It returns
// the ones for which there is no room.
func (s *idleSet) putBack(conns []*Conn) (rest []*Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.pool.cfg.MaxIdlePerPeer - len(s.conns)
	if s.forgotten {
		room = 0
	}
	n := max(0, len(conns)-room)
	s.conns = slices.Insert(s.conns, 0, conns[n:]...)
	s.pool.idle.Add(int64(len(conns) - n))
	return conns[:n]
}

// forget drops the sets that nobody uses any more: peers that are gone must
// not stay for ever. If none is left the janitor rests.
func (p *pool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.sets {
		if s.forget() {
			delete(p.sets, id)
		}
	}
	p.recent.clear()
	p.sweeping = false
	if len(p.sets) > 0 {
		p.wakeJanitorLocked()
	} else if !p.closed {
		p.sets = make(map[identity]*idleSet) // a map never shrinks
	}
}

// forget reports whether s is empty and has not been used since the last
// sweep, and then marks it, so that a connection that is still in use goes
// into a new one when it comes back.
func (s *idleSet) forget() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten = len(s.conns) == 0 && !s.used
	s.used = false
	return s.forgotten
}
