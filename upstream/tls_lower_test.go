// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// idleTLS returns a connection in the pool of c and the server's end of it.
func idleTLS(t *testing.T, answer string) (c *Connector, p *Peer, conn *Conn, server *tls.Conn) {
	t.Helper()
	ca := testcert.NewCA(t, "root")
	o := &origin{answer: answer}
	p = &Peer{Addr: o.listenTLS(t, serverConfig(ca.Issue(t, testcert.Spec{Names: []string{"127.0.0.1"}}))), TLS: true}
	c = newConnector(t, Config{RootCAs: ca.Pool()})
	conn = get(t, c, p)
	conn.Release(time.Now())
	return c, p, conn, o.last().(*tls.Conn)
}

// What a peer sends or does to an idle connection is seen before its next use.
func TestIdleTLS(t *testing.T) {
	t.Run("quiet", func(t *testing.T) {
		t.Parallel()
		c, p, _, _ := idleTLS(t, ok)
		for range 3 {
			conn := get(t, c, p)
			check(t, "Reused", conn.Reused(), true)
			conn.Release(time.Now())
		}
	})
	t.Run("unasked bytes", func(t *testing.T) {
		t.Parallel()
		c, p, conn, server := idleTLS(t, ok)
		io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\n")
		eventually(t, "the bytes arrive", func() bool { return conn.idleState() != netio.Quiet })
		next := get(t, c, p)
		check(t, "Reused", next.Reused(), false)
		next.Discard()
	})
	t.Run("chatty", func(t *testing.T) {
		t.Parallel()
		c, p, conn, server := idleTLS(t, ok)
		io.WriteString(server, "x")
		raw := netio.New(conn.NetConn().(*tls.Conn).NetConn().(*tlsLower).Conn)
		eventually(t, "the byte arrives", func() bool { return raw.Idle() == netio.HasData })
		get(t, c, p).Discard()
		check(t, "Stats", c.Stats(), Stats{Dialed: 2, Chatty: 1})
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		c, p, conn, server := idleTLS(t, ok)
		server.Close()
		raw := netio.New(conn.NetConn().(*tls.Conn).NetConn().(*tlsLower).Conn)
		eventually(t, "the end arrives", func() bool { return raw.Idle() != netio.Quiet })
		get(t, c, p).Discard()
		check(t, "Stats", c.Stats(), Stats{Dialed: 2, Stale: 1})
	})
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		c, p, conn, server := idleTLS(t, ok)
		server.NetConn().(*net.TCPConn).SetLinger(0)
		server.NetConn().Close()
		raw := netio.New(conn.NetConn().(*tls.Conn).NetConn().(*tlsLower).Conn)
		eventually(t, "the reset arrives", func() bool { return raw.Idle() != netio.Quiet })
		get(t, c, p).Discard()
		check(t, "Stats", c.Stats(), Stats{Dialed: 2, Stale: 1})
	})
}

// Part of a record that arrives while a connection is idle is not lost: the
// rest makes it whole.
func TestIdleTLSPartialRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testcert.NewCA(t, "root")
		cfg := serverConfig(ca.Issue(t, testcert.Spec{Names: []string{"example.com"}}))
		cfg.SessionTicketsDisabled = true // a pipe has no room for tickets
		near, far := net.Pipe()
		go func() {
			s := tls.Server(far, cfg)
			io.WriteString(s, "hello")
			s.Close()
		}()
		l := newTLSLower(near)
		tc := tls.Client(l, &tls.Config{RootCAs: ca.Pool(), ServerName: "example.com"})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		check(t, "look without descriptor", look(tc, l), netio.Quiet)
		got, err := io.ReadAll(tc)
		check(t, "text", string(got), "hello")
		check(t, "error", err, nil)
	})
}

// The deadline of the last read may have passed while a connection is idle.
func TestIdleTLSAfterDeadline(t *testing.T) {
	c, p, conn, _ := idleTLS(t, ok)
	conn.NetConn().SetDeadline(time.Unix(1, 0))
	check(t, "state", conn.idleState(), netio.Quiet)
	next := get(t, c, p)
	check(t, "Reused", next.Reused(), true)
	next.Discard()
}

// Closing does not wait for a peer that takes nothing.
func TestTLSCloseDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testcert.NewCA(t, "root")
		cfg := serverConfig(ca.Issue(t, testcert.Spec{Names: []string{"a"}}))
		cfg.SessionTicketsDisabled = true
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go tls.Server(far, cfg).Handshake()
			return near, nil
		}
		c := newConnector(t, Config{Dial: dial, RootCAs: ca.Pool()})
		conn, err := c.Dial(t.Context(), &Peer{Addr: "a:1", TLS: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		conn.Discard()
		check(t, "time to close", time.Since(start), 0)
	})
}

// A goodbye is sent if there is room for it.
func TestTLSCloseSaysGoodbye(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := serverConfig(ca.Issue(t, testcert.Spec{Names: []string{"127.0.0.1"}}))
	cfg.SessionTicketsDisabled = true // closing with unread ones would be a reset
	ready, rest := make(chan struct{}), make(chan int)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			close(ready)
			close(rest)
			return
		}
		defer nc.Close()
		_ = tls.Server(nc, cfg).Handshake()
		close(ready)
		b, _ := io.ReadAll(nc)
		rest <- len(b)
	}()
	c := newConnector(t, Config{RootCAs: ca.Pool()})
	conn, err := c.Dial(t.Context(), &Peer{Addr: ln.Addr().String(), TLS: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-ready // or it would read what follows, too
	conn.Discard()
	const alert = 5 + 2 + 1 + 16 // record header, alert, type, tag
	check(t, "bytes after the handshake", <-rest, alert)
}

func BenchmarkIdleReleaseTLS(b *testing.B) {
	ca := testcert.NewCA(b, "root")
	o := &origin{answer: ok}
	p := &Peer{Addr: o.listenTLS(b, serverConfig(ca.Issue(b, testcert.Spec{Names: []string{"127.0.0.1"}}))), TLS: true}
	c := newConnector(b, Config{RootCAs: ca.Pool()})
	conn := get(b, c, p)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		conn.keep(now)
		conn = c.Idle(p, nil)
	}
	conn.Discard()
}
