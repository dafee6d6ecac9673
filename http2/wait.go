// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/internal/netio"
)

// errTimeout is returned when a wait took longer than it may.
var errTimeout = errors.New("http2: timeout")

// A Watcher is asked now and then, while a stream waits for its peer, whether
// the wait still makes sense. Its error ends the wait, but for
// http1.ErrStillSending, which says that the peer has no reason yet to send
// anything: the time that the wait may take begins anew.
type Watcher = http1.Watcher

// The time between two looks at the Watcher.
const (
	firstTick = 100 * time.Millisecond
	lastTick  = time.Second
)

// A waiter bounds the waits of a stream in one direction. One goroutine at a
// time may use it.
type waiter struct {
	limit time.Duration // zero and negative mean no bound
	watch Watcher       // may be nil
	timer *time.Timer   // made when it is first needed

	// For writes: how long the peer has kept us waiting beyond what the bytes
	// that it has taken allow. It shortens each wait.
	owed    time.Duration
	anyRate bool // whatever the peer takes will do

	// For reads: the pace of the peer.
	pace    netio.Pace
	lenient atomic.Bool // it does not count any more; set from any goroutine
}

// paced reports whether there is a pace to keep.
func (w *waiter) paced() bool { return w.pace.Active() && !w.lenient.Load() }

// minRate is what a peer has to take of what we send, in bytes per second.
const minRate = 240

// took notes that the peer has taken n bytes in the time d.
func (w *waiter) took(n int, d time.Duration) {
	if w.owed == 0 && d == 0 {
		return
	}
	if w.anyRate && n > 0 {
		w.owed = 0
		return
	}
	w.owed = max(w.owed+d-time.Duration(n)*time.Second/minRate, 0)
}

// wait waits for ch.
func (w *waiter) wait(ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	default:
	}
	start := time.Now()
	tick := firstTick
	for {
		due := time.Hour
		if w.limit > 0 {
			due = w.limit - w.owed - time.Since(start)
			if due <= 0 {
				return errTimeout
			}
		}
		if w.watch != nil {
			due = min(due, tick)
		}
		if w.timer == nil {
			w.timer = time.NewTimer(due)
		} else {
			w.timer.Reset(due)
		}
		select {
		case <-ch:
			w.timer.Stop()
			return nil
		case <-w.timer.C:
		}
		if w.watch != nil {
			switch err := w.watch.WhileWaiting(); err {
			case nil:
			case http1.ErrStillSending:
				start = time.Now()
			default:
				return err
			}
			tick = min(2*tick, lastTick)
		}
	}
}

// A stopwatch adds up the times in which something is so.
type stopwatch struct {
	since time.Time // zero if it is not so now
	sum   time.Duration
}

// run says whether it is so from now on.
func (w *stopwatch) run(on bool) {
	switch {
	case on && w.since.IsZero():
		w.since = time.Now()
	case !on && !w.since.IsZero():
		w.sum, w.since = w.total(), time.Time{}
	}
}

// total returns the sum of all these times so far.
func (w *stopwatch) total() time.Duration {
	if w.since.IsZero() {
		return w.sum
	}
	return w.sum + time.Since(w.since)
}

// signal lets the goroutine that waits for ch, or is about to, go on.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// drain takes back a signal that nobody has waited for.
func drain(ch chan struct{}) {
	if len(ch) > 0 {
		<-ch
	}
}
