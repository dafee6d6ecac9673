// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"fmt"
	"os"
	"time"
)

// ErrTooSlow ends a wait for a peer that has fallen behind its Pace. It is a
// timeout.
var ErrTooSlow = fmt.Errorf("slower than the minimum rate: %w", os.ErrDeadlineExceeded)

// paceCredit is how long a peer may be waited for at most, whatever it has
// moved before.
const paceCredit = time.Minute

// A Pace holds a peer to an average rate, which a bound on each wait alone
// does not: a byte now and then would keep a connection for ever. Waiting uses
// up credit, and each byte that moves earns some. Only the time that is spent
// waiting for the peer counts. The zero Pace lets everything pass.
type Pace struct {
	rate   int64         // bytes per second; 0 means any
	credit time.Duration // how long the peer may be waited for
	moved  int64         // bytes that have not been added to credit
}

// maxRate is the highest rate that a Pace can hold, in bytes per second.
const maxRate = 1 << 27

// NewPace returns a Pace of rate bytes per second, at most maxRate, that begins
// with a credit of grace. A rate of zero or less means any.
func NewPace(rate int, grace time.Duration) Pace {
	return Pace{rate: int64(min(max(rate, 0), maxRate)), credit: grace}
}

// Active reports whether there is a rate to hold.
func (p *Pace) Active() bool { return p.rate > 0 }

// Moved adds n bytes.
func (p *Pace) Moved(n int) { p.moved += int64(n) }

// Waited takes off the duration of a wait.
func (p *Pace) Waited(d time.Duration) {
	p.settle()
	p.credit -= d
}

// MayWait reports whether there is credit for another wait.
func (p *Pace) MayWait() bool {
	p.settle()
	return p.rate == 0 || p.credit >= 0
}

// settle turns the bytes that have moved into credit.
func (p *Pace) settle() {
	if p.moved == 0 || p.rate == 0 {
		return
	}
	whole, rest := min(p.moved/p.rate, 1e9), p.moved%p.rate // no more than Duration holds
	earned := time.Duration(whole)*time.Second + time.Duration(rest)*time.Second/time.Duration(p.rate)
	p.credit = min(p.credit+earned, paceCredit)
	p.moved = 0
}
