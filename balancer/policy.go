// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import "sync/atomic"

// A Policy says how to choose among the ready backends. A Policy may keep
// state that outlasts its pickers; then each Balancer needs one of its own.
type Policy interface {
	// NewPicker returns the chooser for exactly these backends: at least
	// one, each with a positive weight and a peer, in the order of the set.
	// It must not modify them. It is called whenever they have changed, one
	// call at a time, with the Balancer locked: it must not call it. Requests
	// go on with the former picker meanwhile.
	NewPicker(ready []Backend) Picker
}

// A Picker returns indexes into the backends it was built for. Its methods
// are called from many goroutines at once; they must not block.
type Picker interface {
	// Pick returns the backend for a request's first attempt.
	Pick(key []byte) int

	// Next returns another candidate where the one from Pick was refused or
	// has failed, in this selection or in an earlier one for the same
	// request. n counts the calls of this selection from 0. Next may name a
	// backend more than once, and the one from Pick too: the Balancer skips
	// those and gives up on Next after some calls. It must not disturb the
	// order of first attempts.
	Next(key []byte, n int) int
}

// RoundRobin returns a Policy that takes backends in turn, each as often as
// its weight says, and evenly spread: 5, 1 and 1 gives a a b a c a a, the
// order of nginx. The turn goes on where it was when the set changes.
//
// The proportions are exact as long as the weights, divided by their greatest
// common divisor, add up to no more than 65,536 (or 16 times the number of
// backends, if that is more). Beyond that, each backend's share of all picks
// is off by at most (n+1)/65,536 with up to n = 4,096 backends, and by less
// than 1/15 with more; none goes without.
func RoundRobin() Policy { return new(roundRobin) }

type roundRobin struct {
	next     atomic.Uint64 // first attempts
	_        [56]byte      // a cache line of its own for the busy one
	fallback atomic.Uint64 // further choices, which have a rotation of their own
}

// rotation is the Picker of roundRobin.
type rotation struct {
	policy *roundRobin
	order  []uint32 // backends in the order of their turns; not empty
}

func (r *roundRobin) NewPicker(ready []Backend) Picker {
	weights := make([]int, len(ready))
	for i, b := range ready {
		weights[i] = b.Weight
	}
	return &rotation{policy: r, order: smoothOrder(boundWeights(weights))}
}

// Pick implements Picker.
func (p *rotation) Pick([]byte) int { return p.turn(&p.policy.next) }

// Next implements Picker. By counting separately, and by counting also the
// candidates that the Balancer then skips, it spreads the load of a failed
// backend over all others by weight, where "the one that follows it" would
// get all of it.
func (p *rotation) Next([]byte, int) int { return p.turn(&p.policy.fallback) }

func (p *rotation) turn(counter *atomic.Uint64) int {
	return int(p.order[(counter.Add(1)-1)%uint64(len(p.order))])
}
