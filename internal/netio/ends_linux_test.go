// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// After ShowEnd no end is missed by a caller that waits when More is false,
// though there is no event for one that has arrived together with data.
func TestShowEnd(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		if !c.Raw() {
			c.ShowEnd() // nothing to do
			return
		}
		c.ShowEnd()
		c.ArmRead(time.Now().Add(patience))
		p := make([]byte, 100)
		if _, err := c.once(); err != ErrAgain { // what came with the handshake is used up
			t.Fatalf("first look: %v, want %v", err, ErrAgain)
		}

		// Over TCP one Recv is enough to know that nothing else is here.
		if _, err := io.WriteString(far, "one"); err != nil {
			t.Fatal(err)
		}
		if n, err := recvLoop(c, p); string(p[:n]) != "one" || err != nil {
			t.Fatalf("Recv = %q, %v, want one", p[:n], err)
		}
		_, unix := c.NetConn().(*net.UnixConn)
		if c.More() != unix {
			t.Errorf("More = %v, want %v", c.More(), unix)
		}

		if _, err := io.WriteString(far, "two"); err != nil {
			t.Fatal(err)
		}
		endStream(t, far)
		c.raw.Control(func(fd uintptr) {
			for start := time.Now(); !ended(fd, 1<<20); {
				if time.Since(start) > patience {
					t.Fatal("the end has not arrived")
				}
			}
		})
		if n, err := recvLoop(c, p); string(p[:n]) != "two" || err != nil || !c.More() {
			t.Errorf("Recv = %q, %v, More = %v; want two and more", p[:n], err, c.More())
		}
		if n, err := recvLoop(c, p); n != 0 || err != io.EOF {
			t.Errorf("Recv = %d, %v, want the end", n, err)
		}
	})
}

// endStream ends a direction, of TLS without a goodbye.
func endStream(t *testing.T, nc net.Conn) {
	t.Helper()
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}
