// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// tlsLower is the transport below a TLS connection: what crypto/tls reads and
// writes.
type tlsLower struct {
	*netio.Transport // on the connection as it was accepted
	tls              *TLS

	// The state of the handshake, used by its goroutine only.
	shaking  bool
	turn     bool      // it holds a place in tls.turns
	deadline time.Time // zero if there is none

	// What is known when it is over.
	policy *tlsPolicy
	ja4    string
}

// JA4 returns the fingerprint of what the client offered.
func (l *tlsLower) JA4() string { return l.ja4 }

// Serves reports whether a request for host may be answered on the
// connection: whether the policy for host is the one that the connection was
// made with. If it is not, the right answer is 421 (RFC 9110 section 15.5.20).
// host may have a port, as in a Host field.
func (l *tlsLower) Serves(host string) bool {
	if len(l.tls.policies.byName) == 0 {
		return true
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return l.tls.policies.find(host) == l.policy
}

// Read reads from the transport. During the handshake it lets others compute
// while it waits for the client.
func (l *tlsLower) Read(p []byte) (int, error) {
	if !l.shaking {
		return l.Transport.Read(p)
	}
	l.yield()
	n, err := l.Transport.Read(p)
	if err != nil {
		return n, err
	}
	return n, l.takeTurn()
}

// takeTurn waits until the handshake may compute.
func (l *tlsLower) takeTurn() error {
	turns := l.tls.turns
	if turns == nil {
		return nil
	}
	select {
	case turns <- struct{}{}:
		l.turn = true
		return nil
	default:
	}
	ctx := context.Background()
	if !l.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, l.deadline)
		defer cancel()
	}
	select {
	case turns <- struct{}{}:
		l.turn = true
		return nil
	case <-ctx.Done():
		return os.ErrDeadlineExceeded
	}
}

// yield ends the turn, if it is one.
func (l *tlsLower) yield() {
	if l.turn {
		l.turn = false
		<-l.tls.turns
	}
}
