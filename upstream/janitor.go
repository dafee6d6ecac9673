// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"time"
)

// sweepInterval is how often idle connections are looked at: a connection
// that its origin has closed is not kept for longer.
const sweepInterval = 2 * time.Second

// forgetAfter is how long a set stays empty before it is dropped.
const forgetAfter = 10 * time.Minute

// wakeJanitor makes sure that the next sweep is due. The janitor is a timer
// that arms itself again as long as there is something to look after, so an
// unused Connector owns no goroutine.
func (p *pool) wakeJanitor() {
	p.janitorMu.Lock()
	defer p.janitorMu.Unlock()
	if p.sweeping || p.closed.Load() {
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
// forgets sets that nobody asks for any more.
func (p *pool) sweep() {
	now := time.Now()
	for _, s := range p.allSets() {
		p.sweepSet(s, now)
	}
	p.forget(now)
	p.janitorMu.Lock()
	p.sweeping = false
	p.janitorMu.Unlock()
	if p.idle.Load() > 0 {
		p.wakeJanitor()
	}
}

// sweepSet looks at the connections of one set. Those that pass go back under
// the ones that were used meanwhile.
func (p *pool) sweepSet(s *idleSet, now time.Time) {
	s.mu.Lock()
	var old []*Conn
	for i, c := range s.conns {
		if now.Sub(c.idleSince) < sweepInterval/2 {
			break // this one and those behind it have just been used
		}
		old = s.conns[:i+1]
	}
	old = append([]*Conn(nil), old...)
	rest := copy(s.conns, s.conns[len(old):])
	clear(s.conns[rest:])
	s.conns = s.conns[:rest]
	s.mu.Unlock()
	p.idle.Add(-int64(len(old)))

	kept := old[:0]
	for _, c := range old {
		if limit := c.idleLimit(); limit >= 0 && now.Sub(c.idleSince) >= limit {
			c.disconnect()
		} else if p.connector.usable(c) {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		return
	}
	s.mu.Lock()
	s.conns = append(kept, s.conns...)
	s.mu.Unlock()
	p.idle.Add(int64(len(kept)))
	if p.closed.Load() {
		p.close()
	}
}

// forget drops sets that have been empty for long: peers that are gone must
// not stay for ever.
func (p *pool) forget(now time.Time) {
	for i := range p.shards {
		shard := &p.shards[i]
		shard.mu.Lock()
		for addr, sets := range shard.sets {
			sets = slices.DeleteFunc(sets, func(s *idleSet) bool { return s.forget(now) })
			if len(sets) == 0 {
				delete(shard.sets, addr)
			} else {
				shard.sets[addr] = sets
			}
		}
		shard.mu.Unlock()
	}
}

// forget reports whether s has been empty for long, and then marks it so that
// a connection still in use is closed when it comes back.
func (s *idleSet) forget(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) > 0 || s.lastFull.IsZero() {
		s.lastFull = now
	}
	s.forgotten = now.Sub(s.lastFull) >= forgetAfter
	return s.forgotten
}
