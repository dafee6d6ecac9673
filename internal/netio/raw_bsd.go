// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package netio

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const haveRaw = true

// recv reads from the non-blocking descriptor fd.
func recv(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err == syscall.EAGAIN:
			return 0, ErrAgain
		case err != syscall.EINTR:
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// send writes to the non-blocking descriptor fd the first of the parts that has
// something. The caller comes back for the others.
func send(fd uintptr, parts *[3][]byte) (n int, err error) {
	first := parts[0]
	for i := 1; len(first) == 0 && i < len(parts); i++ {
		first = parts[i]
	}
	for {
		n, err = unix.Write(int(fd), first)
		switch err {
		case nil:
			return n, nil
		case syscall.EAGAIN:
			return 0, ErrAgain
		case syscall.EINTR:
		default:
			return 0, os.NewSyscallError("write", err)
		}
	}
}

// peek looks at what a read would find.
func peek(fd uintptr) IdleState {
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return Quiet
		case err != nil || n == 0:
			return PeerClosed
		default:
			return HasData
		}
	}
}

// ended is false: an end behind unread data does not show here.
func ended(uintptr, int) bool { return false }

// showEnd is false: an end behind data does not show when that is received.
func showEnd(uintptr) bool { return false }

func recvShown(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }
