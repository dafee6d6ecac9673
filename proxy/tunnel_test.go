// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
)

const upgradeHead = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// openTunnel sends an upgrade request and checks the 101.
func openTunnel(t *testing.T, r *rig) *proxytest.Conn {
	t.Helper()
	conn := r.Dial()
	must(t, conn.Send(upgradeHead))
	checkSwitch(t, conn)
	return conn
}

func checkSwitch(t *testing.T, conn *proxytest.Conn) {
	t.Helper()
	res := conn.Response("GET")
	if res.Status != 101 || res.Fields.Get("Upgrade") != "echo" || res.Fields.Get("Connection") != "Upgrade" {
		t.Fatalf("got %v, fields %v; want 101 to echo", res, res.Fields.String())
	}
}

// wantEcho sends s and waits for it to come back.
func wantEcho(t *testing.T, conn *proxytest.Conn, s string) {
	t.Helper()
	must(t, conn.Send(s))
	if got, err := conn.ReadFull(len(s)); got != s {
		t.Fatalf("echo = %.100q, %v; want %.100q", got, err, s)
	}
}

// Pingora: upgrade_smoke, ws_server_ends_conn (the client closes).
func TestTunnel(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Upgrade("echo"))
		r := newRig(t, m, proxy.Config{}, to(origin))
		conn := openTunnel(t, r)
		req := origin.WaitRequests(1)[0]
		if req.Fields.Get("Upgrade") != "echo" || req.Fields.Get("Connection") != "Upgrade" {
			t.Errorf("the origin got %q", req.Head)
		}
		wantEcho(t, conn, "hello")
		wantEcho(t, conn, string(proxytest.Pattern(100_000)))
		wantTunnelEnd(t, r, conn, origin)
	})
}

// wantTunnelEnd ends a tunnel from the client's side and checks that all ends
// in good order.
func wantTunnelEnd(t *testing.T, r *rig, conn *proxytest.Conn, origin *proxytest.Origin) {
	t.Helper()
	must(t, conn.CloseWrite())
	if rest, err := conn.Rest(); rest != "" || err != nil {
		t.Errorf("after the end: %q, %v; want the end", rest, err)
	}
	if out := r.outcome(); out.err != nil || out.digest.Status != 101 {
		t.Errorf("Log got %v, status %d; want 101", out.err, out.digest.Status)
	}
	origin.WaitOpen(0)
}

// Much data in both directions at once, without deadlock or loss.
func TestTunnelVolume(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		r := newRig(t, m, proxy.Config{}, to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Upgrade("echo"))))
		conn := openTunnel(t, r)
		data := string(proxytest.Pattern(8 << 20))
		sent := make(chan error, 1)
		go func() { sent <- errors.Join(conn.Send(data), conn.CloseWrite()) }()
		got, err := conn.Rest()
		if got != data || err != nil {
			t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(data))
		}
		must(t, <-sent)
		r.wantOK()
	})
}

// What is sent before the switch is kept for after it.
func TestTunnelEarlyData(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
			if _, err := proxytest.ReadRequest(br); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: Echo\r\n\r\nwelcome")
				_, _ = io.Copy(c, br)
			}
		}))
		h := to(origin)
		h.ResponseFilter = func(_ *proxy.Session, _ *none, head *header.Response) error {
			head.Fields.Set("Upgrade", "echo")
			return nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		conn := r.Dial()
		must(t, conn.Send(upgradeHead+"early"))
		checkSwitch(t, conn)
		if got, err := conn.ReadFull(12); got != "welcomeearly" {
			t.Errorf("got %q, %v; want welcomeearly", got, err)
		}
		_ = conn.Close()
		r.outcome()
	})
}

// Pingora: ws_server_ends_conn (the server closes, in good order or not).
func TestTunnelEndsWithPeer(t *testing.T) {
	proxytest.CheckLeaks(t)
	for name, end := range map[string]func(net.Conn){"close": func(c net.Conn) { _ = c.Close() }, "reset": func(c net.Conn) { proxytest.Reset(c) }} {
		t.Run(name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
				origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
					if _, err := proxytest.ReadRequest(br); err == nil {
						_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
						_, _ = br.ReadString('.')
						end(c)
					}
				}))
				r := newRig(t, m, proxy.Config{}, to(origin))
				conn := openTunnel(t, r)
				must(t, conn.Send("bye."))
				rest, err := conn.Rest()
				if name == "close" && (rest != "" || err != nil) {
					t.Errorf("after the end: %q, %v; want the end", rest, err)
				}
				if name == "reset" && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("after a reset: %v, want a reset", err)
				}
				_ = conn.Close()
				if out := r.outcome(); (out.err != nil) != (name == "reset") {
					t.Errorf("Log got %v", out.err)
				}
			})
		})
	}
}

// Pingora: upgrade_body, upgrade_body_after_101.
func TestTunnelAfterBody(t *testing.T) {
	proxytest.CheckLeaks(t)
	const head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"
	tests := []struct {
		name   string
		early  bool // the origin answers before it has the body
		pieces []string
	}{
		{"at once", false, []string{head + "Content-Length: 4\r\n\r\nbodyraw"}},
		{"later", false, []string{head + "Content-Length: 4\r\n\r\n", "bo", "dyraw"}},
		{"chunked", false, []string{head + "Transfer-Encoding: chunked\r\n\r\n", "2\r\nbo\r\n", "2\r\ndy\r\n0\r\n\r\nraw"}},
		{"after 101", true, []string{head + "Content-Length: 4\r\n\r\n", "bo", "dyraw"}},
		{"chunked after 101", true, []string{head + "Transfer-Encoding: chunked\r\n\r\n", "2\r\nbo\r\n", "2\r\ndy\r\n0\r\n\r\n", "raw"}},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				bodies := make(chan string, 1)
				origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
					const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
					if tt.early {
						_, _ = br.Peek(1)
						_, _ = io.WriteString(c, answer)
					}
					req, err := proxytest.ReadRequest(br)
					bodies <- req.Text()
					if err != nil {
						return
					}
					if !tt.early {
						_, _ = io.WriteString(c, answer)
					}
					_, _ = io.Copy(c, br)
				}))
				r := newRig(t, m, proxy.Config{}, to(origin))
				conn := r.Dial()
				must(t, conn.SendPieces(5*time.Millisecond, tt.pieces...))
				checkSwitch(t, conn)
				if got := receive(t, "body", bodies); got != "body" {
					t.Errorf("body = %q, want body", got)
				}
				if got, err := conn.ReadFull(3); got != "raw" {
					t.Errorf("echo = %q, %v; want raw", got, err)
				}
				wantEcho(t, conn, "more")
				must(t, conn.CloseWrite())
				if rest, err := conn.Rest(); rest != "" || err != nil {
					t.Errorf("after the end: %q, %v; want the end", rest, err)
				}
				r.wantOK()
			})
		}
	})
}

// A peer that does not switch has answered as usual, and what follows is the
// next request.
func TestUpgradeDeclined(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("plain"))
		r := newRig(t, m, proxy.Config{}, to(origin))
		for _, res := range r.Pipeline(upgradeHead, r.Request("GET", "/next", "")) {
			res.Check(t, 200, "plain")
			r.wantOK()
		}
		if origin.Connections() != 1 || r.Connections() != 1 {
			t.Errorf("%d and %d connections, want one each", origin.Connections(), r.Connections())
		}
	})
}

// A protocol that was not asked for, or that the client cannot switch to.
func TestUnaskedSwitch(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"))
		r := newRig(t, m, proxy.Config{}, to(origin))
		for _, raw := range []string{
			upgradeHead,
			r.Request("GET", "/", ""),
			"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: other\r\n\r\n",                                  // Connection does not say so
			"GET / HTTP/1.0\r\nConnection: keep-alive, upgrade\r\nUpgrade: other\r\n\r\n",          // HTTP/1.0 cannot
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",             // never passed on
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other2, x/other\r\n\r\n", // not the same
		} {
			if res := r.Do(raw); res.Status != 502 {
				t.Errorf("%q: got %v, want 502", raw, res)
			}
			r.wantKind(proxyerr.BadMessage)
		}
	})
}

func TestTunnelFilters(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Upgrade("echo")))
		h.RequestBodyFilter = func(_ *proxy.Session, _ *none, c []byte, last bool) ([]byte, error) {
			switch {
			case last:
				return []byte("."), nil
			case string(c) == "panic":
				panic("in a tunnel")
			case string(c) == "fail":
				return nil, errors.New("in a tunnel")
			}
			return bytes.ToUpper(c), nil
		}
		h.ResponseBodyFilter = func(_ *proxy.Session, _ *none, c []byte, _ bool) ([]byte, error) {
			if strings.HasPrefix(string(c), "BOOM") {
				panic("on the way back")
			}
			return append([]byte("<"), c...), nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		conn := openTunnel(t, r)
		must(t, conn.Send("hi"))
		must(t, conn.CloseWrite())
		// The end of each direction shows too; pieces may come together.
		if got, err := conn.Rest(); strings.ReplaceAll(got, "<", "") != "HI." || !strings.HasPrefix(got, "<") || err != nil {
			t.Errorf("got %q, %v; want HI. with marks", got, err)
		}
		r.wantOK()
		for what, kind := range map[string]proxyerr.Kind{"panic": proxyerr.HookPanicked, "fail": proxyerr.HookFailed, "boom": proxyerr.HookPanicked} {
			conn := openTunnel(t, r)
			must(t, conn.Send(what))
			if _, err := conn.Rest(); err == nil {
				t.Errorf("%s: the tunnel ended in good order", what)
			}
			r.wantKind(kind)
		}
	})
}

func TestTunnelIdleTimeout(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		const idle = 1500 * time.Millisecond
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Upgrade("echo"))
		r := newRig(t, m, proxy.Config{TunnelIdleTimeout: idle}, to(origin))
		conn := openTunnel(t, r)
		start := time.Now()
		for time.Since(start) < 3*idle/2 { // not idle
			wantEcho(t, conn, "x")
			time.Sleep(idle / 50)
		}
		if _, err := conn.Rest(); errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		r.wantOK()
		origin.WaitOpen(0)
	})
}

// Without a limit an idle tunnel stays, and does not spin.
func TestTunnelWithoutIdleTimeout(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		r := newRig(t, m, proxy.Config{TunnelIdleTimeout: -1}, to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Upgrade("echo"))))
		conn := openTunnel(t, r)
		wantEcho(t, conn, "before")
		cpu := processTime(t)
		time.Sleep(1500 * time.Millisecond) // longer than any deadline that a wait before may have left
		if used := processTime(t) - cpu; used > 10*time.Second {
			t.Errorf("an idle tunnel used %v of processor time", used)
		}
		wantEcho(t, conn, "after")
		_ = conn.Close()
		r.outcome()
	})
}

func processTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Pingora: connect_proxying_disallowed_h1.
func TestConnectDisallowed(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream)))
		h.EarlyRequestFilter = func(*proxy.Session, *none) error { t.Error("a hook ran"); return nil }
		r := newRig(t, m, proxy.Config{}, h)
		conn := r.Dial()
		must(t, conn.Send("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
		res := conn.Response("CONNECT")
		if res.Status != 405 || res.Fields.Get("Allow") == "" || res.KeepAlive() {
			t.Errorf("got %v, Allow %q; want 405 and close", res, res.Fields.Get("Allow"))
		}
		if rest, _ := conn.Rest(); rest != "" {
			t.Errorf("after the answer: %q, want the end", rest)
		}
		r.wantKind(proxyerr.Unsupported)
	})
}

// Pingora: connect_proxying_allowed_h1.
func TestConnectAllowed(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		var refuse atomic.Bool
		origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
			req, err := proxytest.ReadRequest(br)
			switch {
			case err != nil:
			case refuse.Load():
				_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			default:
				// The framing fields mean nothing here (RFC 9110 section 9.3.6).
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"+req.Method+" "+req.Target+".")
				_, _ = io.Copy(c, br)
			}
		}))
		r := newRig(t, m, proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}, to(origin))
		conn := r.Dial()
		must(t, conn.Send("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n"))
		conn.Response("CONNECT").Check(t, 200, "")
		if got, err := conn.ReadFull(len("CONNECT b.test:443.")); got != "CONNECT b.test:443." {
			t.Errorf("got %q, %v", got, err)
		}
		wantEcho(t, conn, "raw")
		must(t, conn.CloseWrite())
		if rest, err := conn.Rest(); rest != "" || err != nil {
			t.Errorf("after the end: %q, %v; want the end", rest, err)
		}
		r.wantOK()

		refuse.Store(true)
		conn = r.Dial()
		must(t, conn.Send("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
		res := conn.Response("CONNECT")
		res.Check(t, 403, "no")
		if rest, _ := conn.Rest(); res.KeepAlive() || rest != "" {
			t.Errorf("keep-alive %v, then %q; want the end: what follows was meant for the tunnel", res.KeepAlive(), rest)
		}
		r.wantOK()
	})
}

// A request hidden behind a CONNECT must not reach anybody: the connection
// that carried a refused one is not used again.
func TestConnectIsNotPooled(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Status(403), proxytest.Body("no"))
		r := newRig(t, m, proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}, to(origin))
		r.Do("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n").Check(t, 403, "no")
		r.wantOK()
		if idle := r.proxy.Connector().Stats().Idle; idle != 0 {
			t.Errorf("%d connections kept, want none", idle)
		}
	})
}

// A CONNECT names one host, whatever its Host field says.
func TestConnectHost(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream)))
		h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) {
			return true, s.Respond(403, s.Request().Host()+" "+s.Request().Target)
		}
		r := newRig(t, m, proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}, h)
		r.Do("CONNECT internal.test:22 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n").Check(t, 403, "internal.test:22 internal.test:22")
	})
}
