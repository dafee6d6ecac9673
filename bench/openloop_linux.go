// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An openLoop sends requests when they are due: an open loop, in contrast to
// one in which each response lets the next request go.
type openLoop interface {
	// run follows s and returns once every request has its response, or at
	// the cutoff. An error is one of a connection.
	run(s schedule, record *openRecord) error
	close()
}

// newOpenLoop returns an open loop for job, connected.
func newOpenLoop(job *loadJob) (openLoop, error) {
	switch {
	case job.Mode == surviveMode:
		return newSurvivor(job), nil
	case job.Access.H2:
		return newStreamLoop(job)
	case job.Access.TLS:
		return newConnLoop(job)
	}
	return newEventLoop(job)
}

// openReport follows a schedule of job's rate for d.
func openReport(loop openLoop, rate float64, d time.Duration) (loadReport, error) {
	record := new(openRecord)
	s := newSchedule(rate, d)
	err := loop.run(s, record)
	report := loadReport{
		Requests:   record.done.Load(),
		Elapsed:    max(s.now(), d),
		P50:        record.latency.quantile(0.50),
		P99:        record.latency.quantile(0.99),
		P999:       record.latency.quantile(0.999),
		Offered:    float64(s.n) / d.Seconds(),
		Lag:        record.lag.quantile(0.99),
		Unfinished: record.unfinished.Load(),
	}
	if v, ok := loop.(*survivor); ok {
		report.Failed, report.Resent = v.failed.Load(), v.resent.Load()
		if msg := v.firstError.Load(); msg != nil {
			report.FirstFailure = *msg
		}
	}
	return report, err
}

// An eventLoop is the open loop for HTTP/1.1 without TLS. It is one thread that
// waits for events and for the time, as that is the cheapest way and the
// proxy's origins share its CPU.
type eventLoop struct {
	request []byte
	poll    int // epoll
	conns   []*eventConn
	free    []*eventConn // used first in, first out
}

// An eventConn is one connection of an eventLoop.
type eventConn struct {
	fd     int
	reader *responseReader
	busy   bool
	due    time.Duration // of the request under way
	since  time.Duration // when it became free
}

// newEventLoop connects.
func newEventLoop(job *loadJob) (loop *eventLoop, err error) {
	addr, err := netip.ParseAddrPort(job.Addr)
	if err != nil {
		return nil, err
	}
	loop = &eventLoop{request: job.Request}
	if loop.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	for i := range job.Conns {
		fd, err := connectSocket(addr)
		if err != nil {
			loop.close()
			return nil, fmt.Errorf("connect: %w", err)
		}
		c := &eventConn{fd: fd, reader: newResponseReader(job.Response)}
		loop.conns = append(loop.conns, c)
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(i)}
		if err := unix.EpollCtl(loop.poll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			loop.close()
			return nil, fmt.Errorf("epoll: %w", err)
		}
	}
	loop.free = append(loop.free, loop.conns...)
	return loop, nil
}

// connectSocket returns a socket that is connected to addr and does not block.
// The runtime's poller does not know it.
func connectSocket(addr netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (l *eventLoop) run(s schedule, record *openRecord) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sharpTimers()
	events := make([]unix.EpollEvent, 256)
	var next int64 // to be sent
	for {
		now := s.now()
		for ; next < s.n && s.due(next) <= now && len(l.free) > 0; next++ {
			if err := l.send(&s, s.due(next), record); err != nil {
				return err
			}
		}
		if now >= s.cutoff || next == s.n && len(l.free) == len(l.conns) {
			break
		}
		until := s.cutoff
		if next < s.n && len(l.free) > 0 {
			until = s.due(next)
		}
		n, err := pollFor(l.poll, events, until-s.now())
		if err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, event := range events[:n] {
			if err := l.receive(l.conns[event.Fd], &s, record); err != nil {
				return err
			}
		}
	}
	for _, c := range l.conns {
		if c.busy {
			record.giveUp(&s, c.due)
		}
	}
	for ; next < s.n; next++ {
		record.giveUp(&s, s.due(next))
	}
	return nil
}

// send sends a request on the connection that is free for the longest time.
func (l *eventLoop) send(s *schedule, due time.Duration, record *openRecord) error {
	c := l.free[0]
	l.free = l.free[1:]
	c.busy, c.due = true, due
	record.sent(s.now(), due, c.since)
	n, err := unix.Write(c.fd, l.request)
	if err == nil && n < len(l.request) {
		err = io.ErrShortWrite // of a request smaller than any socket buffer
	}
	return err
}

// receive reads what has come on c.
func (l *eventLoop) receive(c *eventConn, s *schedule, record *openRecord) error {
	for {
		buf := c.reader.space()
		n, err := unix.Read(c.fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		case !c.busy:
			return fmt.Errorf("%d bytes that no request has asked for", n)
		}
		done, err := c.reader.advance(n)
		if err != nil {
			return err
		}
		if done {
			c.busy, c.since = false, s.now()
			record.finish(c.since, c.due)
			l.free = append(l.free, c)
			return nil
		}
		if n < len(buf) {
			return nil
		}
	}
}

func (l *eventLoop) close() {
	for _, c := range l.conns {
		linger := unix.Linger{Onoff: 1} // reset: no local port stays in TIME_WAIT
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger)
		_ = unix.Close(c.fd)
	}
	_ = unix.Close(l.poll)
}

// pollFor is epoll_pwait2: it waits for events until d has passed, to the
// nanosecond. Before Linux 5.11 the wait is too short by up to a millisecond.
func pollFor(poll int, events []unix.EpollEvent, d time.Duration) (int, error) {
	wait := unix.NsecToTimespec(int64(max(d, 0)))
	r, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(poll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(unsafe.Pointer(&wait)), 0, 0)
	switch errno {
	case 0:
		return int(r), nil
	case unix.EINTR:
		return 0, nil
	case unix.ENOSYS:
		n, err := unix.EpollWait(poll, events, int(max(d, 0)/time.Millisecond))
		if err == unix.EINTR {
			return 0, nil
		}
		return n, err
	}
	return 0, errno
}
