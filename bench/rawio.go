// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"io"
	"net"
	"syscall"
)

// readEach calls take with the bytes of each non-blocking read from conn,
// placed in what space returns, until take returns true or an error, or the
// read fails. It returns io.EOF if the other side has closed.
//
// start, if not nil, runs once before the first wait: a client sends there.
// The whole conversation is one call of RawConn.Read, so that each wait
// begins before the awaited bytes can have come and no read finds nothing.
// take may write to conn but must not read or close it.
//
// An end that comes together with the last bytes is not seen before the next
// event, so conn must be one on which the other side waits for us in turn.
func readEach(conn *net.TCPConn, start func() error, space func() []byte, take func(n int) (done bool, err error)) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		if start != nil {
			failed = start()
			start = nil
			return failed != nil
		}
		for {
			buf := space()
			n, err := syscall.Read(int(fd), buf)
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN:
				return false
			case err != nil:
				failed = err
				return true
			case n == 0:
				failed = io.EOF
				return true
			}
			done, err := take(n)
			if done || err != nil {
				failed = err
				return true
			}
			if n < len(buf) {
				return false // drained: the next byte is a new event
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}
