// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/belay-proxy/belay/internal/sdnotify"
)

// progressEvery is the time between two lines in the log that say how far a
// shutdown has come.
const progressEvery = 5 * time.Second

// lastMoment is what the order to wait for nothing leaves to that which is about
// to end already, so that it is no failure.
const lastMoment = 100 * time.Millisecond

// shutdown ends all services: first the listeners, then their connections,
// then what works in the background. It returns why the server did not start,
// if it did not, and what could not be ended.
func (r *run) shutdown() error {
	began := time.Now()
	r.mu.Lock()
	startErr := errors.Join(r.failures...)
	r.mu.Unlock()
	r.settleUpgrade(startErr)
	r.closeListeners()
	r.starting.Wait()
	r.accepting.Wait()
	connErr := r.drain()
	r.phase(PhaseClosing)
	backErr := r.endBackground()
	r.mu.Lock()
	defer r.mu.Unlock()
	err := errors.Join(append(slices.Clone(r.failures), connErr, backErr)...)
	if err == nil {
		r.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// closeListeners closes all listeners.
func (r *run) closeListeners() {
	for _, v := range r.services {
		for _, l := range v.bound() {
			if err := l.Close(); err != nil {
				r.log.Warn("listener was not closed cleanly", "service", v.name, "err", err)
			}
		}
	}
}

// drain ends the connections: those with exchanges in hand when these are
// done, or when the grace period is over, or on the order to be fast.
func (r *run) drain() error {
	ctx, cancel := context.WithCancel(r.orders.fast)
	defer cancel()
	if grace := r.Settings().GracePeriod; grace > 0 {
		ctx, cancel = context.WithTimeout(ctx, grace)
		defer cancel()
		end, _ := ctx.Deadline()
		r.drainEnd.Store(&end)
	} else {
		cancel()
	}
	if ctx.Err() != nil {
		r.phase(PhaseClosing)
	} else {
		r.phase(PhaseDraining)
		r.log.Info(r.progress())
	}
	r.host.draining()
	done := make(chan struct{})
	go func() { // ends when all handlers have, which await checks
		r.endHandlers(ctx)
		close(done)
	}()
	if r.await(ctx, done, r.progress) {
		return nil
	}
	return fmt.Errorf("%d connections are still being served after shutdown", r.openConns())
}

// endHandlers shuts all handlers down and waits for the last connection.
func (r *run) endHandlers(ctx context.Context) {
	var handlers sync.WaitGroup
	for _, v := range r.services {
		if v.handler == nil {
			continue
		}
		handlers.Go(func() {
			r.retire(ctx, v)
			err := v.handler.Shutdown(ctx)
			if err != nil && ctx.Err() == nil {
				r.log.Error("handler did not shut down cleanly", "service", v.name, "err", err)
			}
		})
	}
	handlers.Wait()
	for _, v := range r.services {
		for _, l := range v.bound() {
			l.Wait()
		}
	}
}

// openConns returns how many connections are being served.
func (r *run) openConns() int {
	n := 0
	for _, v := range r.services {
		for _, l := range v.bound() {
			n += l.Active()
		}
	}
	return n
}

// progress says how far the end of the connections has come, for example
// "draining: 12 connections, 3 requests, 41 s left".
func (r *run) progress() string {
	if d := r.drainProgress(); d != nil {
		return d.String()
	}
	return fmt.Sprintf("closing: %d connections", r.openConns())
}

// endBackground tells the background services to end, and waits for them and
// for all that has been started with them.
func (r *run) endBackground() error {
	r.cancelBackground()
	done := make(chan struct{})
	go func() { // ends when all services have, which await checks
		r.work.Wait()
		close(done)
	}()
	if r.await(r.background, done, func() string { return "waiting for background services to end" }) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for v := range r.running {
		names = append(names, v.name)
	}
	slices.Sort(names)
	return fmt.Errorf("background services still run after shutdown: %q", names)
}

// await waits until done is closed, and logs progress now and then. Once
// ctx has ended, it waits no longer than GracefulShutdownTimeout, and after the
// order to wait for nothing no longer than lastMoment. It reports whether done is
// closed.
func (r *run) await(ctx context.Context, done <-chan struct{}, progress func() string) bool {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	ended := ctx.Done()
	var late <-chan time.Time
	var left <-chan struct{}
	for {
		select {
		case <-done:
			return true
		case <-ended:
			ended, left = nil, r.orders.leave.Done()
			if n := r.openConns(); n > 0 {
				r.log.Warn("connections are closed with exchanges in hand", "connections", n)
			}
			if limit := r.Settings().GracefulShutdownTimeout; limit > 0 {
				t := time.NewTimer(limit)
				defer t.Stop()
				late = t.C
			}
		case <-left:
			left, late = nil, time.After(lastMoment)
		case <-late:
			return false
		case <-ticker.C:
			text := progress()
			r.log.Info(text)
			r.host.tell(func(n *sdnotify.Notifier) error { return n.Status(text) })
		}
	}
}
