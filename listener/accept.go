// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// How long an accept loop waits after an error that will not go away by
// itself: a little at first, then twice as long each time.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// Serve accepts connections and calls handle for each on a goroutine of its
// own, until Close. It returns when it has stopped to accept; connections may
// then still be served. handle owns the connection, and must close it. When it
// returns, the connection no longer counts as open. The connection is a
// *net.TCPConn or a *net.UnixConn.
func (l *Listener) Serve(handle func(net.Conn)) {
	l.ServeOrPark(func(c net.Conn, ended func()) {
		defer ended()
		handle(c)
	})
}

// ServeOrPark is Serve for a handle that may return before the connection has
// ended, and go on with it later: see [Parker]. The connection counts as open
// until handle calls ended, as it must, once.
func (l *Listener) ServeOrPark(handle func(c net.Conn, ended func())) {
	l.work.Add(1)
	defer l.work.Done()
	ended := l.end // one function for all
	serve := func(c net.Conn) { handle(c, ended) }
	l.mu.Lock()
	l.handle = serve
	l.mu.Unlock()
	var loops sync.WaitGroup
	for range l.cfg.Tasks {
		loops.Go(func() { l.acceptLoop(serve) })
	}
	loops.Wait()
}

// acceptLoop accepts until Close.
func (l *Listener) acceptLoop(handle func(net.Conn)) {
	pause := firstPause
	for l.reserve() {
		c, err := l.ln.Accept()
		if err == nil && l.allowed(c) {
			pause = firstPause
			l.begun()
			go l.serve(c, handle) // ends with the connection, or when handle has parked it
			continue
		}
		l.release()
		switch {
		case err == nil:
			c.Close()
		case l.isClosed():
			return
		case transient(err):
		default:
			l.complain(l.cfg, err, time.Now())
			if !l.sleep(pause) {
				return
			}
			pause = min(2*pause, longestPause)
		}
	}
}

// serve hands a connection to handle.
func (l *Listener) serve(c net.Conn, handle func(net.Conn)) {
	if l.prepare != nil {
		l.prepare(c)
	}
	netio.GrowStack()
	handle(c)
}

// begun counts a connection as open.
func (l *Listener) begun() {
	l.work.Add(1)
	l.active.Add(1)
}

// end undoes begun, and the reserve that came before it.
func (l *Listener) end() {
	l.active.Add(-1)
	l.release()
	l.work.Done()
}

// reserve waits until one more connection may be open. It returns false after
// Close.
func (l *Listener) reserve() bool {
	if l.slots == nil {
		return !l.isClosed()
	}
	select {
	case l.slots <- struct{}{}:
		if l.isClosed() {
			l.release() // for a connection of the backlog
			return false
		}
		return true
	case <-l.closed:
		return false
	}
}

// release undoes reserve.
func (l *Listener) release() {
	if l.slots != nil {
		<-l.slots
	}
}

// isClosed reports whether Close has been called.
func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// sleep waits for d. It returns false after Close.
func (l *Listener) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.closed:
		return false
	}
}

// allowed asks the filter about c. A filter that panics has rejected c.
func (l *Listener) allowed(c net.Conn) (ok bool) {
	if l.cfg.Filter == nil {
		return true
	}
	a, isTCP := c.RemoteAddr().(*net.TCPAddr)
	if !isTCP {
		return true
	}
	defer func() {
		if r := recover(); r != nil {
			l.cfg.Logger.Error("connection filter panicked", "listener", l.cfg.Name, "client", a.String(), "panic", r)
			ok = false
		}
	}()
	client := a.AddrPort()
	return l.cfg.Filter(netip.AddrPortFrom(client.Addr().Unmap(), client.Port()))
}

// transient reports whether err concerns only the connection that would have
// been accepted: the next one can be accepted at once. The list is that of
// accept(2), which says that Linux passes network errors on.
func transient(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.EPERM, syscall.ENETDOWN, syscall.ENOPROTOOPT,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ECONNRESET,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// trouble remembers what could not be accepted, so that it is logged once per
// second at most.
type trouble struct {
	mu     sync.Mutex
	logged time.Time // when; guarded by mu
	missed int       // errors since; guarded by mu
}

// complain logs err unless that was done in the second before now.
func (t *trouble) complain(cfg Config, err error, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missed++
	if !t.logged.IsZero() && now.Sub(t.logged) < time.Second {
		return
	}
	cfg.Logger.Error("cannot accept", "listener", cfg.Name, "err", err, "times", t.missed)
	t.logged, t.missed = now, 0
}
