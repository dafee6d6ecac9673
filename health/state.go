// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"errors"
	"time"
)

// A Memory is what a Monitor knows about one address, in a form that another
// process can go on from.
type Memory struct {
	Addr    string    `json:"addr"`
	Healthy bool      `json:"healthy"`
	Since   time.Time `json:"since"`
	Streak  int       `json:"streak,omitempty"` // checks in a row that contradict Healthy
	Err     string    `json:"err,omitempty"`    // of the last check
}

// Save returns what the Monitor knows about the addresses that have been
// checked.
func (m *Monitor) Save() []Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Memory
	for _, t := range m.targets {
		if t.status.Checked.IsZero() {
			continue
		}
		mem := Memory{Addr: t.addr, Healthy: t.status.Healthy, Since: t.status.Since, Streak: t.streak}
		if t.status.Err != nil {
			mem.Err = t.status.Err.Error()
		}
		list = append(list, mem)
	}
	return list
}

// memoryTime is how long after Restore an address may join the set and still
// be known.
const memoryTime = time.Minute

// Restore makes the addresses that are in the set, and those that join it in
// the next minute, go on from what another Monitor has saved. They still count
// as not checked. Restore is to be called before Run, and does not call
// onChange: the caller asks for the health of its addresses anew.
func (m *Monitor) Restore(list []Memory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory = make(map[string]Memory, len(list))
	m.forget = time.Now().Add(memoryTime)
	for _, mem := range list {
		m.memory[mem.Addr] = mem
	}
	for _, t := range m.targets {
		q := m.queueOf(t)
		q.remove(t)
		m.recallLocked(t)
		m.queueOf(t).push(t)
	}
}

// recallLocked gives t, which is in no queue, the state that is remembered for
// its address.
func (m *Monitor) recallLocked(t *target) {
	if m.memory != nil && time.Now().After(m.forget) {
		m.memory = nil
	}
	mem, ok := m.memory[t.addr]
	if !ok {
		return
	}
	delete(m.memory, t.addr)
	t.status.Healthy = mem.Healthy
	t.streak = max(mem.Streak, 0)
	if !mem.Since.IsZero() && mem.Since.Before(t.status.Since) {
		t.status.Since = mem.Since
	}
	if mem.Err != "" {
		t.status.Err = errors.New(mem.Err)
	}
}
