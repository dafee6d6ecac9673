// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Listener is a bound socket on which connections are accepted. Its methods
// may be called from any goroutine.
type Listener struct {
	cfg    Config
	ln     net.Listener
	unix   *socketFile   // of a Unix socket with a path; else nil
	shared atomic.Bool   // another process has the socket, too
	closed chan struct{} // by Close
	once   sync.Once     // Close
	err    error         // of Close

	mu     sync.Mutex
	handle func(net.Conn) // serves a connection until it ends or is parked; guarded by mu

	apply   func() error   // sets the options of an inherited socket; nil: it is not inherited
	prepare func(net.Conn) // of each connection; nil: nothing
	slots   chan struct{}  // one for each open connection; nil: no limit
	active  atomic.Int64   // open connections
	work    sync.WaitGroup // accept loops and open connections
	trouble
}

// Listen binds a socket. It waits for the name to be resolved and, as long as
// Config.BindRetry allows, for the address to become free; it gives up when ctx
// ends.
//
// A Unix socket that is left over from a process that has ended is replaced.
// One that is in use is not, nor is a file that is not a socket.
func Listen(ctx context.Context, cfg Config) (*Listener, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l, err := newListener(cfg)
	if err == nil {
		err = l.bindRetry(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Addr, err)
	}
	return l, nil
}

// newListener returns a Listener without a socket.
func newListener(cfg Config) (*Listener, error) {
	cfg = cfg.withDefaults()
	if err := unsupported(cfg); err != nil {
		return nil, err
	}
	l := &Listener{cfg: cfg, closed: make(chan struct{})}
	if cfg.MaxConns > 0 {
		l.slots = make(chan struct{}, cfg.MaxConns)
	}
	return l, nil
}

// bindRetry binds the socket, again and again while the address is in use and
// the time for it has not run out.
func (l *Listener) bindRetry(ctx context.Context) error {
	const pause = 250 * time.Millisecond
	giveUp := time.Now().Add(l.cfg.BindRetry)
	for {
		err := l.bind(ctx)
		left := time.Until(giveUp)
		if err == nil || left <= 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		l.cfg.Logger.Warn("address in use, trying again", "listener", l.cfg.Name, "left", left.Round(time.Second))
		select {
		case <-time.After(min(pause, left)):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// bind binds the socket once.
func (l *Listener) bind(ctx context.Context) (err error) {
	network, addr := l.cfg.network()
	lc := net.ListenConfig{
		Control:         func(_, _ string, c syscall.RawConn) error { return setOptions(c, network, l.cfg) },
		KeepAlive:       -1,
		KeepAliveConfig: perConnKeepAlive(l.cfg.KeepAlive),
	}
	lc.SetMultipathTCP(false)
	if network == "unix" {
		l.ln, l.unix, err = bindUnix(ctx, lc, addr, l.cfg.Mode)
		return err
	}
	l.ln, err = lc.Listen(ctx, network, addr)
	return explainBind(addr, err)
}

// explainBind adds to the error of a bind what it takes to bind a low port.
func explainBind(addr string, err error) error {
	if !errors.Is(err, syscall.EACCES) {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	if n, lookErr := net.LookupPort("tcp", port); lookErr != nil || n >= 1024 {
		return err
	}
	return fmt.Errorf("%w: ports below 1024 are for root and for programs with CAP_NET_BIND_SERVICE", err)
}

// Addr returns the address that the listener is bound to.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Name returns Config.Name, or Config.Addr if that is empty.
func (l *Listener) Name() string { return l.cfg.Name }

// ConfiguredAddr returns Config.Addr.
func (l *Listener) ConfiguredAddr() string { return l.cfg.Addr }

// Active returns how many connections are being served.
func (l *Listener) Active() int { return int(l.active.Load()) }

// Wait returns when Serve has returned and the last connection has ended. It
// is to be called after Close, and if Serve is called at all, after that.
func (l *Listener) Wait() { l.work.Wait() }

// Close stops accepting and frees the address; the file of a Unix socket is
// removed. Connections that have been accepted are not touched, and those that
// wait in the backlog are still passed to the handle of Serve, as MaxConns
// allows. But if the socket is shared, both the backlog and the file
// stay, for the other process. Close may be called several times.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		if l.shared.Load() {
			l.err = l.ln.Close()
			return
		}
		l.takeBacklog()
		l.err = errors.Join(l.ln.Close(), l.unix.remove())
	})
	return l.err
}
