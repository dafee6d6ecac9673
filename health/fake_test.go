// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// network is a fake: a set of addresses that fail, and a record of what was
// asked when.
type network struct {
	mu     sync.Mutex
	start  time.Time
	down   map[string]bool
	hang   map[string]bool
	checks []string // "addr@time since start"
}

var errDown = errors.New("down")

func newNetwork() *network {
	return &network{start: time.Now(), down: map[string]bool{}, hang: map[string]bool{}}
}

func (n *network) setDown(addr string, down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[addr] = down
}

func (n *network) setHang(hang bool, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range addrs {
		n.hang[addr] = hang
	}
}

// Check implements Checker.
func (n *network) Check(ctx context.Context, addr string) error {
	n.mu.Lock()
	n.checks = append(n.checks, fmt.Sprintf("%s@%v", addr, time.Since(n.start)))
	down, hang := n.down[addr], n.hang[addr]
	n.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errDown
	}
	return nil
}

// seen returns the checks so far, sorted.
func (n *network) seen() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(slices.Values(n.checks))
}

// recorder collects changes.
type recorder struct {
	mu      sync.Mutex
	changes []string
}

func (r *recorder) record(changes []Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changes {
		word := "down"
		if c.Healthy {
			word = "up"
		}
		r.changes = append(r.changes, c.Addr+" "+word)
	}
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.changes
	r.changes = nil
	return got
}
