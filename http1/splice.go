// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"io"

	"github.com/belay-proxy/belay/internal/netio"
)

// minSplice is the number of bytes of body from which on moving them inside
// the kernel pays for the pipe it takes.
const minSplice = 64 << 10

// CanSplice reports whether what is left of the response body can go from src
// to dst without passing through the program: both are plain TCP, the framing
// is a length on both sides, and enough is left.
func CanSplice(dst *ServerStream, src *ClientConn) bool {
	return src.body.kind == bodyFixed && dst.out.kind == bodyFixed &&
		src.body.left == dst.out.left && src.body.left >= minSplice &&
		src.in.empty() && netio.CanSplice(dst.out.conn, src.io)
}

// Splice moves the rest of a response body for which CanSplice holds.
func Splice(dst *ServerStream, src *ClientConn) error {
	if err := dst.Flush(); err != nil {
		return err
	}
	src.in.release()
	for src.body.left > 0 {
		n, err := spliceSome(dst, src)
		src.body.left -= n
		src.body.received += n
		dst.out.left -= n
		dst.out.sent += n
		dst.out.bodySent += n
		if err != nil {
			return err
		}
	}
	src.body.done = true
	dst.out.done = true
	return nil
}

// spliceSome moves one piece, waiting for it as recvWait does.
func spliceSome(dst *ServerStream, src *ClientConn) (int64, error) {
	start := netio.Now()
	w := wait{start: start, limit: src.cfg.ReadTimeout, tick: firstTick}
	for now := start; ; now = netio.Now() {
		w.arm(&src.in, now)
		n, err := netio.Splice(dst.out.conn, src.io, src.body.left, dst.out.timeout)
		switch {
		case err == nil:
			return n, nil
		case err == io.EOF:
			return n, src.readError("read response body", io.ErrUnexpectedEOF)
		}
		if we, ok := errors.AsType[*netio.SpliceWriteError](err); ok {
			dst.out.failed = true
			return n, dst.flushError(we.Err)
		}
		if netio.IsTimeout(err) {
			if err = w.expired(&src.in, netio.Now()); err == nil {
				continue
			}
		}
		return n, src.readError("read response body", err)
	}
}
