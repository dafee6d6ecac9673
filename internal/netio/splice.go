// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import "net"

// CanSplice reports whether Splice can move bytes from src to dst inside the
// kernel.
func CanSplice(dst, src *Conn) bool {
	return haveSplice && isTCP(dst) && isTCP(src)
}

func isTCP(c *Conn) bool {
	_, ok := c.nc.(*net.TCPConn)
	return ok && c.raw != nil
}

// A SpliceWriteError is an error of the destination of a Splice; all others
// are of its source.
type SpliceWriteError struct{ Err error }

func (e *SpliceWriteError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the connection.
func (e *SpliceWriteError) Unwrap() error { return e.Err }
