// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/belay-proxy/belay/discovery"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/upstream"
)

// Config configures a Balancer. The zero Config is ready to use: the backends
// given to New, in rotation, without health checks. A Config must not be
// modified after it has been passed to New.
type Config struct {
	// Discovery is where the set of backends comes from. Nil means that it
	// is what New and Set are given.
	Discovery discovery.Discoverer

	// UpdateInterval is the time between the end of one discovery and the
	// start of the next, 10 % more or less. A discovery.Watcher is also
	// asked whenever it has changed. After an error the next try comes
	// sooner: after a second, then two, four and so on up to UpdateInterval.
	// Zero means 30 seconds; negative means until the first success only. At
	// least 1 millisecond.
	UpdateInterval time.Duration

	// UpdateTimeout bounds one discovery. Zero means 10 seconds; negative
	// means no limit.
	UpdateTimeout time.Duration

	// Checker probes the backends. Nil means no health checks: every backend
	// counts as healthy.
	Checker health.Checker

	// Health says how often and how strictly to check.
	Health health.Config

	// ReadyAfterChecks makes Ready wait until each backend of the first set
	// has been checked once. Without it a proxy may start on a backend that
	// is down, and find out by itself.
	ReadyAfterChecks bool

	// Policy says how to choose. Nil means RoundRobin().
	Policy Policy

	// NewPeer makes the peer of a backend that comes without one. It is
	// called once for each address that joins the set, must not call the
	// Balancer, and must not return nil. Nil means a plain &upstream.Peer{Addr: addr}.
	NewPeer func(addr string) *upstream.Peer

	// OnChange is told when a backend fails or comes back: after requests
	// have begun to avoid or to use it, without locks held, one call at a
	// time and in order. It may wait; only later calls, and the return of
	// Run, wait for it. A backend that joins the set counts as healthy
	// without a call.
	OnChange func(b Backend, healthy bool)

	// Logger gets a warning when a backend fails and an info when it is
	// back, and warnings about failed discoveries, at most one a minute. Nil
	// means slog.Default().
	Logger *slog.Logger
}

// minUpdateInterval is the least UpdateInterval that Validate accepts.
const minUpdateInterval = time.Millisecond

// Validate returns every problem with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	if c.UpdateInterval > 0 && c.UpdateInterval < minUpdateInterval {
		errs = append(errs, fmt.Errorf("balancer: UpdateInterval is %v, want at least %v", c.UpdateInterval, minUpdateInterval))
	}
	if c.ReadyAfterChecks && c.Checker == nil {
		errs = append(errs, errors.New("balancer: ReadyAfterChecks is set, want a Checker too"))
	}
	return errors.Join(append(errs, c.Health.Validate())...)
}

// withDefaults returns c with every zero field replaced by its default.
func (c Config) withDefaults() Config {
	c.UpdateInterval = cmp.Or(c.UpdateInterval, 30*time.Second)
	c.UpdateTimeout = cmp.Or(c.UpdateTimeout, 10*time.Second)
	if c.Policy == nil {
		c.Policy = RoundRobin()
	}
	if c.NewPeer == nil {
		c.NewPeer = func(addr string) *upstream.Peer { return &upstream.Peer{Addr: addr} }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
