// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
)

const (
	upgradePost   = "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"
	switchEcho    = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
	fixedBody     = "Content-Length: 4\r\n\r\n"
	chunkedBody   = "Transfer-Encoding: chunked\r\n\r\n"
	expectingBody = "Expect: 100-continue\r\n" + fixedBody
)

// earlySwitch is an origin that switches before it has the request body, and
// then calls serve with the request, as soon as that is complete.
func earlySwitch(t *testing.T, serve func(c net.Conn, br *bufio.Reader, req proxytest.RecordedRequest, err error)) *proxytest.Origin {
	return proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
		if _, err := br.Peek(1); err != nil {
			return
		}
		_, _ = io.WriteString(c, switchEcho+"welcome")
		req, err := proxytest.ReadRequest(br)
		serve(c, br, req, err)
	}))
}

// startEarlyTunnel sends a request without its body and waits for the switch.
func startEarlyTunnel(t *testing.T, r *rig, framing string) *proxytest.Conn {
	t.Helper()
	conn := r.Dial()
	must(t, conn.Send(upgradePost+framing))
	if framing == expectingBody {
		conn.Next("POST").Check(t, 100, "") // RFC 9110 section 7.8: before 101
	}
	if res := conn.Next("POST"); res.Status != 101 || res.Fields.Get("Upgrade") != "echo" {
		t.Fatalf("got %v, fields %v; want 101 to echo", res, res.Fields.String())
	}
	if got, err := conn.ReadFull(7); got != "welcome" {
		t.Fatalf("got %q, %v; want welcome", got, err)
	}
	return conn
}

// A peer may switch before it has the body: what it says reaches the client at
// once, and the body reaches it before what the client says.
func TestTunnelBeforeBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, framing string
		pieces        []string
	}{
		{"fixed", fixedBody, []string{"bo", "dyraw"}},
		{"chunked", chunkedBody, []string{"2\r\nbo\r\n", "2\r\ndy\r\n0\r\n\r\nraw"}},
		{"chunked with trailers", chunkedBody, []string{"4\r\nbody\r\n0\r\nA: ", "b\r\n\r\n", "raw"}},
		{"expecting 100", expectingBody, []string{"bo", "dy", "raw"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bodies := make(chan string, 1)
			origin := earlySwitch(t, func(c net.Conn, br *bufio.Reader, req proxytest.RecordedRequest, err error) {
				bodies <- req.Text()
				if err == nil {
					_, _ = io.Copy(c, br)
				}
			})
			r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, proxy.Config{}, to(origin))
			conn := startEarlyTunnel(t, r, tt.framing)
			must(t, conn.SendPieces(5*time.Millisecond, tt.pieces...))
			if got := receive(t, "body", bodies); got != "body" {
				t.Errorf("body = %q, want body", got)
			}
			if got, err := conn.ReadFull(3); got != "raw" {
				t.Errorf("echo = %q, %v; want raw", got, err)
			}
			wantEcho(t, conn, "more")
			wantTunnelEnd(t, r, conn, origin)
		})
	}
}

// A peer that has said all keeps the other direction open, and with it the
// body.
func TestTunnelEndsBeforeBody(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		br := bufio.NewReader(c)
		_, _ = br.Peek(1)
		_, _ = io.WriteString(c, switchEcho+"welcome")
		_ = c.(*net.TCPConn).CloseWrite()
		req, _ := proxytest.ReadRequest(br)
		rest, _ := io.ReadAll(br)
		got <- req.Text() + "," + string(rest)
	}()
	r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, proxy.Config{}, toPeer(proxytest.PeerAt(l.Addr().String(), proxytest.H1)))
	conn := startEarlyTunnel(t, r, fixedBody)
	if rest, err := conn.Rest(); rest != "" || err != nil {
		t.Errorf("after the end of the peer's direction: %q, %v; want the end", rest, err)
	}
	must(t, conn.Send("bodyraw"))
	must(t, conn.CloseWrite())
	if got := receive(t, "request", got); got != "body,raw" {
		t.Errorf("the origin got %q, want body,raw", got)
	}
	r.wantOK()
}

// The tunnel is not idle while the body is on its way, which has a timeout of
// its own.
func TestTunnelIdleBeforeBody(t *testing.T) {
	t.Parallel()
	const idle = 1500 * time.Millisecond
	origin := earlySwitch(t, func(c net.Conn, br *bufio.Reader, _ proxytest.RecordedRequest, _ error) { _, _ = io.Copy(c, br) })
	r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, proxy.Config{TunnelIdleTimeout: idle}, to(origin))
	conn := startEarlyTunnel(t, r, fixedBody)
	time.Sleep(2 * idle)
	must(t, conn.Send("body"))
	wantEcho(t, conn, "raw")
	start := time.Now()
	if rest, _ := conn.Rest(); rest != "" || time.Since(start) > patience/2 {
		t.Errorf("after %v: %q, want the end of an idle tunnel", time.Since(start), rest)
	}
	r.wantOK()
}

// A body that fails ends the tunnel, for its own reason.
func TestTunnelBodyFails(t *testing.T) {
	t.Parallel()
	timeout := proxy.Config{Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{BodyTimeout: 300 * time.Millisecond}}}
	for _, tt := range []struct {
		name, framing string
		cfg           proxy.Config
		fail          func(*rig, *proxytest.Conn)
		want          proxyerr.Kind
	}{
		{"closes", fixedBody, proxy.Config{}, func(_ *rig, c *proxytest.Conn) { _ = c.Close() }, proxyerr.ConnClosed},
		{"half-closes", fixedBody, proxy.Config{}, func(_ *rig, c *proxytest.Conn) { _ = c.CloseWrite() }, proxyerr.ConnClosed},
		{"bad chunk", chunkedBody, proxy.Config{}, func(_ *rig, c *proxytest.Conn) { _ = c.Send("2\r\nbo\r\nzz\r\n") }, proxyerr.BadMessage},
		{"stalls", fixedBody, timeout, func(*rig, *proxytest.Conn) {}, proxyerr.ReadTimeout},
		{"refused by a hook", fixedBody, proxy.Config{}, func(_ *rig, c *proxytest.Conn) { _ = c.Send("evil") }, proxyerr.HookFailed},
		{"panics in a hook", fixedBody, proxy.Config{}, func(_ *rig, c *proxytest.Conn) { _ = c.Send("bomb") }, proxyerr.HookPanicked},
		{"killed", fixedBody, proxy.Config{}, func(r *rig, _ *proxytest.Conn) {
			ctx, cancel := context.WithCancel(r.t.Context())
			cancel()
			_ = r.proxy.Shutdown(ctx)
		}, proxyerr.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, idle := range []time.Duration{0, -1} { // with and without a limit
				ended := make(chan error, 1)
				origin := earlySwitch(t, func(_ net.Conn, _ *bufio.Reader, _ proxytest.RecordedRequest, err error) { ended <- err })
				h := to(origin)
				h.RequestBodyFilter = func(_ *proxy.Session, _ *none, piece []byte, _ bool) ([]byte, error) {
					switch string(piece) {
					case "evil":
						return nil, errors.New("evil")
					case "bomb":
						panic("in a body")
					}
					return piece, nil
				}
				tt.cfg.TunnelIdleTimeout = idle
				r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, tt.cfg, h)
				conn := startEarlyTunnel(t, r, tt.framing)
				tt.fail(r, conn)
				if err := receive(t, "end at the origin", ended); err == nil {
					t.Error("the origin took the request for a whole one")
				}
				r.wantKind(tt.want)
				if _, err := conn.Rest(); err == nil {
					t.Error("the client was told of a good end")
				}
				origin.WaitOpen(0)
			}
		})
	}
}

// A peer that switches and dies ends the tunnel and the upload.
func TestTunnelPeerDiesBeforeBody(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
		_, _ = br.ReadString('\n')
		_, _ = io.WriteString(c, switchEcho+"welcome")
		_, _ = br.ReadString('#')
		proxytest.Reset(c)
	}))
	r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, proxy.Config{}, to(origin))
	conn := startEarlyTunnel(t, r, chunkedBody)
	must(t, conn.Send("1\r\n#\r\n"))
	if _, err := conn.Rest(); err == nil {
		t.Error("the client was told of a good end")
	}
	r.wantKind(proxyerr.ConnClosed)
}
