// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
)

// warm returns a Connector and n peers, each with some idle connections.
func warm(tb testing.TB, n, conns int) (*Connector, []*Peer) {
	c := newConnector(tb, Config{MaxIdle: -1})
	peers := make([]*Peer, n)
	for i := range peers {
		peers[i] = &Peer{Addr: fmt.Sprintf("10.0.%d.%d:80", i>>8, i&255)}
		for range conns {
			plainConn(c, peers[i]).keep(time.Now())
		}
	}
	return c, peers
}

// BenchmarkIdleRelease takes a warm connection and puts it back. It leaves out
// the look at the socket, which is a system call.
func BenchmarkIdleRelease(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			c, peers := warm(b, n, 1)
			now := time.Now()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.Idle(peers[i%n], nil).keep(now)
			}
		})
	}
	for _, n := range []int{1, 3, 10_000} {
		b.Run(fmt.Sprintf("parallel/peers=%d", n), func(b *testing.B) {
			c, peers := warm(b, n, 4)
			now := time.Now()
			var worker atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := int(worker.Add(1)); pb.Next(); i++ {
					c.Idle(peers[i%n], nil).keep(now)
				}
			})
		})
	}
}

// BenchmarkIdleReleaseTCP is the same with the look at the socket.
func BenchmarkIdleReleaseTCP(b *testing.B) {
	c := newConnector(b, Config{})
	p := &Peer{Addr: (&origin{answer: ok}).listen(b, "tcp", "127.0.0.1:0")}
	conn := get(b, c, p)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		conn.keep(now)
		conn = c.Idle(p, nil)
	}
	conn.Discard()
}

// BenchmarkIdleFreshPeer is the same for a program that makes a Peer for each
// request: found by identity.
func BenchmarkIdleFreshPeer(b *testing.B) {
	c, peers := warm(b, 1, 1)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.Idle(&Peer{Addr: peers[0].Addr}, nil).keep(now)
	}
}

func TestIdleReleaseAllocs(t *testing.T) {
	c, peers := warm(t, 1, 1)
	now := time.Now()
	c.Idle(peers[0], nil).keep(now)
	if got := testing.AllocsPerRun(100, func() { c.Idle(peers[0], nil).keep(now) }); got > 0 {
		t.Errorf("%v allocations to take and put a warm connection, want 0", got)
	}
}

// Open costs no more, whatever the peer may speak.
func TestOpenAllocs(t *testing.T) {
	for name, p := range map[string]*Peer{
		"plain": {Addr: "10.0.0.1:80"},
		"TLS":   {Addr: "10.0.0.1:443", TLS: true, ALPN: ALPNH2HTTP1},
	} {
		c := newConnector(t, Config{})
		if p.TLS {
			c.muxes.open(p).chose(p, header.HTTP11) // as the dial does
		}
		now := time.Now()
		plainConn(c, p).keep(now)
		turn := func() { c.Open(p, nil).(*Conn).keep(now) }
		turn()
		if got := testing.AllocsPerRun(100, turn); got > 0 {
			t.Errorf("%s: %v allocations to open and release a warm stream, want 0", name, got)
		}
	}
}
