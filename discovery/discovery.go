// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package discovery

import "context"

// A Target is a backend as discovery describes it.
type Target struct {
	// Addr is "host:port", or "unix:" and the path of a Unix socket.
	Addr string

	// Weight is the backend's share of requests relative to the others.
	// Zero means 1; negative means none.
	Weight int

	// Disabled keeps the backend in the set, with its health, but gives it
	// no requests.
	Disabled bool

	// Meta is the program's own knowledge about the backend. Two values are
	// the same if reflect.DeepEqual says so.
	Meta any
}

// A Discoverer finds the backends of a set.
type Discoverer interface {
	// Discover returns the whole set as it is now, each address once, in an
	// order that lasts: weighted rotation breaks ties by it. An empty set is
	// an answer, and takes every backend out. A Discoverer that cannot tell
	// returns an error, and the set stays as it was.
	//
	// Discover may wait, but must return promptly once ctx is done. The
	// caller owns the slice.
	Discover(ctx context.Context) ([]Target, error)
}

// A Watcher is a Discoverer that knows when its set changes, so that nobody
// has to wait for the next interval.
type Watcher interface {
	Discoverer

	// Changed returns a channel that is closed at the next change. A caller
	// takes the channel first and then calls Discover, so as to miss
	// nothing.
	Changed() <-chan struct{}
}
