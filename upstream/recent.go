// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"sync"
	"sync/atomic"
)

// recentPeers finds what belongs to a Peer by its pointer, which is several
// times faster than by its identity. Every sweep clears it, so it does not keep
// Peers alive that are no longer used.
type recentPeers struct {
	sets sync.Map // by *Peer
	len  atomic.Int64
}

// maxRecent bounds recentPeers between two sweeps: a program may make a Peer
// for each request.
const maxRecent = 1 << 14

func (r *recentPeers) load(p *Peer) (set any, ok bool) { return r.sets.Load(p) }

func (r *recentPeers) store(p *Peer, set any) {
	if r.len.Add(1) > maxRecent {
		r.sets.Clear()
		r.len.Store(1)
	}
	r.sets.Store(p, set)
}

func (r *recentPeers) clear() {
	r.sets.Clear()
	r.len.Store(0)
}
