// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/listener"
)

// A run is one call of Server.Run.
type run struct {
	*Server
	services []*Service // in start order
	host     *host
	orders   *orders
	log      *slog.Logger

	upgrade          upgradeState
	drainEnd         atomic.Pointer[time.Time] // of the grace period; nil: not draining, or no limit
	background       context.Context           // of background services
	cancelBackground context.CancelFunc
	work             sync.WaitGroup // background services
	starting         sync.WaitGroup // listening services until they accept
	accepting        sync.WaitGroup // accept loops

	mu       sync.Mutex
	running  map[*Service]bool // background services; guarded by mu
	failures []error           // of services that had to become ready; guarded by mu
	failed   chan struct{}     // closed at the first
}

func newRun(ctx context.Context, s *Server, services []*Service, h *host) *run {
	r := &run{
		Server: s, services: services, host: h, log: s.log,
		failed: make(chan struct{}), running: make(map[*Service]bool),
	}
	r.upgrade.confirmed = make(chan struct{})
	r.orders = newOrders(ctx, s.log, s.cfg.Signals, r.startUpgrade)
	r.orders.others = map[os.Signal]func(){syscall.SIGHUP: h.reloadBySignal, syscall.SIGUSR1: h.reopenLogs}
	r.orders.begin()
	r.background, r.cancelBackground = context.WithCancel(context.WithoutCancel(ctx))
	return r
}

// end frees what newRun has made.
func (r *run) end() {
	r.cancelBackground()
	r.connector.Close()
	r.orders.end()
}

// run starts the services, waits for the order to stop, and ends them.
func (r *run) run() error {
	defer r.phase(PhaseEnded)
	r.phase(PhaseStarting)
	err := r.bind()
	if err == nil {
		err = r.host.occupy(r)
	}
	if err != nil {
		r.phase(PhaseClosing)
		r.settleUpgrade(err)
		r.closeListeners()
		if r.orders.stop.Err() != nil {
			return nil // it has been told to stop while it was waiting for an address
		}
		return err
	}
	for _, v := range r.services {
		if v.background != nil {
			r.work.Go(func() { r.runBackground(v) })
		} else {
			r.starting.Go(func() { r.accept(v) })
		}
	}
	r.wait()
	return r.shutdown()
}

// bind binds all listeners, or takes their sockets over from the process that
// this one replaces. The error lists all that could not be bound.
func (r *run) bind() error {
	var in listener.Inherited
	if err := r.takeOver(&in); err != nil {
		return err
	}
	if err := r.host.activate(&in); err != nil {
		in.Close()
		return err
	}
	var errs []error
	for _, v := range r.services {
		for _, c := range v.configs {
			l, number, err := in.Listen(r.orders.stop, c)
			if err != nil {
				errs = append(errs, fmt.Errorf("service %q: %w", v.name, err))
				continue
			}
			v.mu.Lock()
			v.listeners = append(v.listeners, l)
			v.mu.Unlock()
			if err := r.noteInherited(l, number); err != nil {
				errs = append(errs, fmt.Errorf("service %q: %w", v.name, err))
			}
		}
	}
	errs = append(errs, r.takeAdmin(&in))
	if left := in.Close(); len(left) > 0 {
		r.log.Info("listeners of the old process are not in the configuration any more", "listeners", left)
	}
	return errors.Join(errs...)
}

// accept starts the accept loops of v when what it depends on is ready. Those on
// sockets of the process that this one replaces wait until it has.
func (r *run) accept(v *Service) {
	if !r.waitFor(v) || !r.waitForAll(v) {
		return
	}
	for _, l := range v.bound() {
		r.accepting.Go(func() {
			if r.isOurs(l) {
				l.ServeOrPark(func(c net.Conn, ended func()) { r.serveConn(v, c, ended) })
			}
		})
		r.log.Info("listening", "service", v.name, "addr", l.Addr().String())
	}
	v.setReady()
}

// waitFor waits until everything v depends on is ready. It returns false if
// the server is to stop before that.
func (r *run) waitFor(v *Service) bool {
	began := time.Now()
	waited := false
	for _, d := range v.deps {
		select {
		case <-d.ready:
			continue
		default:
		}
		waited = true
		r.log.Info("service waits", "service", v.name, "for", d.name)
		select {
		case <-d.ready:
		case <-r.orders.stop.Done():
			return false
		}
	}
	if waited {
		r.log.Info("service starts", "service", v.name, "waited", time.Since(began).Round(time.Millisecond))
	}
	return r.orders.stop.Err() == nil
}

// serveConn has the handler of v serve c. A handler that panics costs only its
// connection.
func (r *run) serveConn(v *Service, c net.Conn, ended func()) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("handler panicked", "service", v.name, "panic", p, "stack", string(debug.Stack()))
			c.Close()
		}
	}()
	if parker, ok := v.handler.(listener.Parker); ok {
		parker.ServeOrPark(c, ended)
		return
	}
	defer ended()
	v.handler.ServeConn(c)
}

// runBackground runs a background service, when what it depends on is ready,
// until its end.
func (r *run) runBackground(v *Service) {
	if !r.waitFor(v) {
		return
	}
	r.setRunning(v, true)
	defer r.setRunning(v, false)

	ended := make(chan struct{})
	if b, ok := v.background.(Readier); ok {
		r.work.Go(func() {
			select {
			case <-b.Ready():
				v.setReady()
			case <-ended:
			}
		})
	} else {
		v.setReady()
	}
	r.log.Debug("background service started", "service", v.name)
	err := r.callRun(v)
	wasReady := isReady(v)
	close(ended)
	if wasReady || err == nil {
		v.setReady()
	}
	switch {
	case r.background.Err() != nil:
		if err != nil && !errors.Is(err, context.Canceled) {
			r.log.Warn("background service ended with an error", "service", v.name, "err", err)
		}
	case err == nil:
		r.log.Info("background service has ended", "service", v.name)
	case wasReady:
		r.log.Error("background service failed; the server goes on without it", "service", v.name, "err", err)
	default:
		r.fail(fmt.Errorf("service %q: %w", v.name, err))
	}
}

// callRun calls Run of a background service and makes a panic an error.
func (r *run) callRun(v *Service) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("background service panicked", "service", v.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return v.background.Run(r.background)
}

// isReady reports whether v has become ready, known to others or not.
func isReady(v *Service) bool {
	b, ok := v.background.(Readier)
	if !ok {
		return true
	}
	select {
	case <-b.Ready():
		return true
	default:
		return false
	}
}

// setRunning notes that a background service runs, or no longer does.
func (r *run) setRunning(v *Service, running bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if running {
		r.running[v] = true
	} else {
		delete(r.running, v)
	}
}

// fail notes that a service could not be started.
func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failures = append(r.failures, err); len(r.failures) == 1 {
		close(r.failed)
	}
}

// wait returns when the server is to stop: because it has been told to, or
// because a service could not be started.
func (r *run) wait() {
	for _, v := range r.services {
		select {
		case <-v.ready:
		case <-r.orders.stop.Done():
			return
		case <-r.failed:
			r.orders.stopAll("a service could not be started")
			return
		}
	}
	if err := r.confirm(); err != nil {
		r.fail(err)
		r.orders.hurry(graceful)
		return
	}
	r.log.Info("running", "services", len(r.services))
	r.phaseAfter(r.ready, PhaseRunning)
	r.host.ready()
	<-r.orders.stop.Done()
}
