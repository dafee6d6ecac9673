// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/belay-proxy/belay/discovery"
	"github.com/belay-proxy/belay/health"
)

const (
	firstRetry     = time.Second // after a failed discovery; doubles
	maxRetry       = 30 * time.Second
	updateJitter   = 0.1
	errorLogPeriod = time.Minute // between warnings about failing discoveries
)

// errRunning is the error of a second Run.
var errRunning = errors.New("balancer: Balancer is running already")

// Run is the background service: it runs the first discovery, then further
// ones and the health checks at their intervals, until ctx ends. It then waits
// for its goroutines and returns nil. Only one Run can be active: another
// returns an error.
//
// Discovery and health checks do not wait for each other.
func (b *Balancer) Run(ctx context.Context) error {
	if !b.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer b.running.Store(false)

	noteCtx, endNotes := context.WithCancel(context.WithoutCancel(ctx))
	var notes, work sync.WaitGroup
	notes.Go(func() { b.deliverNotes(noteCtx) })
	if b.monitor != nil {
		work.Go(func() { _ = b.monitor.Run(ctx) }) // fails only if it runs already
	}
	b.updateLoop(ctx)
	work.Wait()
	endNotes() // nothing can add notes now; those that are there are delivered
	notes.Wait()
	return nil
}

// Ready returns a channel that is closed once Run has a first set of backends:
// at once without Config.Discovery, otherwise after the first discovery that
// succeeds. With Config.ReadyAfterChecks it also waits for the first checks.
func (b *Balancer) Ready() <-chan struct{} { return b.ready }

// updateLoop keeps the set up to date, until ctx ends.
func (b *Balancer) updateLoop(ctx context.Context) {
	var checks sync.WaitGroup
	defer checks.Wait()
	if b.cfg.Discovery == nil {
		checks.Go(func() { b.signalReady(ctx) })
		<-ctx.Done()
		return
	}
	watcher, _ := b.cfg.Discovery.(discovery.Watcher)
	log := errorLog{logger: b.cfg.Logger}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failures, signalled := 0, false; ctx.Err() == nil; {
		var changed <-chan struct{} // blocks for ever if nil
		if watcher != nil {
			changed = watcher.Changed()
		}
		err := b.Update(ctx)
		if ctx.Err() != nil {
			return
		}
		log.record(err)
		failures++
		if err == nil {
			failures = 0
			if !signalled {
				signalled = true
				checks.Go(func() { b.signalReady(ctx) })
			}
		}
		timer.Stop()
		if delay := b.cfg.updateDelay(failures); delay >= 0 {
			timer.Reset(delay)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
	}
}

// signalReady closes Ready when everything it stands for has happened. It ends
// with ctx at the latest.
func (b *Balancer) signalReady(ctx context.Context) {
	if b.cfg.ReadyAfterChecks {
		select {
		case <-b.monitor.Checked():
		case <-ctx.Done():
			return
		}
	}
	b.readied.Do(func() { close(b.ready) })
}

// updateDelay returns the time from the end of a discovery to the next, after
// so many failures in a row. It is negative if there is no next.
func (c Config) updateDelay(failures int) time.Duration {
	d := c.UpdateInterval
	if failures > 0 {
		longest := d
		if d < 0 {
			longest = maxRetry
		}
		d = min(firstRetry<<min(failures-1, 16), longest)
	}
	if d < 0 {
		return d
	}
	return d + time.Duration(float64(d)*updateJitter*(2*rand.Float64()-1))
}

// discover asks Config.Discovery once.
func (b *Balancer) discover(ctx context.Context) (members []member, err error) {
	if b.cfg.UpdateTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.cfg.UpdateTimeout)
		defer cancel()
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("balancer: discovery panicked: %v\n%s", r, debug.Stack())
		}
	}()
	targets, err := b.cfg.Discovery.Discover(ctx)
	if err != nil {
		return nil, fmt.Errorf("discover backends: %w", err)
	}
	return fromTargets(targets), nil
}

// healthChanged is the Monitor's callback: it makes requests see the changes,
// then passes them on.
func (b *Balancer) healthChanged(changes []health.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	index := byAddr(b.members)
	var known []note
	for _, c := range changes {
		if i, ok := index[c.Addr]; ok { // otherwise it has left the set meanwhile
			known = append(known, note{backend: b.members[i].Backend, healthy: c.Healthy, err: c.Err})
		}
	}
	if len(known) == 0 {
		return
	}
	b.publishLocked()
	b.notes.add(known)
}
