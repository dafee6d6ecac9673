// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"

	"github.com/belay-proxy/belay/discovery"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/upstream"
)

// MaxWeight is the largest weight a Backend can have.
const MaxWeight = 1_000_000

// A Backend is a member of a balanced set.
type Backend struct {
	// Addr is "host:port", or "unix:" and the path of a Unix socket. It
	// names the backend: health and peer belong to the address and outlast a
	// change of anything else. It is also what health checks connect to.
	Addr string

	// Weight is the backend's share of requests relative to the others. Zero
	// means 1. Negative means drained: the backend stays in the set and is
	// checked, but is never chosen. At most MaxWeight.
	Weight int

	// Peer is what Pick returns for this backend. All requests share it.
	// Nil means the peer that Addr has in the set already, or else a new one
	// from Config.NewPeer.
	Peer *upstream.Peer

	// Meta is the program's own knowledge about the backend. Two values are
	// the same if reflect.DeepEqual says so.
	Meta any
}

// Status is a backend and what the Balancer knows about it.
type Status struct {
	Backend Backend

	// Enabled is false if SetEnabled, the discovery or a negative weight
	// keeps requests away.
	Enabled bool

	// Health is the outcome of the checks. Without a Checker only Healthy is
	// set, to true.
	Health health.Status
}

// Ready reports whether requests go to the backend.
func (s Status) Ready() bool { return s.Enabled && s.Health.Healthy }

// member is a backend of the present set. Its Backend is complete: Weight is
// not 0 and Peer is not nil.
type member struct {
	Backend
	disabled bool // by discovery
}

// same reports whether m and o need not be told apart by a rebuild.
func (m member) same(o member) bool {
	return m.Addr == o.Addr && m.Weight == o.Weight && m.Peer == o.Peer && m.disabled == o.disabled &&
		reflect.DeepEqual(m.Meta, o.Meta)
}

// sameSet reports whether a and b, which each hold an address at most once,
// have the same members in any order.
func sameSet(a, b []member) bool {
	if len(a) != len(b) {
		return false
	}
	known := byAddr(a)
	for _, m := range b {
		if i, ok := known[m.Addr]; !ok || !a[i].same(m) {
			return false
		}
	}
	return true
}

// byAddr returns the index of each address.
func byAddr(members []member) map[string]int {
	index := make(map[string]int, len(members))
	for i, m := range members {
		index[m.Addr] = i
	}
	return index
}

// fromBackends returns backends as members.
func fromBackends(backends []Backend) []member {
	members := make([]member, len(backends))
	for i, b := range backends {
		members[i] = member{Backend: b}
	}
	return members
}

// fromTargets returns the targets of a discovery as members.
func fromTargets(targets []discovery.Target) []member {
	members := make([]member, len(targets))
	for i, t := range targets {
		members[i] = member{Backend: Backend{Addr: t.Addr, Weight: t.Weight, Meta: t.Meta}, disabled: t.Disabled}
	}
	return members
}

// complete fills in what next leaves open, in place: weights, and peers from
// the present set or from newPeer. It returns every problem, joined.
func complete(next, present []member, newPeer func(string) *upstream.Peer) error {
	var errs []error
	known := byAddr(present)
	seen := make(map[string]bool, len(next))
	for i := range next {
		m := &next[i]
		m.Weight = cmp.Or(m.Weight, 1)
		if seen[m.Addr] {
			errs = append(errs, fmt.Errorf("balancer: backend %q is in the set twice", m.Addr))
			continue
		}
		seen[m.Addr] = true
		if m.Weight > MaxWeight {
			errs = append(errs, fmt.Errorf("balancer: backend %q: Weight is %d, want at most %d", m.Addr, m.Weight, MaxWeight))
		}
		if err := (&upstream.Peer{Addr: m.Addr}).Validate(); err != nil {
			errs = append(errs, fmt.Errorf("balancer: backend %q: %w", m.Addr, err))
			continue
		}
		if err := m.setPeer(present, known, newPeer); err != nil {
			errs = append(errs, fmt.Errorf("balancer: backend %q: %w", m.Addr, err))
		}
	}
	return errors.Join(errs...)
}

// setPeer gives m a peer if it has none.
func (m *member) setPeer(present []member, known map[string]int, newPeer func(string) *upstream.Peer) error {
	if i, ok := known[m.Addr]; ok {
		m.Peer = cmp.Or(m.Peer, present[i].Peer)
		if m.Peer == present[i].Peer {
			return nil // validated when it joined
		}
	}
	if m.Peer == nil {
		m.Peer = newPeer(m.Addr)
	}
	if m.Peer == nil {
		return errors.New("NewPeer returned nil")
	}
	return m.Peer.Validate()
}
