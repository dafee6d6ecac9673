// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/proxyerr"
)

// A tunnel is a scripted proxy and the peer behind it, on one connection in
// memory.
type tunnel struct {
	answer string // to CONNECT
	then   string // what the peer says first, in one write with answer
	hangUp bool   // close after that

	asked string // network and address dialed
	got   string // the request
	done  chan struct{}
}

func (u *tunnel) peer() *Peer {
	u.done = make(chan struct{})
	return &Peer{
		Addr:  "[2001:db8::1]:8080",
		Proxy: &ConnectProxy{Addr: "proxy:3128", Header: []string{"Proxy-Authorization", "Basic YTpi", "X-A", ""}},
		Dial: func(_ context.Context, network, addr string) (net.Conn, error) {
			u.asked = network + " " + addr
			near, far := net.Pipe()
			go u.serve(far)
			return near, nil
		},
	}
}

// serve returns once the other side has closed the connection.
func (u *tunnel) serve(nc net.Conn) {
	defer close(u.done)
	defer nc.Close()
	b := make([]byte, len(wantConnect))
	n, _ := io.ReadFull(nc, b)
	u.got = string(b[:n])
	if u.hangUp {
		io.WriteString(nc, u.answer)
		return
	}
	go io.WriteString(nc, u.answer+u.then) // ends with nc
	io.Copy(io.Discard, nc)
}

const wantConnect = "CONNECT [2001:db8::1]:8080 HTTP/1.1\r\n" +
	"Host: [2001:db8::1]:8080\r\n" +
	"Proxy-Authorization: Basic YTpi\r\n" +
	"X-A: \r\n" +
	"\r\n"

func TestConnectThroughProxy(t *testing.T) {
	long := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxProxyHead)
	exact := long[:maxProxyHead-4] + "\r\n\r\n"
	tests := []struct {
		name   string
		answer string
		hangUp bool
		want   proxyerr.Kind // "" means success
	}{
		{"200", "HTTP/1.1 200 Connection established\r\n\r\n", false, ""},
		{"200 without reason", "HTTP/1.1 200\r\n\r\n", false, ""},
		{"204 of HTTP/1.0 with fields", "HTTP/1.0 204 No\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false, ""},
		{"longest head", exact, false, ""},
		{"too long a head", long, false, proxyerr.ConnectProxy},
		{"100", "HTTP/1.1 100 Continue\r\n\r\n", false, proxyerr.ConnectProxy},
		{"302", "HTTP/1.1 302 Found\r\n\r\n", false, proxyerr.ConnectProxy},
		{"407", "HTTP/1.1 407 Authenticate\r\n\r\n", false, proxyerr.ConnectProxy},
		{"502", "HTTP/1.1 502 Bad Gateway\r\n\r\n", false, proxyerr.ConnectProxy},
		{"not HTTP", "SSH-2.0-x\r\n\r\n", false, proxyerr.ConnectProxy},
		{"HTTP/2", "HTTP/2 200\r\n\r\n", false, proxyerr.ConnectProxy},
		{"status of one digit", "HTTP/1.1 2\r\n\r\n", false, proxyerr.ConnectProxy},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", false, proxyerr.ConnectProxy},
		{"no digits", "HTTP/1.1 2xx OK\r\n\r\n", false, proxyerr.ConnectProxy},
		{"HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", false, proxyerr.ConnectProxy},
		{"empty", "\r\n\r\n", false, proxyerr.ConnectProxy},
		{"closed", "", true, proxyerr.ConnectProxy},
		{"closed in the head", "HTTP/1.1 200 OK\r\n", true, proxyerr.ConnectProxy},
		{"silent", "", false, proxyerr.ConnectTimeout},
		{"silent in the head", "HTTP/1.1 200 OK\r\n", false, proxyerr.ConnectTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &tunnel{answer: tt.answer, hangUp: tt.hangUp}
				if tt.want == "" {
					u.then = ok
				}
				start := time.Now()
				conn, err := newConnector(t, Config{}).Get(t.Context(), u.peer(), nil)
				if tt.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					check(t, "body from the peer", exchange(t, conn), "hi")
					conn.Discard()
				} else {
					checkError(t, err, proxyerr.Upstream, tt.want, proxyerr.RetryAlways)
				}
				if tt.want == proxyerr.ConnectTimeout {
					check(t, "Get took", time.Since(start), 5*time.Second)
				}
				<-u.done // the connection is closed
				check(t, "address dialed", u.asked, "tcp proxy:3128")
				check(t, "request", u.got, wantConnect)
			})
		})
	}
}

// A proxy that does not even read the request costs no more than the timeout.
func TestConnectToDeafProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Peer{Addr: "a:1", Proxy: &ConnectProxy{Addr: "proxy:1"}, TotalConnectTimeout: time.Second}
		near, far := net.Pipe()
		p.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
		_, err := newConnector(t, Config{}).Get(t.Context(), p, nil)
		checkError(t, err, proxyerr.Upstream, proxyerr.ConnectTimeout, proxyerr.RetryAlways)
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("proxy reads %v, want EOF", err)
		}
	})
}

func TestConnectCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &tunnel{}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := newConnector(t, Config{}).Get(ctx, u.peer(), nil)
		checkError(t, err, proxyerr.Upstream, proxyerr.Canceled, proxyerr.RetryNever)
		check(t, "Get took", time.Since(start), time.Second)
		<-u.done // the connection is closed
	})
}

// The proxy itself cannot be reached.
func TestConnectProxyRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	p := &Peer{Addr: "a.example:1", Proxy: &ConnectProxy{Addr: ln.Addr().String()}}
	_, err = newConnector(t, Config{}).Get(t.Context(), p, nil)
	checkError(t, err, proxyerr.Upstream, proxyerr.ConnectRefused, proxyerr.RetryAlways)
}

func FuzzReadProxyAnswer(f *testing.F) {
	for _, seed := range []string{"", ok, "HTTP/1.1 200\r\n\r\n", "HTTP/1.0 299 A\r\nB: c\r\n\r\nmore", "HTTP/1.1 407 No\r\n\r\n", "\r\n\r\n", "HTTP/1.1 2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r := strings.NewReader(in)
		err := readProxyAnswer(r)
		// What follows the head is left, whatever the answer is.
		head, _, complete := strings.Cut(in, "\r\n\r\n")
		if n := len(in) - r.Len(); complete && n != len(head)+4 && n <= maxProxyHead {
			t.Errorf("%d bytes of %q were read, want %d", n, in, len(head)+4)
		}
		if err == nil && (!complete || !strings.HasPrefix(in, "HTTP/1.") || in[len("HTTP/1.1 ")] != '2') {
			t.Errorf("%q was taken for success", in)
		}
	})
}
