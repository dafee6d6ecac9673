// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// staleOrigin answers the first request of each connection and hangs up after
// it has read a second one: the pooled connection that dies at the moment of
// its use. read counts the requests it has read whole.
func staleOrigin(t testing.TB, read *atomic.Int64, bodies chan<- string) *proxytest.Origin {
	return proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
		for i := range 2 {
			req, err := proxytest.ReadRequest(br)
			if err != nil {
				return
			}
			read.Add(1)
			if i == 0 {
				bodies <- req.Text()
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	}))
}

// A pooled connection dies under a request. Only what may be done twice is
// sent twice, and only if the body is still there.
//
// Pingora: dropped_conn, which also repeats POST.
func TestPooledConnectionDies(t *testing.T) {
	proxytest.CheckLeaks(t)
	const replayable = 64 << 10
	tests := []struct {
		method string
		body   int
		retry  bool
	}{
		{"GET", 0, true}, {"HEAD", 0, true}, {"OPTIONS", 0, true}, {"DELETE", 0, true},
		{"PUT", 0, true}, {"PUT", 5, true}, {"PUT", replayable, true}, {"PUT", replayable + 1, false},
		{"POST", 0, false}, {"POST", 5, false}, {"POST", replayable + 1, false}, {"PATCH", 5, false}, {"OTHER", 0, false},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			for _, how := range []string{"at once", "later", "chunked"} {
				if tt.body == 0 && how != "at once" {
					continue
				}
				t.Run(fmt.Sprintf("%s %d %s", tt.method, tt.body, how), func(t *testing.T) {
					var read atomic.Int64
					bodies := make(chan string, 3)
					r := newRig(t, m, proxy.Config{}, to(staleOrigin(t, &read, bodies)))
					r.Get("/warm").Check(t, 200, "ok")
					receive(t, "first request", bodies)
					r.wantOK()

					body := string(proxytest.Pattern(tt.body))
					conn := r.Dial()
					switch how {
					case "at once":
						must(t, conn.Send(r.Request(tt.method, "/", body)))
					case "later":
						must(t, conn.Send(fmt.Sprintf("%s / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", tt.method, len(body))))
						must(t, conn.SendPieces(time.Millisecond, body[:len(body)/2], body[len(body)/2:]))
					case "chunked":
						must(t, conn.Send(tt.method+" / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked(body, 5000)))
					}
					res, out := conn.Response(tt.method), r.outcome()
					if !tt.retry {
						if res.Status != 502 || out.digest.Attempts != 1 || read.Load() != 2 {
							t.Errorf("got %v after %d attempts, origin read %d; want 502 after 1, 2", res, out.digest.Attempts, read.Load())
						}
						return
					}
					if res.Status != 200 || !res.Complete || out.err != nil || out.digest.Attempts != 2 || out.digest.Reused {
						t.Errorf("got %v, %v after %d attempts, reused %v; want 200 after 2 on a new connection", res, out.err, out.digest.Attempts, out.digest.Reused)
					}
					if got := receive(t, "retried request", bodies); got != body {
						t.Errorf("the retried body has %d bytes, want %d", len(got), len(body))
					}
				})
			}
		}
	})
}

// An idle connection that the origin has closed is found out before it is
// used, so that any request goes through.
func TestClosedIdleConnection(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.CloseIdle())
		r := newRig(t, m, proxy.Config{}, to(origin))
		for range 20 {
			r.Post("/", "body").Check(t, 200, "")
			origin.WaitOpen(0)
			if out := r.outcome(); out.digest.Attempts != 1 {
				t.Errorf("%d attempts, want 1", out.digest.Attempts)
			}
		}
	})
}

// No connection could be made: nothing has been sent, so every request may go
// to another backend.
func TestFailOverOnConnect(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		refusing := proxytest.NewOrigin(t, proxytest.Refuse())
		good := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		h := toEach(refusing, refusing, good)
		var tried atomic.Int64
		h.UpstreamRequestFilter = func(s *proxy.Session, _ *none, _ *header.Request) error {
			for _, p := range s.Tried() {
				if p.Addr == refusing.Addr() {
					tried.Add(1)
				}
			}
			return nil
		}
		r := newRig(t, m, proxy.Config{RetryBudget: proxy.RetryBudget{Percent: -1, MinPerSecond: -1}}, h)
		for i, raw := range []string{
			r.Request("GET", "/", ""), r.Request("POST", "/", "body"), r.Request("POST", "/", string(proxytest.Pattern(1<<20))),
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("body", 2),
		} {
			r.Do(raw).Check(t, 200, "")
			if out := r.outcome(); out.err != nil || out.digest.Attempts != 3 {
				t.Errorf("Log got %v after %d attempts, want 3", out.err, out.digest.Attempts)
			}
			want := []string{"", "body", string(proxytest.Pattern(1 << 20)), "body"}[i]
			if got := good.WaitRequests(i + 1)[i].Text(); got != want {
				t.Errorf("the body has %d bytes, want %d", len(got), len(want))
			}
		}
		if got := tried.Load(); got != 2*4 {
			t.Errorf("Tried has %d failed peers in 4 requests, want 2 each", got)
		}
	})
}

// The peer took the request and hung up without an answer.
func TestFailOverOnReset(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for name, opt := range map[string]proxytest.OriginOption{
			"reset": proxytest.ResetBeforeHead(), "close": proxytest.Handle(func(proxytest.RecordedRequest) []byte { return nil }),
		} {
			t.Run(name, func(t *testing.T) {
				bad := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), opt)
				good := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
				r := newRig(t, m, proxy.Config{}, toEach(bad, good))
				r.Get("/").Check(t, 200, "")
				r.Do(r.Request("PUT", "/", "body")).Check(t, 200, "")
				if res := r.Post("/", "body"); res.Status != 502 {
					t.Errorf("POST: got %v, want 502", res)
				}
				if got := len(good.Requests()); got != 2 {
					t.Errorf("the second origin got %d requests, want the GET and the PUT", got)
				}
				if got := good.Requests()[1].Text(); got != "body" {
					t.Errorf("retried body = %q, want %q", got, "body")
				}
				for _, want := range []int{2, 2, 1} {
					if out := r.outcome(); out.digest.Attempts != want {
						t.Errorf("%d attempts, want %d", out.digest.Attempts, want)
					}
				}
			})
		}
	})
}

// Half an answer is an answer: nothing is sent again.
func TestNoRetryAfterFirstByte(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, raw := range []string{"H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"} {
			origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
				if _, err := proxytest.ReadRequest(br); err == nil {
					_, _ = io.WriteString(c, raw)
				}
			}))
			r := newRig(t, m, proxy.Config{}, to(origin))
			if res := r.Get("/"); res.Status != 502 {
				t.Errorf("after %q: got %v, want 502", raw, res)
			}
			if out := r.outcome(); out.digest.Attempts != 1 {
				t.Errorf("after %q: %d attempts, want 1", raw, out.digest.Attempts)
			}
		}
	})
}

func TestMaxRetries(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range []struct{ max, attempts int }{{-5, 1}, {-1, 1}, {0, 4}, {1, 2}, {2, 3}, {7, 8}} {
			r := newRig(t, m, proxy.Config{MaxRetries: tt.max}, to(proxytest.NewOrigin(t, proxytest.Refuse())))
			if res := r.Get("/"); res.Status != 502 {
				t.Errorf("got %v, want 502", res)
			}
			if out := r.outcome(); out.digest.Attempts != tt.attempts {
				t.Errorf("MaxRetries %d: %d attempts, want %d", tt.max, out.digest.Attempts, tt.attempts)
			}
		}
	})
}

func TestMaxReplayBytes(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range []struct {
			limit, body, attempts int
		}{{-1, 0, 1}, {-1, 1, 1}, {10, 10, 2}, {10, 11, 1}, {1 << 20, 1 << 20, 2}} {
			bad := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.ResetBeforeHead())
			good := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
			r := newRig(t, m, proxy.Config{MaxReplayBytes: tt.limit}, toEach(bad, good))
			body := string(proxytest.Pattern(tt.body))
			r.Do("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 1000))
			if out := r.outcome(); out.digest.Attempts != tt.attempts {
				t.Errorf("limit %d, body %d: %d attempts, want %d", tt.limit, tt.body, out.digest.Attempts, tt.attempts)
			}
			if tt.attempts == 2 {
				if got := good.WaitRequests(1)[0].Text(); got != body {
					t.Errorf("limit %d: retried body has %d bytes, want %d", tt.limit, len(got), len(body))
				}
			}
		}
	})
}

// A retried body passes the filter again, from the start.
func TestFilteredBodyIsReplayed(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, raw := range []string{
			"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
			"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nSum: 1\r\n\r\n",
		} {
			bad := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.ResetBeforeHead())
			good := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
			h := toEach(bad, bad, good)
			h.RequestBodyFilter = func(s *proxy.Session, _ *none, chunk []byte, last bool) ([]byte, error) {
				if !last {
					return chunk, nil
				}
				return append(slices.Clone(chunk), byte('0'+s.Attempt())), nil
			}
			r := newRig(t, m, proxy.Config{}, h)
			r.Do(raw).Check(t, 200, "")
			if got := good.WaitRequests(1)[0].Text(); got != "abc3" {
				t.Errorf("body = %q, want abc3", got)
			}
			r.wantOK()
		}
	})
}

func TestRetryBudget(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		bad := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.ResetBeforeHead())
		good := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		for _, tt := range []struct {
			budget   proxy.RetryBudget
			requests int
			ok       int // of them
		}{
			{proxy.RetryBudget{Percent: -1, MinPerSecond: -1}, 5, 0},
			{proxy.RetryBudget{Percent: -1, MinPerSecond: 1}, 30, 10}, // of 10 seconds
			{proxy.RetryBudget{Percent: 50, MinPerSecond: -1}, 20, 10},
			{proxy.RetryBudget{}, 30, 30},
		} {
			r := newRig(t, m, proxy.Config{RetryBudget: tt.budget}, toEach(bad, good))
			ok := 0
			for range tt.requests {
				if r.Get("/").Status == 200 {
					ok++
				}
			}
			if ok != tt.ok {
				t.Errorf("%+v: %d of %d requests were saved, want %d", tt.budget, ok, tt.requests, tt.ok)
			}
		}
	})
}

// The hooks have the last word about a retry, but for what has been sent.
func TestHooksDecideAboutRetry(t *testing.T) {
	proxytest.CheckLeaks(t)
	again := func(err error) error {
		return &proxyerr.Error{Source: proxyerr.Upstream, Kind: proxyerr.HTTPStatus, Retry: proxyerr.RetryAlways, Status: 599, Err: err}
	}
	tests := []struct {
		name     string
		first    []proxytest.OriginOption
		edit     func(*hooks)
		status   int
		attempts int
	}{
		{"FailToConnect forbids", []proxytest.OriginOption{proxytest.Refuse()}, func(h *hooks) {
			h.FailToConnect = func(*proxy.Session, *none, *upstream.Peer, error) error { return proxyerr.WithStatus(418, "") }
		}, 418, 1},
		{"FailToConnect fails", []proxytest.OriginOption{proxytest.Refuse()}, func(h *hooks) {
			h.FailToConnect = func(*proxy.Session, *none, *upstream.Peer, error) error { return errors.New("plain") }
		}, 500, 1},
		{"FailToConnect has no answer", []proxytest.OriginOption{proxytest.Refuse()}, func(h *hooks) {
			h.FailToConnect = func(*proxy.Session, *none, *upstream.Peer, error) error { return nil }
		}, 200, 2},
		{"ErrorWhileProxy allows", []proxytest.OriginOption{proxytest.ResetBeforeHead()}, func(h *hooks) {
			h.ErrorWhileProxy = func(_ *proxy.Session, _ *none, _ *upstream.Peer, err error) error { return again(err) }
		}, 200, 2},
		{"ErrorWhileProxy has no answer", []proxytest.OriginOption{proxytest.ResetBeforeHead()}, func(h *hooks) {
			h.ErrorWhileProxy = func(*proxy.Session, *none, *upstream.Peer, error) error { return nil }
		}, 502, 1},
		{"on a status", []proxytest.OriginOption{proxytest.Status(503)}, func(h *hooks) {
			h.UpstreamResponseFilter = func(_ *proxy.Session, _ *none, head *header.Response) error {
				if head.Status == 503 {
					return again(nil)
				}
				return nil
			}
		}, 200, 2},
		{"too late", []proxytest.OriginOption{proxytest.Body("abc")}, func(h *hooks) {
			h.ResponseBodyFilter = func(*proxy.Session, *none, []byte, bool) ([]byte, error) { return nil, again(nil) }
		}, 0, 1},
		{"UpstreamPeer is final", nil, func(h *hooks) {
			h.UpstreamPeer = func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, again(nil) }
		}, 599, 1},
		{"no peer", nil, func(h *hooks) {
			h.UpstreamPeer = func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, nil }
		}, 500, 1},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				first := proxytest.NewOrigin(t, append(tt.first, proxytest.Speak(m.Upstream))...)
				second := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
				h := toEach(first, second)
				tt.edit(&h)
				r := newRig(t, m, proxy.Config{}, h)
				res, out := r.Post("/", "body"), r.outcome()
				if res.Complete && res.Status != tt.status || !res.Complete && tt.status != 0 || out.digest.Attempts != tt.attempts {
					t.Errorf("got %v after %d attempts, want %d after %d", res, out.digest.Attempts, tt.status, tt.attempts)
				}
			})
		}
	})
}

// Retries are noted at debug level only: a connection that died while idle is
// nothing to wake anybody for.
func TestRetriesAreLoggedQuietly(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		logs := &logRecords{level: -4}
		origins := []*proxytest.Origin{proxytest.NewOrigin(t, proxytest.Refuse()), proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))}
		r := newRig(t, m, proxy.Config{Logger: slogTo(logs)}, toEach(origins...))
		r.Get("/").Check(t, 200, "")
		got := logs.take()
		if len(got) != 1 || got[0].Level != -4 || attr(got[0], "attempt") != "1" {
			t.Errorf("records %v, want one at debug level about attempt 1", got)
		}
	})
}

// Without a place in the budget the failure is final, and says why. What cannot
// have reached a peer needs none.
func TestBudgetExhausted(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		bad := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.ResetBeforeHead())
		good := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		cfg := proxy.Config{RetryBudget: proxy.RetryBudget{Percent: -1, MinPerSecond: -1}}
		r := newRig(t, m, cfg, toEach(bad, good))
		r.Get("/").Check(t, 502, "502 Bad Gateway\n")
		out := r.outcome()
		if !errors.Is(out.err, proxyerr.BudgetExhausted) || !errors.Is(out.err, proxyerr.ConnClosed) || out.digest.Attempts != 1 {
			t.Errorf("Log got %v after %d attempts, want %q because of %q after 1", out.err, out.digest.Attempts, proxyerr.BudgetExhausted, proxyerr.ConnClosed)
		}
		r.Post("/", "x").Check(t, 502, "502 Bad Gateway\n")
		if out := r.outcome(); errors.Is(out.err, proxyerr.BudgetExhausted) {
			t.Errorf("a POST, which may not be repeated, ended with %v", out.err)
		}
		// Whether the connection was new does not matter.
		r = newRig(t, m, proxy.Config{}, toEach(bad, good))
		r.Get("/").Check(t, 200, "")
		if out := r.outcome(); out.err != nil || out.digest.Attempts != 2 {
			t.Errorf("Log got %v after %d attempts, want 2", out.err, out.digest.Attempts)
		}
	})
}
