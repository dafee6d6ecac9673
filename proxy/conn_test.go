// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

func ExampleNew() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from the origin")
	}))
	defer origin.Close()
	peer := &upstream.Peer{Addr: origin.Listener.Addr().String()}

	p, err := proxy.New(proxy.Config{}, proxy.Hooks[struct{}]{
		UpstreamPeer: func(*proxy.Session, *struct{}) (*upstream.Peer, error) {
			return peer, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	url, stop := proxytest.Serve(p)
	defer stop()

	res, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(res.StatusCode, string(body))
	// Output: 200 hello from the origin
}

// A route of its own for uploads, so that the others keep their fast path.
func ExampleNewSwitch() {
	answer := func(text string) *proxy.Proxy {
		p, err := proxy.New(proxy.Config{}, proxy.Hooks[struct{}]{
			RequestFilter: func(s *proxy.Session, _ *struct{}) (bool, error) { return true, s.Respond(200, text) },
			UpstreamPeer:  func(*proxy.Session, *struct{}) (*upstream.Peer, error) { return nil, nil },
		})
		if err != nil {
			log.Fatal(err)
		}
		return p
	}
	uploads, others := answer("uploads"), answer("others")
	s, err := proxy.NewSwitch(proxy.Config{}, func(r *header.Request) *proxy.Proxy {
		if strings.HasPrefix(r.Path(), "/upload/") {
			return uploads
		}
		return others
	})
	if err != nil {
		log.Fatal(err)
	}
	url, stop := proxytest.Serve(s)
	defer stop()
	for _, path := range []string{"/upload/x", "/y"} {
		res, err := http.Get(url + path)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		fmt.Println(path, string(body))
	}
	// Output:
	// /upload/x uploads
	// /y others
}

func TestNewErrors(t *testing.T) {
	if _, err := proxy.New(proxy.Config{}, hooks{}); err == nil {
		t.Error("New accepts hooks without UpstreamPeer")
	}
	good := toPeer(&upstream.Peer{Addr: "127.0.0.1:1"})
	for name, cfg := range map[string]proxy.Config{
		"Via":              {Forwarding: proxy.Forwarding{Via: "a b"}},
		"Percent":          {RetryBudget: proxy.RetryBudget{Percent: 1001}},
		"MaxRetries":       {MaxRetries: 101},
		"MaxReplayBytes":   {MaxReplayBytes: 64<<20 + 1},
		"MaxHeadBytes":     {Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{Limits: http1.Limits{MaxHeadBytes: 1}}}},
		"MaxFields":        {Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{Limits: http1.Limits{MaxFields: -1}}}},
		"MaxTrailerBytes":  {Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{Limits: http1.Limits{MaxTrailerBytes: -1}}}},
		"MaxChunkExtBytes": {Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{Limits: http1.Limits{MaxChunkExtBytes: -1}}}},
	} {
		if _, err := proxy.New(cfg, good); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New with a bad %s: %v, want an error that names it", name, err)
		}
		if _, err := proxy.NewSwitch(cfg, nil); err == nil {
			t.Errorf("NewSwitch with a bad %s: no error", name)
		}
	}
	if _, err := proxy.New(proxy.Config{MaxRetries: 100, MaxReplayBytes: 64 << 20, RetryBudget: proxy.RetryBudget{Percent: 1000}}, good); err != nil {
		t.Errorf("New at the limits: %v", err)
	}
}

// Each request of a connection may belong to another proxy. One that nobody
// takes fails alone.
func TestSwitch(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		newProxy := func(name string) *proxy.Proxy {
			h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body(name)))
			if name == "b" {
				h.ResponseBodyFilter = func(_ *proxy.Session, _ *none, c []byte, _ bool) ([]byte, error) { return c, nil }
			}
			p, err := proxy.New(proxy.Config{}, h)
			must(t, err)
			t.Cleanup(p.Connector().Close)
			return p
		}
		a, b := newProxy("a"), newProxy("b")
		s, err := proxy.NewSwitch(proxy.Config{Logger: slog.New(slog.DiscardHandler)}, func(r *header.Request) *proxy.Proxy {
			switch r.Target {
			case "/a":
				return a
			case "/b":
				return b
			case "/panic":
				panic("in choose")
			}
			return nil
		})
		must(t, err)
		client := proxytest.NewClient(t, proxytest.Listen(t, s), proxytest.As(m.Downstream))
		for range 3 {
			client.Get("/a").Check(t, 200, "a")
			client.Get("/b").Check(t, 200, "b")
			client.Get("/panic").Check(t, 500, "")
			client.Get("/nil").Check(t, 500, "")
		}
		if got := client.Connections(); got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
		want := proxy.Stats{Connections: 1, Requests: 12}
		eventually(t, fmt.Sprintf("Stats %+v", want), func() bool { return s.Stats() == want })
	})
}

func TestStats(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.NeverAnswer())
		r := newRig(t, m, proxy.Config{}, to(origin))
		conn := r.Dial()
		must(t, conn.Send(r.Request("GET", "/", "")))
		origin.WaitRequests(1)
		if got, want := r.proxy.Stats(), (proxy.Stats{Connections: 1, Active: 1, Requests: 1}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
		_ = conn.Close()
		r.outcome()
		eventually(t, "the connection to end", func() bool { return r.proxy.Stats() == proxy.Stats{Requests: 1} })
	})
}

// shutdown calls Shutdown on a goroutine of its own.
func shutdown(ctx context.Context, r *rig) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.proxy.Shutdown(ctx) }()
	return done
}

func TestShutdownEndsIdle(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		r := newRig(t, m, proxy.Config{}, to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))))
		var conns []*proxytest.Conn
		for range 5 {
			conn := r.Dial()
			must(t, conn.Send(r.Request("GET", "/", "")))
			conn.Response("GET").Check(t, 200, "")
			r.wantOK()
			conns = append(conns, conn)
		}
		must(t, receive(t, "Shutdown", shutdown(t.Context(), r)))
		for _, conn := range conns {
			if rest, err := conn.Rest(); rest != "" || err != nil {
				t.Errorf("an idle connection got %q, %v; want the end", rest, err)
			}
		}
		must(t, receive(t, "second Shutdown", shutdown(t.Context(), r)))
		// One that was accepted just before is still served, once.
		res := r.Get("/")
		res.Check(t, 200, "")
		if res.KeepAlive() {
			t.Error("a late connection stays open")
		}
	})
}

// What is in hand is finished, and the connection says that it ends.
func TestShutdownFinishesBusy(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		answerNow, arrived := make(chan bool), make(chan bool, 3)
		origin := proxytest.NewOrigin(t, proxytest.Handle(func(proxytest.RecordedRequest) []byte {
			arrived <- true
			<-answerNow
			return []byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
		}))
		h := to(origin)
		draining := make(chan bool, 3)
		h.ResponseFilter = func(s *proxy.Session, _ *none, _ *header.Response) error { draining <- s.Draining(); return nil }
		r := newRig(t, m, proxy.Config{}, h)
		var conns []*proxytest.Conn
		for i, raw := range []string{
			r.Request("GET", "/", ""), r.Request("POST", "/", "body"), // the third has a body that is still to come
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n",
		} {
			conn := r.Dial()
			must(t, conn.Send(raw))
			if i < 2 {
				receive(t, "request", arrived)
			} else {
				origin.WaitConnections(3)
			}
			conns = append(conns, conn)
		}
		done := shutdown(t.Context(), r)
		eventually(t, "draining", func() bool { // no new request on an old connection is needed to see it
			conn := r.Dial()
			defer conn.Close()
			_ = conn.Send("GET http://x HTTP/9.9\r\n\r\n")
			return conn.Response("GET").Status == 505 && !isDone(done)
		})
		must(t, conns[2].Send("body"))
		receive(t, "request", arrived)
		for range 3 {
			answerNow <- true
		}
		for _, conn := range conns {
			res := conn.Response("GET")
			res.Check(t, 200, "done")
			if res.KeepAlive() {
				t.Error("a busy connection stays open")
			}
			if !receive(t, "ResponseFilter", draining) {
				t.Error("Draining is false")
			}
		}
		must(t, receive(t, "Shutdown", done))
	})
}

func isDone(c <-chan error) bool { return len(c) > 0 }

// When the time is up, everything ends, whatever it waits for.
func TestShutdownKills(t *testing.T) {
	proxytest.CheckLeaks(t)
	blocked := func(p *upstream.Peer, started chan<- bool) {
		p.ConnectTimeout = -1
		p.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			started <- true
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	tests := []struct {
		name  string
		opts  []proxytest.OriginOption
		peer  func(*upstream.Peer, chan<- bool)
		hooks func(*hooks, chan<- bool)
		raw   string
		ready func(*testing.T, *proxytest.Conn, *proxytest.Origin)
	}{
		{name: "waiting for the answer", opts: []proxytest.OriginOption{proxytest.NeverAnswer()},
			ready: func(_ *testing.T, _ *proxytest.Conn, o *proxytest.Origin) { o.WaitRequests(1) }},
		{name: "dialing", peer: blocked},
		{name: "in a hook", hooks: func(h *hooks, started chan<- bool) {
			h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) {
				started <- true
				<-s.Context().Done()
				return false, s.Context().Err()
			}
		}},
		{name: "uploading", raw: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
			ready: func(_ *testing.T, _ *proxytest.Conn, o *proxytest.Origin) { o.WaitConnections(1) }},
		{name: "uploading to nobody", opts: []proxytest.OriginOption{proxytest.NeverRead()}, raw: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n",
			ready: func(t *testing.T, c *proxytest.Conn, o *proxytest.Origin) {
				for nc, p := c.NetConn(), make([]byte, 64<<10); ; {
					_ = nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
					if _, err := nc.Write(p); err != nil {
						return
					}
				}
			}},
		{name: "downloading to nobody", opts: []proxytest.OriginOption{proxytest.BodySize(64 << 20)},
			ready: func(t *testing.T, c *proxytest.Conn, _ *proxytest.Origin) {
				_, err := c.ReadFull(1000)
				must(t, err)
			}},
		{name: "trickling", opts: []proxytest.OriginOption{proxytest.BodySize(1000), proxytest.Drip(1, 100*time.Millisecond)},
			ready: func(t *testing.T, c *proxytest.Conn, _ *proxytest.Origin) {
				_, err := c.ReadFull(17)
				must(t, err)
			}},
		{name: "tunnel", opts: []proxytest.OriginOption{proxytest.Upgrade("echo")}, raw: upgradeHead,
			ready: func(t *testing.T, c *proxytest.Conn, _ *proxytest.Origin) { checkSwitch(t, c) }},
		{name: "half a head", raw: "GET / HTTP/1.1\r\nHo", ready: func(*testing.T, *proxytest.Conn, *proxytest.Origin) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
				origin := proxytest.NewOrigin(t, append(tt.opts, proxytest.Speak(m.Upstream))...)
				peer := proxytest.To(origin)
				started := make(chan bool, 1)
				if tt.peer != nil {
					tt.peer(peer, started)
				}
				h := toPeer(peer)
				if tt.hooks != nil {
					tt.hooks(&h, started)
				}
				logs := &logRecords{level: slog.LevelError}
				r := newRig(t, m, proxy.Config{Logger: slogTo(logs)}, h)
				conn := r.Dial()
				if tt.raw == "" {
					tt.raw = r.Request("GET", "/", "")
				}
				must(t, conn.Send(tt.raw))
				if tt.ready != nil {
					tt.ready(t, conn, origin)
				} else {
					receive(t, "start", started)
				}
				eventually(t, "the connection", func() bool { return r.proxy.Stats().Connections == 1 })
				ctx, cancel := context.WithCancel(t.Context())
				done := shutdown(ctx, r)
				time.Sleep(time.Millisecond)
				if isDone(done) {
					t.Error("Shutdown did not wait")
				}
				cancel()
				if err := receive(t, "Shutdown", done); err != context.Canceled {
					t.Errorf("Shutdown = %v, want %v", err, context.Canceled)
				}
				if got := r.proxy.Stats(); got.Connections != 0 || got.Active != 0 {
					t.Errorf("Stats = %+v, want nothing left", got)
				}
				if tt.name != "half a head" {
					if out := r.outcome(); out.err == nil || out.digest.Attempts > 1 {
						t.Errorf("Log got %v after %d attempts, want an error after one at most", out.err, out.digest.Attempts)
					}
				}
				for _, rec := range logs.take() {
					t.Errorf("logged as an error, though it was ended on purpose: %s: %s", rec.Message, attr(rec, "err"))
				}
				if tt.name != "uploading to nobody" { // an origin that does not read sees no end
					origin.WaitOpen(0)
				}
				if rest, err := conn.Rest(); err == nil && strings.HasSuffix(rest, "\r\n\r\n") && tt.name != "tunnel" {
					t.Errorf("the client got %.100q and a good end", rest)
				}
			})
		})
	}
}

// A panic in RequestFilter must not keep the count of what is active.
func TestStatsAfterPanic(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { panic(errors.New("boom")) }}
		r := newRig(t, m, proxy.Config{}, h)
		if res := r.Get("/"); res.Status != 500 {
			t.Errorf("got %v, want 500", res)
		}
		r.outcome()
		eventually(t, "nothing active", func() bool { return r.proxy.Stats().Active == 0 })
	})
}

// A retired proxy lets each connection have one more request, so that none is
// lost that crosses the end of its connection.
func TestRetire(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		r := newRig(t, m, proxy.Config{}, to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))))
		var conns []*proxytest.Conn
		for range 3 {
			conn := r.Dial()
			must(t, conn.Send(r.Request("GET", "/", "")))
			if res := conn.Response("GET"); !res.KeepAlive() {
				t.Fatalf("got %v, want an open connection", res)
			}
			conns = append(conns, conn)
		}
		r.proxy.Retire(time.Hour)
		must(t, conns[0].Send(r.Request("GET", "/", "")))
		res := conns[0].Response("GET")
		res.Check(t, 200, "")
		if rest, err := conns[0].Rest(); res.KeepAlive() || rest != "" || err != nil {
			t.Errorf("keep-alive %v, then %q, %v; want the end after one more request", res.KeepAlive(), rest, err)
		}
		eventually(t, "the first connection to end", func() bool { return r.proxy.Stats().Connections == 2 })
		must(t, receive(t, "Shutdown", shutdown(t.Context(), r)))
		for _, conn := range conns[1:] {
			if rest, err := conn.Rest(); rest != "" || err != nil {
				t.Errorf("an idle connection got %q, %v; want the end", rest, err)
			}
		}
	})
}

// What one process has counted goes on in the next.
func TestSaveState(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		r := newRig(t, m, proxy.Config{}, to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))))
		for range 3 {
			r.Get("/").Check(t, 200, "")
		}
		r.Do("GET / HTTP/1.1\r\n\r\n")
		state, err := r.proxy.SaveState()
		must(t, err)
		next, err := proxy.New(proxy.Config{}, to(proxytest.NewOrigin(t)))
		must(t, err)
		must(t, next.RestoreState(state))
		if got, want := next.Stats(), (proxy.Stats{Requests: 3, Rejected: 1, RejectedBy: proxy.Rejections{Malformed: 1}}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
		s, err := proxy.NewSwitch(proxy.Config{}, nil)
		must(t, err)
		must(t, s.RestoreState(state))
		again, err := s.SaveState()
		must(t, err)
		if got := s.Stats(); got.Requests != 3 || got.Rejected != 1 || len(again) == 0 {
			t.Errorf("Stats = %+v, state %s", got, again)
		}
		for _, bad := range []string{"", "x", `{"requests":-1}`, `{"rejections":{"late":-1}}`, `{"budget":{"retries":-1}}`} {
			if next.RestoreState([]byte(bad)) == nil || s.RestoreState([]byte(bad)) == nil {
				t.Errorf("RestoreState(%q): no error", bad)
			}
		}
	})
}

// A halfConn is a connection in memory whose sending side can be closed.
type halfConn struct{ net.Conn }

func (halfConn) CloseWrite() error { return nil }

// TestShutdownIdleH2: an idle connection of HTTP/2 holds up nothing: the client
// hears of the end, says so, and that is it.
func TestShutdownIdleH2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := proxy.New(proxy.Config{Downstream: proxy.Downstream{H2C: true}}, hooks{
			UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, io.EOF },
		})
		must(t, err)
		near, far := net.Pipe()
		served := make(chan struct{})
		go func() { defer close(served); p.ServeConn(halfConn{far}) }()
		cfg := http2.Config{}.WithDefaults()
		client := http2.NewClientConn(near, &cfg, "http")
		synctest.Wait()
		start := time.Now()
		must(t, p.Shutdown(t.Context()))
		<-served
		<-client.Closed()
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v, want nothing", took)
		}
		p.Connector().Close()
	})
}
