// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"slices"

	"github.com/belay-proxy/belay/upstream"
)

// maxNext is how many of the policy's further choices are looked at before
// the remaining backends are gone through one after the other: with very
// unequal weights the policy may name the same ones many times.
const maxNext = 16

// Pick returns the peer of a ready backend, or ErrNoBackend. key is for
// policies that send equal keys to the same backend; others ignore it.
func (b *Balancer) Pick(key []byte) (*upstream.Peer, error) {
	v := b.view.Load()
	if len(v.ready) == 0 {
		return nil, ErrNoBackend
	}
	return v.ready[v.picker.Pick(key)].Peer, nil
}

// PickExcept returns the peer of a ready backend that is not among tried, the
// peers of earlier attempts in their order. If all that are ready have been
// tried, it returns the one whose last attempt is longest ago, and if none is
// ready, ErrNoBackend. With nothing tried it is Pick; otherwise it does not
// disturb the rotation of first attempts.
func (b *Balancer) PickExcept(key []byte, tried ...*upstream.Peer) (*upstream.Peer, error) {
	if len(tried) == 0 {
		return b.Pick(key)
	}
	v := b.view.Load()
	if len(v.ready) == 0 {
		return nil, ErrNoBackend
	}
	last := 0
	for n := range maxNext {
		last = v.picker.Next(key, n)
		if p := v.ready[last].Peer; !slices.Contains(tried, p) {
			return p, nil
		}
	}
	for i := range v.ready {
		if p := v.ready[(last+i)%len(v.ready)].Peer; !slices.Contains(tried, p) {
			return p, nil
		}
	}
	return longestAgo(v.ready, tried), nil
}

// longestAgo returns the peer whose last occurrence in tried comes first. All
// peers of ready, which is not empty, are in tried.
func longestAgo(ready []Backend, tried []*upstream.Peer) *upstream.Peer {
	best, bestAt := ready[0].Peer, len(tried)
	for _, backend := range ready {
		at := len(tried) - 1
		for at >= 0 && tried[at] != backend.Peer {
			at--
		}
		if at < bestAt {
			best, bestAt = backend.Peer, at
		}
	}
	return best
}

// Tried remembers the peers of an exchange's attempts, for Next. The zero Tried
// is ready to use; it is meant to be a field of the state of a request, and
// must not be copied. It is not safe for concurrent use.
type Tried struct {
	first [4]*upstream.Peer // so that few attempts allocate nothing
	peers []*upstream.Peer
}

// Next returns the peer for the next attempt of an exchange, and adds it to t:
// Pick for the first, PickExcept for those that follow. A proxy that calls it
// for each attempt fails over from backend to backend.
func (b *Balancer) Next(key []byte, t *Tried) (*upstream.Peer, error) {
	p, err := b.PickExcept(key, t.peers...)
	if err != nil {
		return nil, err
	}
	if t.peers == nil {
		t.peers = t.first[:0]
	}
	t.peers = append(t.peers, p)
	return p, nil
}

// Select offers backends to accept, each at most once, until it returns true,
// and returns that backend; or ErrNoBackend if none was accepted. The ready
// ones come first, in the order of the policy; then the unhealthy ones, with
// ready false. Disabled and drained backends are not offered. limit bounds the
// number of different backends that are offered; zero and negative mean all.
//
// One Select counts as one request in the rotation, however many backends it
// offers. It allocates nothing for up to 1,024 ready backends.
func (b *Balancer) Select(key []byte, limit int, accept func(backend Backend, ready bool) bool) (Backend, error) {
	v := b.view.Load()
	if total := len(v.ready) + len(v.down); limit <= 0 || limit > total {
		limit = total
	}
	var few [16]uint64
	o := offers{ready: v.ready, left: limit, accept: accept, seen: few[:]}
	if len(v.ready) > 64*len(few) {
		o.seen = make([]uint64, (len(v.ready)+63)/64)
	}
	if i := o.selectReady(v.picker, key); i >= 0 {
		return v.ready[i], nil
	}
	if o.left == 0 || len(v.down) == 0 {
		return Backend{}, ErrNoBackend
	}
	start := int(b.offset.Add(1) % uint32(len(v.down)))
	for i := range min(o.left, len(v.down)) {
		backend := v.down[(start+i)%len(v.down)]
		if accept(backend, false) {
			return backend, nil
		}
	}
	return Backend{}, ErrNoBackend
}

// offers is the state of one Select among the ready backends.
type offers struct {
	ready  []Backend
	seen   []uint64 // bit i: ready[i] has been offered
	left   int      // how many more may be offered
	accept func(Backend, bool) bool
}

// selectReady returns the index of the first backend that is accepted, or -1.
func (o *offers) selectReady(p Picker, key []byte) int {
	if len(o.ready) == 0 {
		return -1
	}
	last := p.Pick(key)
	if o.offer(last) {
		return last
	}
	for n := 0; n < maxNext && o.left > 0; n++ {
		last = p.Next(key, n)
		if o.offer(last) {
			return last
		}
	}
	for i := 0; i < len(o.ready) && o.left > 0; i++ {
		if at := (last + i) % len(o.ready); o.offer(at) {
			return at
		}
	}
	return -1
}

// offer offers ready[i] if it has not been yet, and reports whether it was
// accepted.
func (o *offers) offer(i int) bool {
	word, bit := i/64, uint64(1)<<(i%64)
	if o.left == 0 || o.seen[word]&bit != 0 {
		return false
	}
	o.seen[word] |= bit
	o.left--
	return o.accept(o.ready[i], true)
}
