// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"io"
	"net"
	"time"
)

// splicePiece is how much one call of Splice moves at most between two looks
// at the clock, in bytes.
const splicePiece = 1 << 20

// CanSplice reports whether Splice can move bytes from src to dst inside the
// kernel.
func CanSplice(dst, src *Conn) bool {
	return haveSplice && isTCP(dst) && isTCP(src)
}

func isTCP(c *Conn) bool {
	_, ok := c.nc.(*net.TCPConn)
	return ok && c.raw != nil
}

// Splice moves up to n bytes from src to dst without copying them through the
// program. It waits until the armed read deadline of src, and at most timeout
// for dst to take more; zero and negative mean no bound. src must not be
// inside Loop. It returns the number of bytes moved, and io.EOF if src ended
// before n and before the size of a piece.
func Splice(dst, src *Conn, n int64, timeout time.Duration) (moved int64, err error) {
	out := dst.nc.(*net.TCPConn)
	dst.spliceBy = time.Time{}
	if timeout > 0 {
		dst.spliceBy = time.Now().Add(timeout)
		out.SetWriteDeadline(dst.spliceBy)
		defer out.SetWriteDeadline(time.Time{})
	}
	limited := io.LimitedReader{R: src.nc, N: min(n, splicePiece)}
	want := limited.N
	moved, err = out.ReadFrom(&limited)
	if err == nil && moved < want {
		err = io.EOF
	}
	return moved, err
}

// WriteExpired reports whether the last Splice to dst failed because dst took
// nothing for too long.
func WriteExpired(dst *Conn, now time.Time) bool {
	return !dst.spliceBy.IsZero() && !now.Before(dst.spliceBy)
}
