// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// backlogLimit bounds how long Close accepts what waits. The backlog itself is
// accepted in a fraction of that; what comes meanwhile would go on for ever.
const backlogLimit = 250 * time.Millisecond

// takeBacklog accepts the connections that wait in the backlog and has them
// served, for the system resets them when the socket is closed. Without Serve
// there is nobody who could serve them.
func (l *Listener) takeBacklog() {
	l.mu.Lock()
	handle := l.handle
	l.mu.Unlock()
	sc, ok := l.ln.(syscall.Conn)
	if handle == nil || !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	for end := time.Now().Add(backlogLimit); time.Now().Before(end); {
		c, err := acceptNow(raw)
		switch {
		case err != nil && transient(err):
		case err != nil:
			return // nobody waits, or the system is at its limits
		case !l.allowed(c):
			c.Close()
		default:
			l.begun()
			go l.serveLate(c, handle) // as in acceptLoop
		}
	}
}

// serveLate serves a connection of the backlog, when there is a slot for it.
func (l *Listener) serveLate(c net.Conn, handle func(net.Conn)) {
	if l.slots != nil {
		l.slots <- struct{}{}
	}
	l.serve(c, handle)
}

// acceptNow accepts a connection that waits. It returns EAGAIN if none does.
func acceptNow(raw syscall.RawConn) (net.Conn, error) {
	fd := -1
	var err error
	ctlErr := raw.Control(func(ln uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, _, err = unix.Accept(int(ln)); err == nil {
			unix.CloseOnExec(fd)
		}
	})
	if ctlErr != nil {
		return nil, ctlErr
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close() // FileConn makes a copy
	return net.FileConn(f)
}
