// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Config says how often and how strictly a Monitor checks. The zero Config is
// ready to use.
type Config struct {
	// Interval is the time from the start of one check of a backend to the
	// start of the next. Checks of one backend never overlap: after a check
	// that took longer, the next follows at once. Zero means 1 second;
	// negative means that each address is checked only once, when it is new.
	// At least 1 millisecond.
	Interval time.Duration

	// UnhealthyInterval takes the place of Interval while a backend is
	// unhealthy. Zero means Interval. At least 1 millisecond.
	UnhealthyInterval time.Duration

	// Timeout bounds one check. Zero means 1 second; negative means no
	// limit but the Checker's own.
	Timeout time.Duration

	// ConsecutiveSuccess is how many checks in a row must pass for an
	// unhealthy backend to become healthy. Zero means 1.
	ConsecutiveSuccess int

	// ConsecutiveFailure is how many checks in a row must fail for a healthy
	// backend to become unhealthy. Zero means 1.
	ConsecutiveFailure int

	// Jitter spreads the checks: each interval is longer or shorter by a
	// random part of it, up to this fraction. Zero means 0.1, that is 10 %;
	// negative means none. At most 0.5.
	Jitter float64

	// MaxParallel bounds the checks in flight. Backends whose last check
	// failed can hold at most half of these slots (at least one), so that however
	// many of them hang until Timeout, the others are checked in time. When
	// there are too few slots, the check that was due first goes first. Zero
	// means 256; negative means no limit.
	MaxParallel int
}

// The least interval that Validate accepts, and the most jitter.
const (
	minInterval = time.Millisecond
	maxJitter   = 0.5
)

// Validate returns every problem with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("health: "+format, args...)) }
	if c.Interval > 0 && c.Interval < minInterval {
		bad("Interval is %v, want at least %v", c.Interval, minInterval)
	}
	if c.UnhealthyInterval != 0 && c.UnhealthyInterval < minInterval {
		bad("UnhealthyInterval is %v, want at least %v", c.UnhealthyInterval, minInterval)
	}
	if c.ConsecutiveSuccess < 0 {
		bad("ConsecutiveSuccess is %d, want at least 1", c.ConsecutiveSuccess)
	}
	if c.ConsecutiveFailure < 0 {
		bad("ConsecutiveFailure is %d, want at least 1", c.ConsecutiveFailure)
	}
	if !(c.Jitter <= maxJitter) { // also refuses NaN
		bad("Jitter is %v, want at most %v", c.Jitter, maxJitter)
	}
	return errors.Join(errs...)
}

// withDefaults returns c with every zero field replaced by its default.
func (c Config) withDefaults() Config {
	c.Interval = cmp.Or(c.Interval, time.Second)
	c.UnhealthyInterval = cmp.Or(c.UnhealthyInterval, c.Interval)
	c.Timeout = cmp.Or(c.Timeout, time.Second)
	c.ConsecutiveSuccess = cmp.Or(c.ConsecutiveSuccess, 1)
	c.ConsecutiveFailure = cmp.Or(c.ConsecutiveFailure, 1)
	c.Jitter = cmp.Or(c.Jitter, 0.1)
	c.MaxParallel = cmp.Or(c.MaxParallel, 256)
	return c
}

// delay returns the time from the start of a check to the start of the next,
// for a backend in the given state. It is negative if there is no next.
func (c Config) delay(healthy bool) time.Duration {
	d := c.Interval
	if !healthy {
		d = c.UnhealthyInterval
	}
	if d < 0 || c.Jitter < 0 {
		return d
	}
	return d + time.Duration(float64(d)*c.Jitter*(2*rand.Float64()-1))
}
