// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
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

	confirmed chan struct{} // closed when this process has replaced the other

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
