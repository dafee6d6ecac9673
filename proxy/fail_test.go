// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

func TestStatusOf(t *testing.T) {
	e := func(s proxyerr.Source, k proxyerr.Kind) error { return proxyerr.New(s, k, "", nil) }
	up, down, in := proxyerr.Upstream, proxyerr.Downstream, proxyerr.Internal
	tests := []struct {
		err  error
		want int
	}{
		{errors.New("plain"), 500},
		{proxyerr.WithStatus(429, ""), 429},
		{fmt.Errorf("wrapped: %w", proxyerr.WithStatus(429, "")), 429},
		{&proxyerr.Error{Source: down, Kind: proxyerr.ConnClosed, Status: 499}, 499},
		{e(up, proxyerr.NoBackend), 503}, {e(in, proxyerr.BindFailed), 503},
		{e(up, proxyerr.ConnectTimeout), 504}, {e(up, proxyerr.TLSTimeout), 504}, {e(up, proxyerr.ReadTimeout), 504}, {e(up, proxyerr.WriteTimeout), 504},
		{e(up, proxyerr.ConnectRefused), 502}, {e(up, proxyerr.BadMessage), 502}, {e(up, proxyerr.TooLarge), 502}, {e(up, proxyerr.ConnClosed), 502},
		{e(in, proxyerr.SocketFailed), 503}, {e(in, proxyerr.HookPanicked), 500}, {e(in, proxyerr.HookFailed), 500},
		{e(down, proxyerr.BadMessage), 400}, {e(down, proxyerr.ReadTimeout), 408}, {e(down, proxyerr.TooLarge), 413},
		{e(down, proxyerr.ConnClosed), 0}, {e(down, proxyerr.WriteTimeout), 0}, {e(down, proxyerr.ReadFailed), 0},
	}
	for _, tt := range tests {
		if got := proxy.StatusOf(tt.err); got != tt.want {
			t.Errorf("StatusOf(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

// Pingora: error_before_headers_sent.
func TestErrorAnswers(t *testing.T) {
	proxytest.CheckLeaks(t)
	const short = 100 * time.Millisecond
	tests := []struct {
		name   string
		opts   []proxytest.OriginOption
		edit   func(*hooks)
		peer   func(*upstream.Peer)
		status int
		kind   proxyerr.Kind
		source proxyerr.Source
		level  slog.Level
	}{
		{name: "refused", opts: []proxytest.OriginOption{proxytest.Refuse()}, status: 502, kind: proxyerr.ConnectRefused, source: proxyerr.Upstream, level: slog.LevelError},
		{name: "connect timeout", peer: func(p *upstream.Peer) {
			p.ConnectTimeout = short
			p.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		}, status: 504, kind: proxyerr.ConnectTimeout, source: proxyerr.Upstream, level: slog.LevelError},
		{name: "cannot bind", peer: func(p *upstream.Peer) { p.BindTo = netip.MustParseAddrPort("192.0.2.1:0") }, status: 503, kind: proxyerr.BindFailed, source: proxyerr.Internal, level: slog.LevelError},
		{name: "read timeout", opts: []proxytest.OriginOption{proxytest.NeverAnswer()}, peer: func(p *upstream.Peer) { p.ReadTimeout = short }, status: 504, kind: proxyerr.ReadTimeout, source: proxyerr.Upstream, level: slog.LevelError},
		{name: "reset", opts: []proxytest.OriginOption{proxytest.ResetBeforeHead()}, status: 502, kind: proxyerr.ConnClosed, source: proxyerr.Upstream, level: slog.LevelError},
		{name: "no backend", edit: func(h *hooks) {
			h.UpstreamPeer = func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, proxyerr.NoBackend }
		}, status: 503, kind: proxyerr.NoBackend, source: proxyerr.Upstream, level: slog.LevelError},
		{name: "wrapped no backend", edit: func(h *hooks) {
			h.UpstreamPeer = func(*proxy.Session, *none) (*upstream.Peer, error) {
				return nil, fmt.Errorf("x: %w", proxyerr.NoBackend)
			}
		}, status: 503, kind: proxyerr.NoBackend, source: proxyerr.Upstream, level: slog.LevelError},
		{name: "hook fails", edit: func(h *hooks) {
			h.RequestFilter = func(*proxy.Session, *none) (bool, error) { return false, errors.New("x") }
		}, status: 500, kind: proxyerr.HookFailed, source: proxyerr.Internal, level: slog.LevelError},
		{name: "hook rejects", edit: func(h *hooks) {
			h.EarlyRequestFilter = func(*proxy.Session, *none) error { return proxyerr.WithStatus(429, "slow down") }
		}, status: 429, kind: proxyerr.HTTPStatus, source: proxyerr.Internal, level: slog.LevelDebug},
		{name: "unknown status", edit: func(h *hooks) {
			h.EarlyRequestFilter = func(*proxy.Session, *none) error { return proxyerr.WithStatus(799, "") }
		}, status: 799, kind: proxyerr.HTTPStatus, source: proxyerr.Internal, level: slog.LevelDebug},
		{name: "kept from the peer", edit: func(h *hooks) {
			h.ProxyUpstreamFilter = func(*proxy.Session, *none) (bool, error) { return false, nil }
		}, status: 502, kind: proxyerr.HTTPStatus, source: proxyerr.Internal, level: slog.LevelDebug},
		{name: "connected hook", edit: func(h *hooks) {
			h.ConnectedToUpstream = func(*proxy.Session, *none, *upstream.Peer) error { return proxyerr.WithStatus(503, "") }
		}, status: 503, kind: proxyerr.HTTPStatus, source: proxyerr.Internal, level: slog.LevelDebug},
		{name: "response hook", edit: func(h *hooks) {
			h.UpstreamResponseFilter = func(*proxy.Session, *none, *header.Response) error { return proxyerr.WithStatus(503, "") }
		}, status: 503, kind: proxyerr.HTTPStatus, source: proxyerr.Internal, level: slog.LevelDebug},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
				origin := proxytest.NewOrigin(t, append(tt.opts, proxytest.Speak(m.Upstream))...)
				peer := proxytest.To(origin)
				if tt.peer != nil {
					tt.peer(peer)
				}
				h := toPeer(peer)
				if tt.edit != nil {
					tt.edit(&h)
				}
				logs := &logRecords{level: -8}
				r := newRig(t, m, proxy.Config{Logger: slogTo(logs), MaxRetries: -1}, h)
				for range 2 {
					res := r.Get("/path")
					text := header.StatusText(tt.status)
					if text == "" {
						text = "Error"
					}
					res.Check(t, tt.status, fmt.Sprintf("%d %s\n", tt.status, text))
					if got := res.Fields.Get("Cache-Control"); got != "no-store" || !res.KeepAlive() {
						t.Errorf("Cache-Control %q, keep-alive %v; want no-store and an open connection", got, res.KeepAlive())
					}
					out := r.outcome()
					e, ok := errors.AsType[*proxyerr.Error](out.err)
					if !ok || e.Kind != tt.kind || e.Source != tt.source || out.digest.Status != tt.status {
						t.Errorf("Log got %v, status %d; want %s %q, %d", out.err, out.digest.Status, tt.source, tt.kind, tt.status)
					}
					if named := ok && e.Addr == peer.Addr; named != (tt.source == proxyerr.Upstream && tt.kind != proxyerr.NoBackend) && tt.kind != proxyerr.BindFailed {
						t.Errorf("Log got %v, want the address of the peer in an error of it, and only there", out.err)
					}
					if got := logs.take(); len(got) != 1 || got[0].Level != tt.level || attr(got[0], "request") != "GET /path, Host: origin.test" {
						t.Errorf("log records %v, want one at %v about the request", got, tt.level)
					}
				}
				if got := r.Connections(); got != 1 {
					t.Errorf("%d connections of the client, want 1", got)
				}
			})
		})
	}
}

func TestResponderAndFailToProxy(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		refusing := to(proxytest.NewOrigin(t, proxytest.Refuse()))
		responder := func(s *proxy.Session, status int, err error) error {
			if !errors.Is(err, proxyerr.ConnectRefused) {
				t.Errorf("Responder got %v", err)
			}
			return s.Respond(status+1, "sorry", "Retry-After", "5", "Content-Type", "text/x")
		}
		res := newRig(t, m, proxy.Config{MaxRetries: -1, Responder: responder}, refusing).Get("/")
		res.Check(t, 503, "sorry")
		if res.Fields.Get("Retry-After") != "5" || res.Fields.Get("Content-Type") != "text/x" {
			t.Errorf("fields %v", res.Fields.String())
		}

		h := refusing
		h.FailToProxy = func(s *proxy.Session, _ *none, err error) {
			if !errors.Is(err, proxyerr.ConnectRefused) {
				t.Errorf("FailToProxy got %v", err)
			}
			must(t, s.Respond(299, "answered"))
			if err := s.Respond(200, "again"); err == nil {
				t.Error("a second answer was accepted")
			}
		}
		r := newRig(t, m, proxy.Config{MaxRetries: -1, Responder: responder}, h)
		r.Get("/").Check(t, 299, "answered")
		r.wantKind(proxyerr.ConnectRefused)

		// A Responder that gives up must not leave half an answer.
		r = newRig(t, m, proxy.Config{MaxRetries: -1, Responder: func(s *proxy.Session, _ int, _ error) error {
			must(t, s.WriteHead(&header.Response{Status: 500, Length: 100}, false))
			return errors.New("changed my mind")
		}}, refusing)
		if res := r.Get("/"); res.Complete {
			t.Errorf("got %v, want a cut response", res)
		}
		// Nor one that forgets the body.
		r = newRig(t, m, proxy.Config{MaxRetries: -1, Responder: func(s *proxy.Session, _ int, _ error) error {
			return s.WriteHead(&header.Response{Status: 500, Length: 100}, false)
		}}, refusing)
		if res := r.Get("/"); res.Complete {
			t.Errorf("got %v, want a cut response", res)
		}
	})
}

func TestErrorLogHooks(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		logs := &logRecords{level: -8}
		h := to(proxytest.NewOrigin(t, proxytest.Refuse()))
		h.SuppressErrorLog = func(s *proxy.Session, _ *none, err error) bool {
			return s.Request().Target == "/quiet" && errors.Is(err, proxyerr.ConnectRefused)
		}
		h.RequestSummary = func(s *proxy.Session, _ *none) string { return "<" + s.Request().Target + ">" }
		r := newRig(t, m, proxy.Config{MaxRetries: -1, Logger: slogTo(logs)}, h)
		r.Get("/quiet")
		r.outcome()
		if got := logs.take(); len(got) != 0 {
			t.Errorf("records %v, want none", got)
		}
		r.Get("/loud")
		r.outcome()
		got := logs.take()
		if len(got) != 1 || attr(got[0], "request") != "</loud>" || attr(got[0], "status") != "502" || attr(got[0], "attempts") != "1" {
			t.Errorf("records %v, want one about </loud>", got)
		}
	})
}

// A failing backend must not fill the disk.
func TestErrorLogIsLimited(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		logs := &logRecords{level: slog.LevelInfo}
		h := to(proxytest.NewOrigin(t, proxytest.Refuse()))
		h.Log = func(*proxy.Session, *none, error) { panic("in Log") }
		r := newRig(t, m, proxy.Config{MaxRetries: -1, Logger: slogTo(logs)}, h)
		start := time.Now()
		const requests = 300
		for range requests {
			r.Get("/")
		}
		seconds := int(time.Since(start)/time.Second) + 2
		if got := len(logs.take()); got == 0 || got > 20*seconds {
			t.Errorf("%d records about %d requests in %d s, want at most 20 a second", got, requests, seconds)
		}
	})
}

// A client that is gone is nobody to answer, and no fault of ours.
func TestClientGone(t *testing.T) {
	proxytest.CheckLeaks(t)
	for name, leave := range map[string]func(*proxytest.Conn){
		"close":      func(c *proxytest.Conn) { _ = c.Close() },
		"half-close": func(c *proxytest.Conn) { _ = c.CloseWrite() },
		"reset":      (*proxytest.Conn).Reset,
	} {
		t.Run(name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
				for _, method := range []string{"GET", "POST"} {
					origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.NeverAnswer())
					logs := &logRecords{level: slog.LevelInfo}
					h := to(origin)
					ended := make(chan error, 1)
					h.ConnectedToUpstream = func(s *proxy.Session, _ *none, _ *upstream.Peer) error {
						ctx := s.Context()
						go func() { <-ctx.Done(); ended <- context.Cause(ctx) }()
						return nil
					}
					r := newRig(t, m, proxy.Config{Logger: slogTo(logs)}, h)
					conn := r.Dial()
					body := ""
					if method == "POST" {
						body = "body"
					}
					must(t, conn.Send(r.Request(method, "/", body)))
					origin.WaitRequests(1)
					start := time.Now()
					leave(conn)
					origin.WaitOpen(0)
					if took := time.Since(start); took > 5*time.Second {
						t.Errorf("the peer's connection ended %v after the client's", took)
					}
					out := r.outcome()
					e, ok := errors.AsType[*proxyerr.Error](out.err)
					if !ok || e.Source != proxyerr.Downstream || e.Kind != proxyerr.ConnClosed || out.digest.Attempts != 1 {
						t.Errorf("Log got %v after %d attempts, want a closed downstream connection after 1", out.err, out.digest.Attempts)
					}
					receive(t, "the end of Context", ended)
					if got := logs.take(); len(got) != 0 {
						t.Errorf("log records %v, want none", got)
					}
				}
			})
		})
	}
}

// Context ends while a hook waits, too.
func TestContextEndsInHook(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		inside := make(chan bool)
		h := hooks{
			RequestFilter: func(s *proxy.Session, _ *none) (bool, error) {
				ctx := s.Context()
				inside <- true
				<-ctx.Done()
				return false, ctx.Err()
			},
			UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, errors.New("not reached") },
		}
		r := newRig(t, m, proxy.Config{}, h)
		conn := r.Dial()
		must(t, conn.Send(r.Request("GET", "/", "")))
		receive(t, "hook", inside)
		_ = conn.Close()
		if out := r.outcome(); !errors.Is(out.err, context.Canceled) {
			t.Errorf("Log got %v, want %v", out.err, context.Canceled)
		}
	})
}

// The dial of a peer ends with its client.
func TestClientGoneInDial(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		dialing := make(chan bool, 1)
		peer := &upstream.Peer{Addr: "127.0.0.1:1", ConnectTimeout: -1, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialing <- true
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		r := newRig(t, m, proxy.Config{}, toPeer(peer))
		conn := r.Dial()
		must(t, conn.Send(r.Request("GET", "/", "")))
		receive(t, "dial", dialing)
		_ = conn.Close()
		out := r.outcome()
		if e, ok := errors.AsType[*proxyerr.Error](out.err); !ok || e.Source != proxyerr.Downstream || out.digest.Attempts != 1 {
			t.Errorf("Log got %v after %d attempts, want a downstream error after 1", out.err, out.digest.Attempts)
		}
	})
}

func TestAllowHalfClose(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Delay(500*time.Millisecond), proxytest.Body("late"))
		h := to(origin)
		h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) { s.Context(); return false, nil }
		r := newRig(t, m, proxy.Config{AllowHalfClose: true}, h)
		conn := r.Dial()
		must(t, conn.Send(r.Request("POST", "/", "body")))
		must(t, conn.CloseWrite())
		conn.Response("POST").Check(t, 200, "late")
		if rest, err := conn.Rest(); rest != "" || err != nil {
			t.Errorf("after the response: %q, %v; want the end", rest, err)
		}
		r.wantOK()
	})
}

// The client leaves while it receives: the peer's connection ends with it.
func TestClientGoneInResponse(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, opts := range [][]proxytest.OriginOption{nil, {proxytest.Chunked(1000)}, {proxytest.Drip(100, 10*time.Millisecond)}} {
			origin := proxytest.NewOrigin(t, append(opts, proxytest.Speak(m.Upstream), proxytest.BodySize(64<<20))...)
			r := newRig(t, m, proxy.Config{}, to(origin))
			conn := r.Dial()
			must(t, conn.Send(r.Request("GET", "/", "")))
			if _, err := conn.ReadFull(500); err != nil {
				t.Fatal(err)
			}
			conn.Reset()
			origin.WaitOpen(0)
			if e, ok := errors.AsType[*proxyerr.Error](r.outcome().err); !ok || e.Source != proxyerr.Downstream {
				t.Errorf("Log got %v, want a downstream error", e)
			}
		}
	})
}

// What the client sends that is no request never reaches a hook.
func TestMalformedRequest(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		logs := &logRecords{level: -8}
		h := hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) {
			t.Error("a hook ran")
			return nil, io.EOF
		}}
		r := newRig(t, m, proxy.Config{Logger: slogTo(logs)}, h)
		res := r.Do("GET / HTTP/1.1\r\n\r\n")
		if res.Status != 400 || res.KeepAlive() {
			t.Errorf("got %v, want 400 and close", res)
		}
		if got := r.proxy.Stats(); got.Rejected != 1 || got.Requests != 0 {
			t.Errorf("Stats = %+v, want one rejected and no request", got)
		}
		if got := logs.take(); len(got) != 1 || got[0].Level > slog.LevelInfo {
			t.Errorf("records %v, want one at info level at most", got)
		}
	})
}
