// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/belay-proxy/belay/health"
)

// saved is what a Balancer passes on to the process that replaces it.
type saved struct {
	Health   []health.Memory `json:"health,omitempty"`
	Disabled []string        `json:"disabled,omitempty"` // by SetEnabled
}

// SaveState returns what is known about the health of the backends, and which
// ones SetEnabled has switched off, for RestoreState in another process.
func (b *Balancer) SaveState() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := saved{Disabled: slices.Sorted(maps.Keys(b.disabled))}
	if b.monitor != nil {
		s.Health = b.monitor.Save()
	}
	return json.Marshal(s)
}

// RestoreState goes on with what SaveState has returned, so that no request
// goes to a backend of which it is known that it is down. It is to be called
// before Run. Backends that join the set with the first discovery are found
// in it, too.
func (b *Balancer) RestoreState(state []byte) error {
	var s saved
	if err := json.Unmarshal(state, &s); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, addr := range s.Disabled {
		b.disabled[addr] = true
	}
	if b.monitor != nil {
		b.monitor.Restore(s.Health)
	}
	b.publishLocked()
	return nil
}
