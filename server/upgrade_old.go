// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"time"

	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upgrade"
)

// idlePatience is how long idle connections of a process that has been replaced
// may stay for one more request. Clients that use a connection at all mostly use
// it again within that time, and so none of their requests meets its end.
const idlePatience = 15 * time.Second

// startUpgrade is the order to hand over to a new process.
func (r *run) startUpgrade() {
	u := &r.upgrade
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.replaced:
		r.log.Info("SIGQUIT has no effect: this process has handed over already")
	case u.closed || r.orders.stop.Err() != nil:
		r.log.Info("SIGQUIT has no effect: this process is ending")
	case !r.isRunning():
		r.log.Warn("SIGQUIT has no effect: this process is still starting")
	case u.under:
		r.log.Error("SIGQUIT refused: an upgrade is under way")
	case r.pid == 1:
		r.log.Error("SIGQUIT refused: this is process 1, with which its container ends. Replace the container; SIGTERM ends this process")
	case len(r.allListeners()) == 0:
		r.log.Info("there are no listeners to hand over; shutting down")
		r.orders.hurry(graceful)
	default:
		u.under = true
		u.work.Go(r.handOver)
	}
}

// isRunning reports whether all services are ready.
func (r *run) isRunning() bool {
	select {
	case <-r.ready:
		return true
	default:
		return false
	}
}

// allListeners returns the listeners of all services.
func (r *run) allListeners() []*listener.Listener {
	var all []*listener.Listener
	for _, v := range r.services {
		all = append(all, v.bound()...)
	}
	return all
}

// handOver hands the listeners to the process that replaces this one. If that
// does not work, nothing has happened.
func (r *run) handOver() {
	r.phase(PhaseUpgrading)
	listeners := r.allListeners()
	s, err := r.tryHandOver(listeners)
	u := &r.upgrade
	u.mu.Lock()
	defer u.mu.Unlock()
	u.under = false
	switch {
	case err == nil:
		u.replaced = true
		adminTaken := r.host.admin != nil && s.Taken[len(listeners)]
		r.host.adminTaken.Store(adminTaken)
		r.host.supersede()
		for i, l := range listeners {
			if s.Taken[i] {
				l.SetShared(true)
			}
		}
		if adminTaken {
			r.host.admin.disown()
		}
		r.log.Info("a new process has taken over; finishing what is in hand", "pid", s.PID, "program", s.Program)
		r.orders.hurry(replaced)
	case r.orders.stop.Err() != nil:
		r.log.Warn("upgrade given up: this process is ending", "err", err)
	case errors.Is(err, upgrade.ErrNobody):
		r.log.Error("no upgrade: no new process appeared in time; this one serves on. "+
			"Start the new one with --upgrade a few seconds before or after SIGQUIT, with the same upgrade_sock", "err", err)
		r.phase(PhaseRunning)
	default:
		r.host.remain()
		r.log.Error("upgrade failed; this process serves on", "err", err)
		r.phase(PhaseRunning)
	}
}

// tryHandOver hands listeners and state over.
func (r *run) tryHandOver(listeners []*listener.Listener) (*upgrade.Successor, error) {
	cfg, err := r.upgradeConfig()
	if err != nil {
		return nil, err
	}
	var cargo upgrade.Cargo
	defer func() { cargo.Close() }()
	return upgrade.HandOver(r.orders.stop, cfg, func() (upgrade.Cargo, error) {
		cargo, err = r.cargo(listeners)
		return cargo, err
	})
}

// cargo puts together what there is to hand over. The files of what it returns
// are to be closed after an error, too.
func (r *run) cargo(listeners []*listener.Listener) (c upgrade.Cargo, err error) {
	for _, l := range listeners {
		f, err := l.File()
		if err != nil {
			return c, err
		}
		c.Sockets = append(c.Sockets, upgrade.Socket{Name: l.Name(), Addr: l.ConfiguredAddr(), File: f, Shared: l.Shared()})
	}
	admin, ok, err := r.adminSocket()
	if err != nil {
		return c, err
	} else if ok {
		c.Sockets = append(c.Sockets, admin) // the last
	}
	c.State = r.saveStates() // as late as can be
	return c, nil
}

// retire lets the connections of v end at a moment when that hurts nobody, if
// another process accepts in place of this one. It returns when all are gone,
// those of other services, too, because they may have the same handler; when ctx
// ends; or on the order to finish.
func (r *run) retire(ctx context.Context, v *Service) {
	r.upgrade.mu.Lock()
	replaced := r.upgrade.replaced
	r.upgrade.mu.Unlock()
	h, ok := v.handler.(Retirer)
	if !ok || !replaced {
		return
	}
	h.Retire(idlePatience)
	gone := make(chan struct{})
	go func() { // ends with the connections, as endHandlers does
		for _, l := range r.allListeners() {
			l.Wait()
		}
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	case <-r.orders.finish.Done():
	}
}
