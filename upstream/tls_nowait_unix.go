// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package upstream

import (
	"io"
	"syscall"
)

// readNow reads from a socket without waiting.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, errWouldWait
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// writeNow writes to a socket without waiting.
func writeNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN, err == nil && n < len(p):
			return max(n, 0), errWouldWait
		case err != nil:
			return 0, err
		default:
			return n, nil
		}
	}
}
