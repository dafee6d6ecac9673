// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upgrade"
)

// idlePatience is how long idle connections of a process that has been replaced
// may stay for one more request. Clients that use a connection at all mostly use
// it again within that time, and so none of their requests meets its end.
const idlePatience = 15 * time.Second

// upgradeState is what a run knows about its place between the process that it
// replaces and the one that replaces it.
type upgradeState struct {
	pathOnce sync.Once
	path     string // of the upgrade socket
	pathErr  error

	// The process that this one replaces; used by Run's goroutine only.
	predecessor *upgrade.Predecessor // nil if there is none, or it is settled
	first       int                  // place of the cargo's first socket in listener.Inherited
	numbers     []int                // of the cargo's sockets, in the order that they have there
	inherited   map[*listener.Listener]int
	admin       int // number of the admin listener's socket, -1 if it is new

	// The process that replaces this one.
	mu       sync.Mutex
	under    bool           // one tries; guarded by mu
	closed   bool           // none may try any more; guarded by mu
	replaced bool           // one has; guarded by mu
	work     sync.WaitGroup // the goroutine that hands over
}

// A keeper is a part of the program whose state outlasts an upgrade.
type keeper struct {
	name string
	upgrade.StateKeeper
}

// KeepState makes the state of k outlast an upgrade: the process that replaces
// this one gets it under the same name. Handlers and background services that
// are StateKeepers are found without it.
func (s *Server) KeepState(name string, k upgrade.StateKeeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepers = append(s.keepers, keeper{name, k})
}

// allKeepers returns whose state outlasts an upgrade.
func (r *run) allKeepers() []keeper {
	r.Server.mu.Lock()
	defer r.Server.mu.Unlock()
	all := append([]keeper(nil), r.keepers...)
	for _, v := range r.services {
		for _, part := range []any{v.handler, v.background} {
			if k, ok := part.(upgrade.StateKeeper); ok {
				all = append(all, keeper{"service " + v.name, k})
			}
		}
	}
	return all
}

// upgradeConfig returns how to meet the other process.
func (r *run) upgradeConfig() (upgrade.Config, error) {
	c := upgrade.Config{
		ReadyTimeout: r.cfg.UpgradeTimeout,
		Wait:         upgradeWait(r.settings),
		Program:      version(),
		Logger:       r.Logger("upgrade"),
	}
	if uid, ok := lookupUser(r.settings.User); ok {
		c.Users = []uint32{uid}
	}
	var err error
	c.Path, err = r.upgradePath()
	return c, err
}

// upgradeWait returns how long to wait for the other process. The settings
// count tries, one second apart, as Pingora makes them.
func upgradeWait(c config.Config) time.Duration {
	if n := c.UpgradeSockConnectAcceptMaxRetries; n > 0 {
		return time.Duration(n) * time.Second
	}
	return -1
}

// upgradePath returns the upgrade socket. What is found first counts for the
// life of the process, because it may give up the rights to find it again.
func (r *run) upgradePath() (string, error) {
	u := &r.upgrade
	u.pathOnce.Do(func() {
		if u.path = absolute(r.startDir, r.settings.UpgradeSock); u.path == "" {
			u.path, u.pathErr = upgrade.DefaultPath(programName())
		}
	})
	return u.path, u.pathErr
}

// lookupUser returns the number of a user that is given by name or number.
func lookupUser(name string) (uid uint32, ok bool) {
	if name == "" {
		return 0, false
	}
	if u, err := user.Lookup(name); err == nil {
		name = u.Uid
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil
}

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
		if err := in.Add(s.Name, s.Addr, s.File); err != nil {
			r.log.Warn("a socket of the old process cannot be used here", "listener", s.Name, "err", err)
			continue
		}
		u.numbers = append(u.numbers, i)
	}
	r.restoreStates(p.Cargo.State)
	return nil
}

// restoreStates gives parts of the program the state that they had in the old
// process.
func (r *run) restoreStates(states map[string][]byte) {
	for _, k := range r.allKeepers() {
		state, ok := states[k.name]
		if !ok {
			continue
		}
		if err := safeRestore(k, state); err != nil {
			r.log.Warn("state of the old process cannot be used", "of", k.name, "err", err)
		}
	}
}

// noteInherited remembers that l has the socket with a number in the order of
// listener.Inherited, or that it has a new one if that is -1.
func (r *run) noteInherited(l *listener.Listener, number int) {
	if n := r.cargoNumber(number); n >= 0 {
		r.upgrade.inherited[l] = n
	}
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

// waitForAll waits, when this process is about to replace another, until all
// services could start, as far as they do not wait for v or its like in turn. So
// all listeners begin to accept together, just before the old process is told
// to stop, and nothing is accepted that a failing start would have to give up.
// It returns false if the server is to stop before that.
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
	if err := p.Confirm(r.orders.stop, taken); err != nil {
		return err
	}
	for l, number := range u.inherited {
		l.SetShared(p.Cargo.Sockets[number].Shared)
	}
	if u.admin >= 0 && !p.Cargo.Sockets[u.admin].Shared {
		r.host.admin.own()
	}
	r.log.Info("taken over", "pid", p.PID, "sockets", len(taken))
	return nil
}

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
		r.host.supersede()
		for i, l := range listeners {
			if s.Taken[i] {
				l.SetShared(true)
			}
		}
		if r.host.admin != nil && s.Taken[len(listeners)] {
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
		r.log.Error("upgrade failed; this process serves on", "err", err)
		r.phase(PhaseRunning)
	}
}

// tryHandOver puts together what there is to hand over, and does it.
func (r *run) tryHandOver(listeners []*listener.Listener) (*upgrade.Successor, error) {
	cfg, err := r.upgradeConfig()
	if err != nil {
		return nil, err
	}
	cargo := upgrade.Cargo{State: r.saveStates()}
	defer func() { cargo.Close() }()
	for _, l := range listeners {
		f, err := l.File()
		if err != nil {
			return nil, err
		}
		cargo.Sockets = append(cargo.Sockets, upgrade.Socket{Name: l.Name(), Addr: l.ConfiguredAddr(), File: f, Shared: l.Shared()})
	}
	if admin, ok, err := r.adminSocket(); err != nil {
		return nil, err
	} else if ok {
		cargo.Sockets = append(cargo.Sockets, admin) // the last
	}
	return upgrade.HandOver(r.orders.stop, cfg, cargo)
}

// saveStates asks parts of the program for their state.
func (r *run) saveStates() map[string][]byte {
	states := make(map[string][]byte)
	for _, k := range r.allKeepers() {
		state, err := safeSave(k)
		if err == nil && len(state) > upgrade.MaxState {
			err = fmt.Errorf("it has %d bytes, want at most %d", len(state), upgrade.MaxState)
		}
		if err != nil {
			r.log.Warn("state is not handed to the new process", "of", k.name, "err", err)
			continue
		}
		states[k.name] = state
	}
	return states
}

// safeSave calls SaveState and makes a panic an error.
func safeSave(k upgrade.StateKeeper) (state []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return k.SaveState()
}

// safeRestore calls RestoreState and makes a panic an error.
func safeRestore(k upgrade.StateKeeper, state []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return k.RestoreState(state)
}

// settleUpgrade ends what is open between the processes, at the beginning of
// the shutdown: the process that this one was to replace is told that it has to
// serve on, because of err, and one that wanted to replace this one that it is
// too late.
func (r *run) settleUpgrade(err error) {
	u := &r.upgrade
	if p := u.predecessor; p != nil {
		u.predecessor = nil
		p.Abort(cmp.Or(err, errors.New("it was told to stop")))
	}
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.work.Wait() // it ends soon: orders.stop has ended
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
