// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/json"
	"errors"
	"time"
)

// counters are what a Proxy or Switch passes on to the process that replaces
// it.
type counters struct {
	Requests int64       `json:"requests"`
	Rejected Rejections  `json:"rejections"`
	Budget   *budgetUsed `json:"budget,omitempty"`
}

// budgetUsed is the state of a retry budget over its window.
type budgetUsed struct {
	Requests int64 `json:"requests"`
	Retries  int64 `json:"retries"`
}

// SaveState returns the counters of Stats and the state of the retry budget,
// for RestoreState in another process.
func (p *Proxy) SaveState() ([]byte, error) {
	c := p.front.counters()
	c.Budget = p.budget.used()
	return json.Marshal(c)
}

// RestoreState goes on with what SaveState has returned. It is to be called
// before the first connection.
func (p *Proxy) RestoreState(state []byte) error {
	c, err := parseCounters(state)
	if err != nil {
		return err
	}
	p.front.goOnFrom(c)
	if c.Budget != nil {
		p.budget.goOnFrom(*c.Budget)
	}
	return nil
}

// SaveState is as for a Proxy; the budgets belong to the proxies.
func (s *Switch) SaveState() ([]byte, error) { return json.Marshal(s.front.counters()) }

// RestoreState is as for a Proxy.
func (s *Switch) RestoreState(state []byte) error {
	c, err := parseCounters(state)
	if err != nil {
		return err
	}
	s.front.goOnFrom(c)
	return nil
}

func parseCounters(state []byte) (c counters, err error) {
	if err := json.Unmarshal(state, &c); err != nil {
		return c, err
	}
	b, r := c.Budget, c.Rejected
	if c.Requests < 0 || min(r.Malformed, r.TooLarge, r.Late, r.Flood) < 0 || b != nil && (b.Requests < 0 || b.Retries < 0) {
		return c, errors.New("a counter is negative")
	}
	return c, nil
}

func (f *front) counters() counters {
	return counters{Requests: f.requests.Load(), Rejected: f.rejections()}
}

func (f *front) goOnFrom(c counters) {
	f.requests.Store(c.Requests)
	f.goOnFromRejections(c.Rejected)
}

// used returns what has been counted in the window.
func (b *retryBudget) used() *budgetUsed {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rotateLocked(time.Now())
	return &budgetUsed{Requests: b.requests.Load() + b.previous, Retries: b.retries[0] + b.retries[1]}
}

// goOnFrom makes u the half before the current one.
func (b *retryBudget) goOnFrom(u budgetUsed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start = time.Now()
	b.previous = u.Requests
	b.retries = [2]int64{0, u.Retries}
}
