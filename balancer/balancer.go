// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/proxyerr"
)

// ErrNoBackend is returned when no backend is ready: the set is empty, or all
// of it is unhealthy, disabled or drained. errors.Is(err, proxyerr.NoBackend)
// holds for it. It must not be modified.
var ErrNoBackend error = proxyerr.New(proxyerr.Upstream, proxyerr.NoBackend, "pick", nil)

// Balancer chooses a peer for each request. It is safe for concurrent use.
type Balancer struct {
	cfg     Config
	monitor *health.Monitor // nil without a Checker
	notes   notes           // changes on their way to OnChange and the log
	view    atomic.Pointer[view]
	running atomic.Bool
	offset  atomic.Uint32 // where Select starts among unhealthy backends
	ready   chan struct{} // closed when Ready
	readied sync.Once     // closes ready

	// updating holds a value while the set is being replaced: by a discovery,
	// which may take its time, so that it is not a lock anything else needs.
	updating chan struct{}

	mu       sync.Mutex
	members  []member        // guarded by mu; replaced only while updating
	disabled map[string]bool // guarded by mu; by SetEnabled
	stats    Stats           // guarded by mu
}

// view is an immutable picture of the backends that may be chosen.
type view struct {
	ready  []Backend
	picker Picker    // built by the policy for exactly the ready ones; nil if there are none
	down   []Backend // enabled but unhealthy
}

// Stats counts what a Balancer has done since New.
type Stats struct {
	Updates       uint64        // discoveries that gave a usable set, changed or not
	UpdateErrors  uint64        // discoveries that failed or gave an unusable set
	Rebuilds      uint64        // views built: for a changed set, health or switch
	LastUpdate    time.Time     // end of the last successful discovery
	DiscoveryTook time.Duration // of the last discovery, failed or not
	RebuildTook   time.Duration // of the last view
}

// New returns a Balancer of the given backends. With Config.Discovery they
// serve only until its first success. New starts nothing: health checks and
// discovery need Run. An empty set is no error; Pick then returns
// ErrNoBackend.
func New(cfg Config, backends ...Backend) (*Balancer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Balancer{
		cfg:      cfg.withDefaults(),
		ready:    make(chan struct{}),
		updating: make(chan struct{}, 1),
		disabled: make(map[string]bool),
	}
	b.notes.wake = make(chan struct{}, 1)
	if cfg.Checker != nil {
		m, err := health.NewMonitor(cfg.Checker, cfg.Health, b.healthChanged)
		if err != nil {
			return nil, err
		}
		b.monitor = m
	}
	b.view.Store(&view{})
	if err := b.replace(fromBackends(backends)); err != nil {
		return nil, err
	}
	return b, nil
}

// Set replaces the set of backends, and returns an error without effect if
// there is a problem with one of them, or if the set comes from
// Config.Discovery. Backends whose address stays keep their health, and their
// peer unless a new one is given. If nothing has changed, nothing is rebuilt.
func (b *Balancer) Set(backends ...Backend) error {
	if b.cfg.Discovery != nil {
		return errors.New("balancer: Set on a set that comes from Discovery")
	}
	b.updating <- struct{}{}
	defer func() { <-b.updating }()
	return b.replace(fromBackends(backends))
}

// SetEnabled is the administrative switch, apart from health: no requests go
// to a backend while it is off. It belongs to the address, also while that is
// not in the set. SetEnabled reports whether it is in the set now.
func (b *Balancer) SetEnabled(addr string, enabled bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	inSet := slices.ContainsFunc(b.members, func(m member) bool { return m.Addr == addr })
	if b.disabled[addr] != enabled { // it is so already
		return inSet
	}
	if enabled {
		delete(b.disabled, addr)
	} else {
		b.disabled[addr] = true
	}
	if inSet {
		b.publishLocked()
	}
	return inSet
}

// Backends returns the set with its state, in order, ready or not.
func (b *Balancer) Backends() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Status, len(b.members))
	for i, m := range b.members {
		list[i] = Status{Backend: m.Backend, Enabled: b.enabledLocked(m), Health: health.Status{Healthy: true}}
		if b.monitor == nil {
			continue
		}
		if s, ok := b.monitor.Status(m.Addr); ok {
			list[i].Health = s
		}
	}
	return list
}

// Stats returns the counters.
func (b *Balancer) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

// Update runs one discovery now and applies what it finds. It waits for a
// discovery that is under way, and for its own at most Config.UpdateTimeout,
// or until ctx ends. After an error the set is as it was. Without
// Config.Discovery there is nothing to do.
func (b *Balancer) Update(ctx context.Context) error {
	if b.cfg.Discovery == nil {
		return nil
	}
	select {
	case b.updating <- struct{}{}:
		defer func() { <-b.updating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	start := time.Now()
	members, err := b.discover(ctx)
	took := time.Since(start)
	if err == nil {
		err = b.replace(members)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.DiscoveryTook = took
	if err != nil {
		b.stats.UpdateErrors++
		return err
	}
	b.stats.Updates++
	b.stats.LastUpdate = time.Now()
	return nil
}

// replace makes next the set, unless it equals the present one. The caller is
// the one who is updating.
func (b *Balancer) replace(next []member) error {
	b.mu.Lock()
	present := b.members
	b.mu.Unlock()
	if err := complete(next, present, b.cfg.NewPeer); err != nil {
		return err
	}
	if sameSet(present, next) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members = next
	if b.monitor != nil {
		addrs := make([]string, len(next))
		for i, m := range next {
			addrs[i] = m.Addr
		}
		b.monitor.Set(addrs)
	}
	b.publishLocked()
	return nil
}

// publishLocked builds the view for the present state and makes it the one
// that requests see. Health is read here, not passed in, so that a view never
// shows what a former backend of the same address was like.
func (b *Balancer) publishLocked() {
	start := time.Now()
	v := new(view)
	for _, m := range b.members {
		switch {
		case !b.enabledLocked(m):
		case b.monitor == nil || b.monitor.Healthy(m.Addr):
			v.ready = append(v.ready, m.Backend)
		default:
			v.down = append(v.down, m.Backend)
		}
	}
	if len(v.ready) > 0 {
		v.picker = b.cfg.Policy.NewPicker(v.ready)
	}
	b.view.Store(v)
	b.stats.Rebuilds++
	b.stats.RebuildTook = time.Since(start)
}

// enabledLocked reports whether m may get requests while it is healthy.
func (b *Balancer) enabledLocked(m member) bool {
	return m.Weight > 0 && !m.disabled && !b.disabled[m.Addr]
}
