// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Change is one change of state.
type Change struct {
	Addr    string
	Healthy bool
	Err     error // of the check that tipped the scale; nil if Healthy
}

// A Monitor checks a set of addresses. A new address counts as healthy until
// its checks say otherwise. A Monitor is safe for concurrent use.
type Monitor struct {
	checker  Checker
	observe  func(addr string, healthy bool) // nil if checker is no Observer
	onChange func([]Change)                  // may be nil
	cfg      Config
	running  atomic.Bool
	wake     chan struct{} // holds one value when there are new targets

	mu        sync.Mutex
	targets   map[string]*target // guarded by mu
	memory    map[string]Memory  // guarded by mu; by Restore, for addresses not in the set yet
	forget    time.Time          // guarded by mu; when memory no longer counts
	passing   queue              // guarded by mu; not running, last check passed or none yet
	failing   queue              // guarded by mu; not running, last check failed
	unchecked int                // guarded by mu; targets without a first result
	checked   chan struct{}      // guarded by mu; closed when a round is over
}

// errRunning is the error of a second Run.
var errRunning = errors.New("health: Monitor is running already")

// NewMonitor returns a Monitor without addresses. It starts nothing: see Run.
//
// onChange, unless nil, is told of changes of state after the thresholds have
// been applied, in order, one call at a time; changes that arrive together
// come in one call. It is called without locks held, and no check is started
// while it runs.
func NewMonitor(c Checker, cfg Config, onChange func([]Change)) (*Monitor, error) {
	if c == nil {
		return nil, errors.New("health: Checker is nil")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Monitor{
		checker:  c,
		onChange: onChange,
		cfg:      cfg.withDefaults(),
		wake:     make(chan struct{}, 1),
		targets:  make(map[string]*target),
		checked:  make(chan struct{}),
	}
	close(m.checked)
	if o, ok := c.(Observer); ok { // once, here; never per probe
		m.observe = o.Observe
	}
	return m, nil
}

// Set replaces the set of addresses. Those that stay keep their state and
// their next check; new ones count as healthy and are checked at once; checks
// of those that go are cancelled and their state is forgotten. An address
// given twice counts once.
func (m *Monitor) Set(addrs []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := make(map[string]bool, len(addrs))
	for _, addr := range addrs {
		keep[addr] = true
	}
	for addr, t := range m.targets {
		if !keep[addr] {
			m.removeLocked(t)
		}
	}
	now := time.Now()
	for _, addr := range addrs {
		if m.targets[addr] == nil {
			m.addLocked(addr, now)
		}
	}
	if len(m.targets) == 0 {
		m.reportRoundLocked()
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *Monitor) addLocked(addr string, now time.Time) {
	t := &target{addr: addr, status: Status{Healthy: true, Since: now}, due: now}
	m.targets[addr] = t
	m.recallLocked(t)
	m.queueOf(t).push(t)
	select {
	case <-m.checked:
		m.checked = make(chan struct{})
	default: // a round is not over yet: it takes in this target too
	}
	m.unchecked++
}

func (m *Monitor) removeLocked(t *target) {
	delete(m.targets, t.addr)
	t.removed = true
	if t.cancel != nil {
		t.cancel()
	}
	if t.index >= 0 {
		m.queueOf(t).remove(t)
	}
	if t.status.Checked.IsZero() {
		m.unchecked--
	}
}

// reportRoundLocked closes m.checked if no target waits for its first check.
// The loop calls it when it has reported all changes so far.
func (m *Monitor) reportRoundLocked() {
	if m.unchecked > 0 {
		return
	}
	select {
	case <-m.checked:
	default:
		close(m.checked)
	}
}

// queueOf returns the queue for a target in its present state.
func (m *Monitor) queueOf(t *target) *queue {
	if t.failing() {
		return &m.failing
	}
	return &m.passing
}

// Healthy reports whether addr is healthy. An address that is not in the set
// counts as healthy, as a new one does.
func (m *Monitor) Healthy(addr string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.targets[addr]
	return t == nil || t.status.Healthy
}

// Status returns what is known about addr, and whether it is in the set.
func (m *Monitor) Status(addr string) (s Status, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.targets[addr]
	if t == nil {
		return Status{}, false
	}
	return t.status, true
}

// Checked returns a channel that is closed once every address in the set has
// been checked at least once and onChange has heard of the outcome. It is
// closed already if the set is empty.
func (m *Monitor) Checked() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.checked
}

// Run checks every address at once and then at its interval, until ctx ends.
// It then cancels the checks in flight, waits for them, and returns nil. Only
// one Run can be active: another returns an error.
func (m *Monitor) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer m.running.Store(false)
	newLoop(m).run(ctx)
	return nil
}

// slots returns the most checks in flight, of all targets and of failing ones.
func (c Config) slots() (all, failing int) {
	if c.MaxParallel < 0 {
		return math.MaxInt, math.MaxInt
	}
	return c.MaxParallel, max(1, c.MaxParallel/2)
}
