// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"sync"
	"time"
)

// loop is the part of a Monitor that lives as long as one Run. Its own fields
// belong to Run's goroutine.
type loop struct {
	m       *Monitor
	checks  sync.WaitGroup // a goroutine per check in flight
	results chan result

	inFlight int // checks started and not yet taken from results
	failing  int // of these, how many hold a slot for failing targets
}

// result is the outcome of one check.
type result struct {
	t              *target
	failing        bool // the check holds a slot for failing targets
	started, ended time.Time
	err            error
}

// errGone is the result of a Checker that left by runtime.Goexit.
var errGone = errors.New("check ended its goroutine")

func newLoop(m *Monitor) *loop {
	return &loop{m: m, results: make(chan result)}
}

// run is Monitor.Run: one select that owns the state of all checks.
func (l *loop) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer l.checks.Wait()
	defer cancel()
	l.requeueAll()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return
		}
		next := l.startDue(ctx)
		timer.Stop()
		if next >= 0 {
			timer.Reset(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.m.wake:
		case <-timer.C:
		case r := <-l.results:
			results := l.gather(r)
			if ctx.Err() != nil {
				return // they may have failed for that reason only
			}
			l.finish(results)
		}
	}
}

// requeueAll makes every target due now: the first round of a Run. A target
// may have been left without a place by an earlier Run.
func (l *loop) requeueAll() {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passing, m.failing = nil, nil
	now := time.Now()
	for _, t := range m.targets {
		t.cancel, t.due = nil, now
		m.queueOf(t).push(t)
	}
}

// startDue starts the checks that are due, as far as there are slots, and
// returns the time until the next is due, or -1 if there is none to wait for:
// then a result or a new target comes first.
func (l *loop) startDue(ctx context.Context) time.Duration {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reportRoundLocked()
	for {
		q := l.nextLocked()
		if q == nil {
			return -1
		}
		t := (*q)[0]
		if wait := time.Until(t.due); wait > 0 {
			return wait
		}
		q.remove(t)
		l.startLocked(ctx, t)
	}
}

// nextLocked returns the queue whose first target is to be checked next, or
// nil if there is none for which a slot is free.
func (l *loop) nextLocked() *queue {
	all, failing := l.m.cfg.slots()
	p, f := &l.m.passing, &l.m.failing
	switch {
	case l.inFlight >= all || len(*p)+len(*f) == 0:
		return nil
	case len(*f) == 0 || l.failing >= failing:
		if len(*p) == 0 {
			return nil
		}
		return p
	case len(*p) == 0 || (*f)[0].due.Before((*p)[0].due):
		return f
	}
	return p
}

// startLocked starts a check of t. Its goroutine ends with Checker.Check,
// which ctx ends at the latest; run waits for it.
func (l *loop) startLocked(ctx context.Context, t *target) {
	failing := t.failing()
	l.inFlight++
	if failing {
		l.failing++
	}
	var cancel context.CancelFunc
	checkCtx := ctx
	if timeout := l.m.cfg.Timeout; timeout > 0 {
		checkCtx, cancel = context.WithTimeout(ctx, timeout)
	} else {
		checkCtx, cancel = context.WithCancel(ctx)
	}
	t.cancel = cancel
	r := result{t: t, failing: failing, started: time.Now(), err: errGone}
	l.checks.Go(func() {
		defer func() {
			cancel()
			r.ended = time.Now()
			select {
			case l.results <- r:
			case <-ctx.Done(): // Run ends and takes no more results
			}
		}()
		r.err = safeCheck(checkCtx, l.m.checker, t.addr)
	})
}

// gather returns r and the results that are waiting behind it, so that
// changes that come together are reported together.
func (l *loop) gather(r result) []result {
	results := []result{r}
	for {
		select {
		case r := <-l.results:
			results = append(results, r)
		default:
			return results
		}
	}
}

// finish records results, plans the next checks and reports what has changed.
// The next startDue announces a round that is complete by this.
func (l *loop) finish(results []result) {
	m := l.m
	changes := l.record(results)
	if len(changes) > 0 && m.onChange != nil {
		m.onChange(changes)
	}
	if m.observe != nil {
		for _, c := range changes {
			m.observe(c.Addr, c.Healthy)
		}
	}
}

// record notes results in their targets and puts these back in the queue. It
// returns the changes of state.
func (l *loop) record(results []result) []Change {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	var changes []Change
	for _, r := range results {
		l.inFlight--
		if r.failing {
			l.failing--
		}
		t := r.t
		t.cancel = nil
		if t.removed {
			continue
		}
		if t.status.Checked.IsZero() {
			m.unchecked--
		}
		if t.record(r, m.cfg) {
			changes = append(changes, Change{Addr: t.addr, Healthy: t.status.Healthy, Err: r.err})
		}
		if delay := m.cfg.delay(t.status.Healthy); delay >= 0 {
			t.due = r.started.Add(delay)
			m.queueOf(t).push(t)
		}
	}
	return changes
}
