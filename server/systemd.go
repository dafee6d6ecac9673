// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"time"

	"github.com/belay-proxy/belay/internal/sdnotify"
	"github.com/belay-proxy/belay/listener"
)

// activate adds the sockets that the service manager has bound for this
// process to in, by their names. A listener takes the one that is bound to its
// Addr, or that has its Name.
func (h *host) activate(in *listener.Inherited) error {
	sockets, err := sdnotify.Sockets()
	if h.child != nil {
		sockets = append(sockets, h.child.Sockets...)
	}
	errs := []error{err}
	for _, s := range sockets {
		errs = append(errs, in.AddManaged(s.Name, "", s.File))
	}
	if len(sockets) > 0 {
		h.log.Info("sockets of the service manager", "sockets", len(sockets))
	}
	return errors.Join(errs...)
}

// tell reports a change to the service manager. That it fails is no reason to
// do anything else.
func (h *host) tell(report func(*sdnotify.Notifier) error) {
	if !h.speaks.Load() {
		return // another process speaks for the service
	}
	if err := report(h.notifier); err != nil {
		h.log.Warn("the service manager could not be told", "err", err)
	}
}

// keepAlive tells the service manager that the process is well, twice as often
// as it wants to hear that, until ctx ends. It says nothing while the process
// is not healthy, or does not get through a look at itself, so that it is ended
// and started again.
func (h *host) keepAlive(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(max(interval/2, time.Millisecond))
	defer tick.Stop()
	looked := make(chan error, 1)
	looking := false
	for {
		if !looking {
			looking = true
			go func() { looked <- h.look() }() // ends when the process gets through it
		}
		select {
		case err := <-looked:
			looking = false
			if err != nil {
				h.log.Error("not healthy: the service manager is not told that the process is well", "err", err)
			} else {
				h.tell((*sdnotify.Notifier).Alive)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		case <-tick.C:
			h.log.Error("the process hangs: the service manager is not told that it is well")
		case <-ctx.Done():
			return
		}
	}
}

// look goes through all parts of the process, and with that waits for the locks
// that a part which hangs would hold. It returns why the process is not healthy.
func (h *host) look() error {
	h.status()
	return h.unhealthy()
}

// unhealthy returns why the program does not work any more, nil if it does.
func (h *host) unhealthy() error {
	if h.cfg.Healthy == nil {
		return nil
	}
	return h.cfg.Healthy()
}
