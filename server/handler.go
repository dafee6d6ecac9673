// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net"
	"time"

	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
)

// A ConnHandler serves the connections that a listening service accepts.
// *proxy.Proxy is one. If it is a listener.Parker, too, as a proxy is, idle
// connections need no goroutine.
type ConnHandler interface {
	// ServeConn serves c until it ends, and closes it. It is called on a
	// goroutine of its own. It may still be called when Shutdown has begun,
	// for a connection that was accepted just before: then it ends c soon.
	ServeConn(c net.Conn)

	// Shutdown ends idle connections, lets busy ones finish what is in hand,
	// and returns when all are gone. When ctx ends first, it closes those
	// that are left and returns ctx's error. A handler of several services
	// is shut down once for each, at the same time.
	Shutdown(ctx context.Context) error
}

// A Retirer is a ConnHandler that makes a difference between the end of the
// server and its replacement by a new process.
type Retirer interface {
	ConnHandler

	// Retire is called when a new process accepts connections in place of
	// this one. Connections are to end at a moment when that cannot hurt:
	// after one more request, or when none has come for idle. Retire does not
	// wait. When all are gone, or when waiting is over, Shutdown is called.
	Retire(idle time.Duration)
}

// A Counter is a ConnHandler that can say how much is going on.
type Counter interface {
	ConnHandler
	Stats() proxy.Stats
}

// counterOf returns the Counter among h and the handlers that it passes
// connections on to, as a listener.TLS does.
func counterOf(h any) (Counter, bool) {
	for {
		switch v := h.(type) {
		case Counter:
			return v, true
		case interface{ Handler() listener.Handler }:
			h = v.Handler()
		default:
			return nil, false
		}
	}
}

// A BackgroundService works beside the listeners: a health check, for example.
type BackgroundService interface {
	// Run works until ctx ends, and returns soon after. It may return
	// earlier, with nil, if there is no more to do. An error means that it
	// has failed: before it was ready that stops the server, later it is
	// logged, and the server goes on without the service. A panic is treated
	// as an error. A service that has ended is not started again.
	Run(ctx context.Context) error
}

// A Readier is a BackgroundService that is not ready at once. Those that
// depend on it wait until the channel is closed, or Run has returned nil.
type Readier interface {
	BackgroundService
	Ready() <-chan struct{}
}

// RunFunc makes a function a BackgroundService.
type RunFunc func(ctx context.Context) error

// Run calls f.
func (f RunFunc) Run(ctx context.Context) error { return f(ctx) }
