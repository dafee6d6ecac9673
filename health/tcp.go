// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// A TCPChecker holds a backend healthy if it accepts a connection, over TCP or
// on a Unix socket. The zero TCPChecker is ready to use.
//
// The connection is closed in the ordinary way, with FIN and not with a reset:
// the backend sees a client that came and went without a word, which servers
// take in silence, where a reset makes many of them log an error. As the side
// that closes first, we keep the connection in TIME_WAIT and the backend does
// not; a check per second costs about 60 local ports for each backend.
type TCPChecker struct {
	// Dial connects. Nil means net.Dialer.DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

var _ Checker = (*TCPChecker)(nil)

// plainDialer leaves keep-alive probes off: the connection is closed at once.
var plainDialer = net.Dialer{KeepAlive: -1}

// Check connects to addr and closes the connection.
func (c *TCPChecker) Check(ctx context.Context, addr string) error {
	dial := c.Dial
	if dial == nil {
		dial = plainDialer.DialContext
	}
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	conn, err := dial(ctx, network, addr)
	if conn != nil {
		_ = conn.Close() // it was accepted, and that was the question
	}
	switch {
	case err == nil:
		return nil
	case isLocalShortage(err):
		return fmt.Errorf("%w: connect: %w", ErrInconclusive, err)
	}
	return fmt.Errorf("connect: %w", err)
}

// isLocalShortage reports whether a dial failed because this side has run out
// of something.
func isLocalShortage(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	// All local ports for this destination are taken. With IPv6 the same
	// number also says that there is no address to send from: that backend
	// cannot be reached.
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		return false
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return false
	}
	to, ok := op.Addr.(*net.TCPAddr)
	return ok && to.IP.To4() != nil
}
