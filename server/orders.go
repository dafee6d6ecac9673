// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// caught are the signals that a running server does not leave to the system.
var caught = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
}

// holdQuit keeps SIGQUIT from ending a process that is about to replace another,
// for which it is meant if all processes of one name get it. The function that
// it returns ends that.
func holdQuit() (release func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGQUIT)
	return func() { signal.Stop(ch) }
}

// An urgency is how soon the server is to end.
type urgency int

const (
	keepOn   urgency = iota
	replaced         // by a new process: finish what is in hand, and wait for more on idle connections
	graceful         // finish what is in hand
	fast             // close connections
	leave            // wait for nothing
)

// orders turns signals into contexts, which end one after the other as the
// urgency grows: stop when the server is replaced, finish when it is to end
// gracefully, and so on.
type orders struct {
	log     *slog.Logger
	signals <-chan os.Signal
	forget  func() // stops catching signals
	upgrade func() // obeys SIGQUIT; must not wait

	others map[os.Signal]func() // obey further signals; must not wait

	stop, finish, fast, leave                         context.Context
	cancelStop, cancelFinish, cancelFast, cancelLeave context.CancelFunc

	done  chan struct{} // closed by end
	watch sync.WaitGroup
}

// newOrders returns orders that obey signals, or if it is nil, the signals of
// the process, once begin is called. The end of ctx is the order to stop
// gracefully.
func newOrders(ctx context.Context, log *slog.Logger, signals <-chan os.Signal, upgrade func()) *orders {
	o := &orders{log: log, signals: signals, forget: func() {}, upgrade: upgrade, done: make(chan struct{})}
	if signals == nil {
		ch := make(chan os.Signal, 8)
		signal.Notify(ch, caught...)
		o.signals, o.forget = ch, func() { signal.Stop(ch) }
	}
	o.stop, o.cancelStop = context.WithCancel(ctx)
	o.finish, o.cancelFinish = context.WithCancel(ctx)
	o.fast, o.cancelFast = context.WithCancel(context.WithoutCancel(ctx))
	o.leave, o.cancelLeave = context.WithCancel(context.WithoutCancel(ctx))
	return o
}

// begin starts to obey.
func (o *orders) begin() { o.watch.Go(o.obey) }

// end stops obeying, and frees the contexts.
func (o *orders) end() {
	o.forget()
	close(o.done)
	o.watch.Wait()
	o.hurry(leave)
}

// obey handles signals until end.
func (o *orders) obey() {
	for {
		select {
		case sig, ok := <-o.signals:
			if !ok {
				return
			}
			o.handle(sig)
		case <-o.done:
			return
		}
	}
}

// handle obeys one signal.
func (o *orders) handle(sig os.Signal) {
	var wanted urgency
	switch sig {
	case syscall.SIGQUIT:
		o.upgrade()
		return
	case syscall.SIGTERM:
		wanted = graceful
	case syscall.SIGINT, os.Interrupt:
		wanted = fast
	default:
		if obey := o.others[sig]; obey != nil {
			obey()
		} else {
			o.log.Info("signal has no effect", "signal", sig.String())
		}
		return
	}
	// Each further signal is more urgent than the one before.
	wanted = min(max(wanted, o.urgency()+1), leave)
	o.log.Info("signal", "signal", sig.String(), "shutdown", wanted.String())
	o.hurry(wanted)
}

// urgency returns how urgent it is by now.
func (o *orders) urgency() urgency {
	switch {
	case o.leave.Err() != nil:
		return leave
	case o.fast.Err() != nil:
		return fast
	case o.finish.Err() != nil:
		return graceful
	case o.stop.Err() != nil:
		return replaced
	}
	return keepOn
}

// hurry ends the contexts up to u. The most urgent ends first, so that whoever
// sees that one has ended sees it of the others.
func (o *orders) hurry(u urgency) {
	if u >= leave {
		o.cancelLeave()
	}
	if u >= fast {
		o.cancelFast()
	}
	if u >= graceful {
		o.cancelFinish()
	}
	if u >= replaced {
		o.cancelStop()
	}
}

// stopAll gives the order to stop fast.
func (o *orders) stopAll(why string) {
	o.log.Info("stopping", "why", why)
	o.hurry(fast)
}

func (u urgency) String() string {
	return [...]string{"none", "replaced", "graceful", "fast", "without waiting"}[u]
}
