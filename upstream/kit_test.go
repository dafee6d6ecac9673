// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
)

const (
	ok          = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	okThenClose = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
)

// An origin answers every request on its connections with the same bytes, or
// closes the connection if there are none.
type origin struct {
	answer string
	open   atomic.Int64 // connections that the other side has not closed

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

// serve answers requests on nc until the other side closes it.
func (o *origin) serve(nc net.Conn) {
	o.mu.Lock()
	o.conns = append(o.conns, nc)
	o.mu.Unlock()
	o.open.Add(1)
	defer o.open.Add(-1)
	defer nc.Close()
	r := bufio.NewReader(nc)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line != "\r\n" {
			continue
		}
		if _, err := io.WriteString(nc, o.answer); err != nil || o.answer == "" {
			return
		}
	}
}

// dial connects to o in memory, whatever the address.
func (o *origin) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go o.serve(far)
	return near, nil
}

// listen lets o serve a real socket. It returns the address as in Peer.Addr.
func (o *origin) listen(t testing.TB, network, addr string) string {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Skip(err) // no IPv6, for example
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go o.serve(nc)
		}
	}()
	if network == "unix" {
		return "unix:" + ln.Addr().String()
	}
	return ln.Addr().String()
}

// last returns the server's end of the connection accepted last.
func (o *origin) last() net.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conns[len(o.conns)-1]
}

// newConnector returns a Connector that is closed when t ends.
func newConnector(t testing.TB, cfg Config) *Connector {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// get returns a connection that has carried one exchange to its end.
func get(t testing.TB, c *Connector, p *Peer) *Conn {
	t.Helper()
	conn, err := c.Get(t.Context(), p, nil)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if body := exchange(t, conn); body != "hi" {
		t.Fatalf("response body = %q, want %q", body, "hi")
	}
	return conn
}

// exchange sends a request and returns the body of its response.
func exchange(t testing.TB, conn *Conn) string {
	t.Helper()
	req := &header.Request{Method: "GET", Target: "/"}
	req.Fields.Add("Host", "example.com")
	if err := conn.WriteHead(req, "", false, true); err != nil {
		t.Fatal(err)
	}
	var res header.Response
	if err := conn.SendAndReadHead(&res); err != nil {
		t.Fatal(err)
	}
	var body strings.Builder
	for last := false; !last; {
		var piece []byte
		var err error
		if piece, last, err = conn.ReadBody(); err != nil {
			t.Fatal(err)
		}
		body.Write(piece)
	}
	return body.String()
}

// eventually fails t if cond does not become true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// plainConn returns a clean connection to nobody, ready to be kept.
func plainConn(c *Connector, p *Peer) *Conn {
	nc, _ := net.Pipe()
	conn := &Conn{ClientConn: http1.NewClientConn(nc), connector: c, peer: p}
	conn.cfg = conn.cfg.WithDefaults()
	return conn
}

// check fails t if got is not want.
func check[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}
