// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"

	"github.com/belay-proxy/belay/internal/netio"
)

// tlsLower is the transport below a TLS connection: what crypto/tls reads and
// writes. It lets a Conn look at an idle connection, and end one, without
// waiting.
type tlsLower struct {
	net.Conn
	raw    syscall.RawConn // nil: no descriptor
	noWait bool            // reads and writes happen at once or fail with errWouldWait

	// The state of one call that does not wait.
	buf  []byte
	n    int
	err  error
	call func(fd uintptr, p []byte) (int, error)
	step func(fd uintptr) // l.callNow, bound once

	one [1]byte // what look reads into
}

func newTLSLower(nc net.Conn) *tlsLower {
	l := &tlsLower{Conn: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		l.raw, _ = sc.SyscallConn()
		l.step = l.callNow
	}
	return l
}

// errWouldWait is a timeout, for crypto/tls, which can go on after one.
var errWouldWait net.Error = wouldWait{}

type wouldWait struct{}

func (wouldWait) Error() string   { return "upstream: would have to wait" }
func (wouldWait) Timeout() bool   { return true }
func (wouldWait) Temporary() bool { return true }

// NetConn returns the transport itself.
func (l *tlsLower) NetConn() net.Conn { return l.Conn }

func (l *tlsLower) Read(p []byte) (n int, err error) {
	if !l.noWait {
		return l.Conn.Read(p)
	}
	return l.atOnce(p, readNow)
}

func (l *tlsLower) Write(p []byte) (n int, err error) {
	if !l.noWait {
		return l.Conn.Write(p)
	}
	return l.atOnce(p, writeNow)
}

// atOnce makes one system call that does not wait. Deadlines do not matter to
// it: that of the last read may have passed.
func (l *tlsLower) atOnce(p []byte, call func(fd uintptr, p []byte) (int, error)) (int, error) {
	if l.raw == nil {
		return 0, errWouldWait
	}
	l.buf, l.call = p, call
	err := l.raw.Control(l.step)
	l.buf = nil
	if err != nil {
		return 0, err
	}
	return l.n, l.err
}

func (l *tlsLower) callNow(fd uintptr) { l.n, l.err = l.call(fd, l.buf) }

// look reports what has arrived on an idle connection. Messages of TLS itself,
// new session tickets for example, are taken in. A look costs one system call,
// as one at a plain connection does, but it also sees what crypto/tls has read
// ahead and not shown yet.
func look(tc *tls.Conn, l *tlsLower) netio.IdleState {
	l.noWait = true
	defer func() { l.noWait = false }()
	n, err := tc.Read(l.one[:])
	switch {
	case n > 0:
		return netio.HasData
	case errors.Is(err, errWouldWait):
		return netio.Quiet
	}
	return netio.PeerClosed
}

// idleState reports what has arrived on c, which is idle.
func (c *Conn) idleState() netio.IdleState {
	tc, ok := c.NetConn().(*tls.Conn)
	if !ok {
		return c.Idle()
	}
	l, ok := tc.NetConn().(*tlsLower)
	if !ok {
		return c.Idle()
	}
	return look(tc, l)
}

// A sharedTLS is a TLS connection of which Close does not wait for a peer that
// takes nothing. It must be the last call: reads and writes have ended.
type sharedTLS struct{ *tls.Conn }

// Close closes the connection. The goodbye of TLS is sent at once or not at all.
func (c sharedTLS) Close() error {
	if l, ok := c.NetConn().(*tlsLower); ok {
		l.noWait = true
	}
	return c.Conn.Close()
}

// hurryClose makes the goodbye of TLS be sent at once or not at all, so that
// closing c does not wait for a peer that takes nothing.
func (c *Conn) hurryClose() {
	if tc, ok := c.NetConn().(*tls.Conn); ok {
		if l, ok := tc.NetConn().(*tlsLower); ok {
			l.noWait = true
		}
	}
}
