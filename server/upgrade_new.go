// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"

	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upgrade"
)

// takeOver receives sockets and state from the process that this one replaces,
// if the options ask for it, and adds the sockets to in.
func (r *run) takeOver(in *listener.Inherited) error {
	u := &r.upgrade
	if r.settings.User != "" {
		_, _ = r.upgradePath() // while it can be found; an error shows when it is needed
	}
	if !r.cfg.Options.Upgrade {
		return nil
	}
	cfg, err := r.upgradeConfig()
	if err != nil {
		return err
	}
	r.log.Info("waiting for the running process to hand over; it does on SIGQUIT", "socket", cfg.Path)
	p, err := upgrade.TakeOver(r.orders.stop, cfg)
	if errors.Is(err, upgrade.ErrNobody) {
		err = fmt.Errorf("%w (it hands over when it gets SIGQUIT, and must have the same upgrade_sock)", err)
	}
	if err != nil {
		return err
	}
	u.predecessor = p
	u.inherited = make(map[*listener.Listener]int)
	u.first = in.Len()
	r.log.Info("taking over", "pid", p.PID, "program", p.Program, "sockets", len(p.Cargo.Sockets))
	for i, s := range p.Cargo.Sockets {
		add := in.Add
		if s.Shared {
			add = in.AddManaged
		}
		if err := add(s.Name, s.Addr, s.File); err != nil {
			r.log.Warn("a socket of the old process cannot be used here", "listener", s.Name, "err", err)
			continue
		}
		u.numbers = append(u.numbers, i)
	}
	r.restoreStates(p.Cargo.State)
	return nil
}

// noteInherited remembers that l has the socket with a number in the order of
// listener.Inherited, or that it has a new one if that is -1. A socket of the
// service manager gets its options now, one of the old process when that has
// been replaced.
func (r *run) noteInherited(l *listener.Listener, number int) error {
	if n := r.cargoNumber(number); n >= 0 {
		r.upgrade.inherited[l] = n
		return nil
	}
	return l.Apply()
}

// cargoNumber returns the number that a socket has in the cargo of the old
// process, from that in listener.Inherited; -1 if it is not from there.
func (r *run) cargoNumber(number int) int {
	u := &r.upgrade
	if i := number - u.first; number >= 0 && i >= 0 && i < len(u.numbers) {
		return u.numbers[i]
	}
	return -1
}

// isOurs waits, if l has a socket of the process that this one replaces, until
// that is decided: until then the other one accepts there alone, for what a
// process accepts that fails or dies is lost. Clients notice nothing, because
// the other one stops only when this one has begun. isOurs returns false if the
// server is to stop before that.
func (r *run) isOurs(l *listener.Listener) bool {
	if _, inherited := r.upgrade.inherited[l]; !inherited {
		return true
	}
	select {
	case <-r.upgrade.confirmed:
		return true
	case <-r.orders.stop.Done():
	}
	select {
	case <-r.upgrade.confirmed: // both; there is a backlog to be served
		return true
	default:
		return false
	}
}

// waitForAll waits, when this process is about to replace another, until all
// services could start, as far as they do not wait for v or its like in turn. So
// all new listeners begin to accept together, just before the old process is
// told to stop. It returns false if the server is to stop before that.
func (r *run) waitForAll(v *Service) bool {
	close(v.canAccept)
	if !r.cfg.Options.Upgrade {
		return true
	}
	for _, s := range r.services {
		ch := s.ready
		if s.handler != nil {
			ch = s.canAccept
		}
		if s.waitsForListeners() {
			continue
		}
		select {
		case <-ch:
		case <-r.orders.stop.Done():
			return false
		}
	}
	return r.orders.stop.Err() == nil
}

// waitsForListeners reports whether v depends on a service with listeners,
// directly or not.
func (v *Service) waitsForListeners() bool {
	for _, d := range v.deps {
		if d.handler != nil || d.waitsForListeners() {
			return true
		}
	}
	return false
}

// confirm ends the upgrade by which this process replaces another: from then
// on the sockets are its own. There may be none, then there is nothing to do.
func (r *run) confirm() error {
	u := &r.upgrade
	p := u.predecessor
	if p == nil {
		return nil
	}
	u.predecessor = nil
	var taken []int
	for _, number := range u.inherited {
		taken = append(taken, number)
	}
	if u.admin >= 0 {
		taken = append(taken, u.admin)
	}
	if err := p.Confirm(r.orders.stop, taken, r.host.succeed); err != nil {
		r.host.concede(p.PID)
		return err
	}
	for l, number := range u.inherited {
		l.SetShared(p.Cargo.Sockets[number].Shared)
		if err := l.Apply(); err != nil {
			r.log.Error("a listener goes on with options of the old process", "err", err)
		}
	}
	close(u.confirmed)
	if u.admin >= 0 && !p.Cargo.Sockets[u.admin].Shared {
		r.host.admin.own()
	}
	r.log.Info("taken over", "pid", p.PID, "sockets", len(taken))
	return nil
}
