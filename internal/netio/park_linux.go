// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CanPark tells whether Conn.Park may return true.
const CanPark = true

// theLot is where all connections of the process are parked.
var theLot lot

// A lot watches connections on which nothing is expected for some time. Each
// costs a slot here in place of a goroutine with its stack, 4 KiB at least. The
// goroutine of the lot and its descriptor are there while a connection is.
type lot struct {
	mu     sync.Mutex
	file   *os.File // of epoll; nil while nothing is parked. Guarded by mu, as the rest
	epoll  int      // its descriptor
	slots  []slot   // by the descriptor of the connection
	parked int      // slots in use
	parks  uint32   // so far
}

// A slot holds a connection that is parked.
type slot struct {
	conn  *Conn // nil: the slot is free
	wake  func()
	until time.Duration // as sinceStart; zero: for ever
	park  uint32        // which one it was: events of earlier ones do not count
}

// lotTick is how often the lot looks which connections have been there long
// enough.
const lotTick = time.Second

// park implements Conn.Park.
func (l *lot) park(c *Conn, until time.Time, wake func()) (ok bool) {
	err := c.raw.Control(func(fd uintptr) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.file == nil && l.open() != nil {
			return
		}
		l.parks++
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd), Pad: int32(l.parks)}
		if unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, int(fd), &event) != nil {
			l.leaveIfEmpty()
			return
		}
		if int(fd) >= len(l.slots) {
			l.slots = append(l.slots, make([]slot, int(fd)+1-len(l.slots))...)
		}
		s := &l.slots[fd]
		if s.conn != nil { // its descriptor was closed by somebody else, and given out again
			l.emptied(s)
		}
		*s = slot{c, wake, 0, l.parks}
		if !until.IsZero() {
			s.until = until.Sub(start)
		}
		l.parked++
		c.parkedAt.Store(int32(fd) + 1)
		ok = true
	})
	if ok && c.Interrupted() {
		// It may have come before parkedAt was set. If the connection has been
		// woken since and is parked again, this wakes it once for nothing.
		c.unpark()
	}
	return ok && err == nil
}

// open begins the work of the lot.
func (l *lot) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime waits for it
		unix.Close(fd)
		return err
	}
	f := os.NewFile(uintptr(fd), "epoll")
	raw, err := f.SyscallConn()
	if err == nil {
		err = f.SetReadDeadline(time.Now().Add(lotTick))
	}
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.epoll = f, fd
	go l.watch(f, raw) // ends when nothing is parked any more
	return nil
}

// watch wakes connections on which something has happened.
func (l *lot) watch(f *os.File, raw syscall.RawConn) {
	defer f.Close()
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0) // -1 with an error, of which none comes without a wait
			return n > 0
		})
		l.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			if s := &l.slots[e.Fd]; s.conn != nil && s.park == uint32(e.Pad) {
				l.wake(int(e.Fd))
			}
		}
		if IsTimeout(err) {
			l.wakeOld(sinceStart())
			f.SetReadDeadline(time.Now().Add(lotTick))
		}
		if l.parked == 0 {
			l.file, l.slots = nil, nil
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// wakeOld wakes the connections whose time is over.
func (l *lot) wakeOld(now time.Duration) {
	for fd := range l.slots {
		if s := &l.slots[fd]; s.conn != nil && s.until != 0 && now >= s.until {
			l.wake(fd)
		}
	}
}

// wake ends the parking of the connection in a slot.
func (l *lot) wake(fd int) {
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	l.emptied(&l.slots[fd])
	l.leaveIfEmpty()
}

// emptied has the connection in s go on.
func (l *lot) emptied(s *slot) {
	s.conn.parkedAt.Store(0)
	wake := s.wake
	*s = slot{}
	l.parked--
	go func() { // ends with what the owner of the connection does
		GrowStack()
		wake()
	}()
}

// leaveIfEmpty has watch end if nothing is parked.
func (l *lot) leaveIfEmpty() {
	if l.parked == 0 {
		l.file.SetReadDeadline(past)
	}
}

// unpark wakes a connection if it is parked.
func (c *Conn) unpark() {
	if c.parkedAt.Load() == 0 {
		return
	}
	l := &theLot
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd := c.parkedAt.Load() - 1; fd >= 0 {
		l.wake(int(fd))
	}
}
