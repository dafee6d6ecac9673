// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// A Checker probes one backend.
type Checker interface {
	// Check returns nil if the backend at addr is healthy, and otherwise
	// what is wrong with it. addr is "host:port", or "unix:" and a path.
	// Check must return promptly once ctx is done: until it does, it holds
	// one of Config.MaxParallel slots and Monitor.Run cannot return. It is
	// called from many goroutines.
	Check(ctx context.Context, addr string) error
}

// CheckerFunc makes a function a Checker.
type CheckerFunc func(ctx context.Context, addr string) error

// Check calls f.
func (f CheckerFunc) Check(ctx context.Context, addr string) error { return f(ctx, addr) }

// An Observer is a Checker that also wants to hear about changes of state.
// A Monitor calls Observe after the thresholds have been applied, never for a
// single probe, one call at a time and in order. Checks wait for it.
type Observer interface {
	Checker
	Observe(addr string, healthy bool)
}

// ErrInconclusive is wrapped by the error of a check that says nothing about
// the backend: this side could not even try, for want of descriptors, say.
// Such a check leaves the state and the counters as they are, so that a
// shortage here does not take every backend out.
var ErrInconclusive = errors.New("check inconclusive")

// safeCheck calls c.Check. A panic there is the failure of that check.
func safeCheck(ctx context.Context, c Checker, addr string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("check panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return c.Check(ctx, addr)
}
