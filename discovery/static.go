// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"net"
	"slices"
	"sync"
)

// Static is a set of targets that the program keeps itself. Host names are
// resolved when they are added, and every address that the resolver returns
// becomes a target; they are not resolved again. A Static is safe for
// concurrent use. It is a Watcher: a balancer applies a change at once.
type Static struct {
	resolver Resolver

	mu      sync.Mutex
	entries []entry       // guarded by mu; each given address once, in order
	changed chan struct{} // guarded by mu; closed at the next change
}

// entry is a target as given and the targets it resolved to.
type entry struct {
	given    string
	resolved []Target
}

var _ Watcher = (*Static)(nil)

// NewStatic returns a set of the given targets, which may be none. A nil r
// means net.DefaultResolver. It waits for the resolver, or until ctx ends; a
// host without an address is an error that names it.
func NewStatic(ctx context.Context, r Resolver, targets ...Target) (*Static, error) {
	if r == nil {
		r = net.DefaultResolver
	}
	s := &Static{resolver: r, changed: make(chan struct{})}
	if err := s.Set(ctx, targets...); err != nil {
		return nil, err
	}
	return s, nil
}

// Set replaces the whole set. After an error it is as it was. Of two targets
// with the same Addr the later counts.
func (s *Static) Set(ctx context.Context, targets ...Target) error {
	entries, err := resolveAll(ctx, s.resolver, targets)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = nil
	s.putLocked(entries)
	return nil
}

// Add adds targets. One with the Addr of a target that is there takes its
// place, so Add also changes a weight. After an error the set is as it was.
func (s *Static) Add(ctx context.Context, targets ...Target) error {
	entries, err := resolveAll(ctx, s.resolver, targets)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(entries)
	return nil
}

// Remove removes the targets with these addresses, written as they were given:
// a host name takes all of its addresses with it. It reports whether any of
// them was in the set.
func (s *Static) Remove(addrs ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.entries)
	s.entries = slices.DeleteFunc(s.entries, func(e entry) bool { return slices.Contains(addrs, e.given) })
	if len(s.entries) == before {
		return false
	}
	s.announceLocked()
	return true
}

// Discover returns the set. If two names lead to one address, the target
// given first counts. It does not wait and returns no error.
func (s *Static) Discover(context.Context) ([]Target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var targets []Target
	seen := make(map[string]bool)
	for _, e := range s.entries {
		for _, t := range e.resolved {
			if !seen[t.Addr] {
				seen[t.Addr] = true
				targets = append(targets, t)
			}
		}
	}
	return targets, nil
}

// Changed returns a channel that is closed when the set is next changed.
func (s *Static) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// putLocked adds entries or puts them in the place of those with the same
// address.
func (s *Static) putLocked(entries []entry) {
	at := make(map[string]int, len(s.entries)+len(entries))
	for i, e := range s.entries {
		at[e.given] = i
	}
	for _, e := range entries {
		if i, ok := at[e.given]; ok {
			s.entries[i] = e
			continue
		}
		at[e.given] = len(s.entries)
		s.entries = append(s.entries, e)
	}
	s.announceLocked()
}

// announceLocked tells the watchers that the set has changed.
func (s *Static) announceLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}
