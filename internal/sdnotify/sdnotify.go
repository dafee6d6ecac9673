// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package sdnotify speaks to systemd, or whatever else understands its
// protocol: it reports the state of the process (sd_notify(3)), and takes the
// sockets that the service manager has bound for it (sd_listen_fds(3)).
//
//	n := sdnotify.New()
//	n.Ready("serving")
//	defer n.Stopping("draining")
//
// It uses no library. Without a service manager nothing is done.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sendTimeout bounds how long a message to the service manager may take.
const sendTimeout = 2 * time.Second

// A Notifier reports the state of this process. A nil Notifier reports nothing.
// Its methods may be called concurrently.
type Notifier struct {
	addr string
}

// New returns a Notifier for the socket in $NOTIFY_SOCKET, nil if there is
// none.
func New() *Notifier {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return nil
	}
	return &Notifier{addr}
}

// Send sends assignments, such as "READY=1", in one message.
func (n *Notifier) Send(assignments ...string) error {
	if n == nil || len(assignments) == 0 {
		return nil
	}
	if n.addr[0] != '/' && n.addr[0] != '@' {
		return fmt.Errorf("notify the service manager: $NOTIFY_SOCKET is %q, want a path or an abstract socket", n.addr)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.addr, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(sendTimeout))
	if _, err := c.Write([]byte(strings.Join(assignments, "\n"))); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// Ready reports that the process is ready, or again so after Reloading, and
// that it is now the main process of its service.
func (n *Notifier) Ready(status string) error {
	return n.Send("READY=1", "MAINPID="+strconv.Itoa(os.Getpid()), statusLine(status))
}

// MainPID reports that another process is the main one of the service.
func (n *Notifier) MainPID(pid int) error { return n.Send("MAINPID=" + strconv.Itoa(pid)) }

// Reloading reports that the process reads its configuration again. Ready ends
// it, whether that succeeded or not.
func (n *Notifier) Reloading(status string) error {
	if n == nil {
		return nil
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return n.Send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000), statusLine(status))
}

// Stopping reports that the process is about to end. It must not be used by a
// process that another one has taken over from.
func (n *Notifier) Stopping(status string) error { return n.Send("STOPPING=1", statusLine(status)) }

// Status reports what the process is doing, in one line for people.
func (n *Notifier) Status(status string) error { return n.Send(statusLine(status)) }

// Alive reports that the process is well. It is to be called more often than
// every WatchdogInterval.
func (n *Notifier) Alive() error { return n.Send("WATCHDOG=1") }

// statusLine returns the assignment for a status, without characters that would
// begin another one.
func statusLine(status string) string {
	return "STATUS=" + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, status)
}

// WatchdogInterval returns how long the service manager waits for Alive before
// it takes the process for hung. ok is false if it does not watch.
func WatchdogInterval() (d time.Duration, ok bool) {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, false
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	const longest = int64(1<<63-1) / 1000
	if err != nil || usec <= 0 || usec > longest {
		return 0, false
	}
	return time.Duration(usec) * time.Microsecond, true
}

// A Socket is a descriptor that the service manager has passed.
type Socket struct {
	// Name is the FileDescriptorName= of the socket unit, by default the
	// name of the unit. It is "" or "unknown" if there was none.
	Name string

	// File is the socket. Whoever takes the Socket closes it.
	File *os.File
}

// firstFD is the first descriptor that is passed.
const firstFD = 3

// Sockets returns the descriptors that were passed to this process, and removes
// them from the environment, so that they can be had once and programs that
// this one starts do not take them for theirs. They are not inherited by other
// programs.
func Sockets() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	if pid == "" || count == "" {
		return nil, nil
	}
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		os.Unsetenv(v)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // meant for a process that has started this one
	}
	return sockets(count, names, firstFD)
}

// sockets returns count descriptors from first on, with names separated by
// colons.
func sockets(count, names string, first int) ([]Socket, error) {
	const most = 1 << 16
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > most {
		return nil, fmt.Errorf("sockets of the service manager: $LISTEN_FDS is %q, want 0 to %d", count, most)
	}
	var list []string
	if names != "" {
		list = strings.Split(names, ":")
	}
	if list != nil && len(list) != n {
		return nil, fmt.Errorf("sockets of the service manager: %d are passed, but $LISTEN_FDNAMES has %d names", n, len(list))
	}
	var found []Socket
	var errs []error
	for i := range n {
		fd := first + i
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			errs = append(errs, fmt.Errorf("sockets of the service manager: descriptor %d: %w", fd, err))
			continue
		}
		s := Socket{File: os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))}
		if list != nil {
			s.Name = list[i]
		}
		found = append(found, s)
	}
	return found, errors.Join(errs...)
}
