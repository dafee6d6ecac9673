// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

func TestSessionBody(t *testing.T) {
	proxytest.CheckLeaks(t)
	const limit = 1000
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		a := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("a"))
		b := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("b"))
		peerA, peerB := proxytest.To(a), proxytest.To(b)
		h := hooks{
			RequestFilter: func(s *proxy.Session, _ *none) (bool, error) {
				body, err := s.Body(limit)
				again, err2 := s.Body(limit)
				if string(body) != string(again) || !errors.Is(err, err2) {
					t.Errorf("Body gave %d bytes, %v, and then %d bytes, %v", len(body), err, len(again), err2)
				}
				if s.Request().Target == "/ignore" { // an error is not to be ignored
					return false, nil
				}
				return false, err
			},
			UpstreamPeer: func(s *proxy.Session, _ *none) (*upstream.Peer, error) {
				body, err := s.Body(limit)
				if strings.HasPrefix(string(body), "b") {
					return peerB, err
				}
				return peerA, err
			},
			Log: func(s *proxy.Session, _ *none, err error) {
				if body, err2 := s.Body(limit); err == nil && err2 != nil || err != nil && len(body) != 0 {
					t.Errorf("Body in Log: %d bytes, %v after %v", len(body), err2, err)
				}
			},
		}
		r := newRig(t, m, proxy.Config{}, h)
		full := strings.Repeat("b", limit)
		tests := []struct {
			name, target, raw string
			status            int
			answer, body      string
		}{
			{"none", "/", r.Request("GET", "/", ""), 200, "a", ""},
			{"short", "/", r.Request("POST", "/", "a body"), 200, "a", "a body"},
			{"other", "/", r.Request("POST", "/", "b body"), 200, "b", "b body"},
			{"limit", "/", r.Request("POST", "/", full), 200, "b", full},
			{"over", "/", r.Request("POST", "/", full+"b"), 413, "", ""},
			{"chunked", "/", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(full, 7), 200, "b", full},
			{"chunked over", "/", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(full+"b", 7), 413, "", ""},
			{"over, ignored", "/", r.Request("POST", "/ignore", full+"b"), 413, "", ""},
			{"chunked over, ignored", "/", "POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(full+"b", 7), 413, "", ""},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				before := len(a.Requests()) + len(b.Requests())
				res := r.Do(tt.raw)
				r.outcome()
				if res.Status != tt.status || tt.status == 200 && res.Text() != tt.answer {
					t.Fatalf("got %v, want %d %q", res, tt.status, tt.answer)
				}
				if tt.status != 200 {
					if got := len(a.Requests()) + len(b.Requests()); got != before {
						t.Error("the request went on")
					}
					return
				}
				reqs := a.Requests()
				if tt.answer == "b" {
					reqs = b.Requests()
				}
				if req := reqs[len(reqs)-1]; req.Text() != tt.body || req.Framing == proxytest.ByChunks {
					t.Errorf("the origin got %d bytes by %q, want %d by length", len(req.Body), req.Framing, len(tt.body))
				}
			})
		}
	})
}

// A client that waits for 100 (Continue) gets it from us, and a body in memory
// survives retries.
func TestSessionBodyContinueAndRetry(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		bad := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.ResetBeforeHead())
		good := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		h := toEach(bad, good)
		h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) { _, err := s.Body(1 << 20); return false, err }
		r := newRig(t, m, proxy.Config{MaxReplayBytes: -1}, h)
		body := string(proxytest.Pattern(300_000))
		conn := r.Dial()
		must(t, conn.Send(fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))))
		conn.Next("PUT").Check(t, 100, "")
		must(t, conn.Send(body))
		conn.Next("PUT").Check(t, 200, "")
		req := good.WaitRequests(1)[0]
		if req.Text() != body || req.Fields.Has("Expect") {
			t.Errorf("the origin got %d bytes, Expect %q; want %d, none", len(req.Body), req.Fields.Get("Expect"), len(body))
		}
		r.wantOK()
	})
}

// Body comes too late once the body is on its way.
func TestSessionBodyTooLate(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream)))
		h.ResponseFilter = func(s *proxy.Session, _ *none, _ *header.Response) error {
			if _, err := s.Body(1000); err == nil {
				t.Error("Body gave something of a body that has been sent")
			}
			return nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		conn := r.Dial()
		must(t, conn.SendPieces(time.Millisecond, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "body"))
		conn.Response("PUT").Check(t, 200, "")
		r.wantOK()
	})
}

// Hooks that answer themselves.
func TestRespond(t *testing.T) {
	proxytest.CheckLeaks(t)
	const answer = "from the hook"
	full := func(s *proxy.Session) error { return s.Respond(200, answer, "X-A", "b") }
	tests := []struct {
		name    string
		respond func(*proxy.Session) error
		request string // "" is GET
		status  int    // 0: no whole response
		body    string
		keep    bool
	}{
		{name: "respond", respond: full, status: 200, body: answer, keep: true},
		{name: "no body", respond: func(s *proxy.Session) error { return s.Respond(404, "") }, status: 404, keep: true},
		{name: "204", respond: func(s *proxy.Session) error { return s.Respond(204, "") }, status: 204, keep: true},
		{name: "304", respond: func(s *proxy.Session) error { return s.Respond(304, "") }, status: 304, keep: true},
		{name: "HEAD", respond: full, request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", status: 200, keep: true},
		{name: "HTTP/1.0", respond: full, request: "GET / HTTP/1.0\r\n\r\n", status: 200, body: answer},
		{name: "close", respond: func(s *proxy.Session) error { s.CloseDownstream(); return full(s) }, status: 200, body: answer},
		{name: "stream", respond: func(s *proxy.Session) error {
			return errors.Join(s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false),
				s.WriteBody([]byte("from "), false), s.Flush(), s.WriteBody([]byte("the "), false), s.WriteBody([]byte("hook"), true))
		}, status: 200, body: answer, keep: true},
		{name: "stream with length", respond: func(s *proxy.Session) error {
			return errors.Join(s.WriteHead(&header.Response{Status: 200, Length: 13}, false), s.WriteBody([]byte(answer), true))
		}, status: 200, body: answer, keep: true},
		{name: "early hints", respond: func(s *proxy.Session) error {
			return errors.Join(s.WriteHead(&header.Response{Status: 103}, false), full(s))
		}, status: 200, body: answer, keep: true},
		{name: "no end", respond: func(s *proxy.Session) error {
			return errors.Join(s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false), s.WriteBody([]byte("x"), false))
		}},
		{name: "short", respond: func(s *proxy.Session) error {
			return s.WriteHead(&header.Response{Status: 200, Length: 20}, false)
		}},
		{name: "nothing at all", respond: func(*proxy.Session) error { return nil }},
		// A body that is all here is thrown away; one that is not costs the connection.
		{name: "body here", respond: full, request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", status: 200, body: answer, keep: true},
		{name: "body to come", respond: full, request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + string(proxytest.Pattern(300000)), status: 200, body: answer},
		{name: "chunks", respond: full, request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", status: 200, body: answer},
		{name: "expectation", respond: full, request: "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", status: 200, body: answer},
		{name: "upgrade", respond: full, request: upgradeHead, status: 200, body: answer, keep: true},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			for _, hook := range []string{"RequestFilter", "ProxyUpstreamFilter"} {
				t.Run(tt.name+"/"+hook, func(t *testing.T) {
					h := hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) {
						t.Error("went on to UpstreamPeer")
						return nil, errors.New("not reached")
					}}
					if hook == "RequestFilter" {
						h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) { return true, tt.respond(s) }
					} else {
						h.ProxyUpstreamFilter = func(s *proxy.Session, _ *none) (bool, error) { return false, tt.respond(s) }
					}
					r := newRig(t, m, proxy.Config{}, h)
					request := tt.request
					if request == "" {
						request = r.Request("GET", "/", "")
					}
					res := r.Do(request)
					switch {
					case tt.name == "nothing at all" && hook == "ProxyUpstreamFilter":
						if res.Status != 502 {
							t.Errorf("got %v, want 502", res)
						}
						r.wantKind(proxyerr.HTTPStatus)
						return
					case tt.status == 0:
						if res.Complete {
							t.Errorf("got %v, want none or a cut one", res)
						}
					default:
						res.Check(t, tt.status, tt.body)
						if res.KeepAlive() != tt.keep {
							t.Errorf("KeepAlive = %v, want %v", res.KeepAlive(), tt.keep)
						}
						if tt.status == 304 && res.Fields.Has("Content-Length") {
							t.Error("304 says that the content is empty")
						}
					}
					r.wantOK()
				})
			}
		}
	})
}

func TestDigest(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Status(201), proxytest.BodySize(100_000))
		r := newRig(t, m, proxy.Config{}, to(origin))
		for i := range 2 {
			r.Post("/", "body").Check(t, 201, string(proxytest.Pattern(100_000)))
			d := r.outcome().digest
			if d.Attempts != 1 || d.Peer == nil || d.Peer.Addr != origin.Addr() || d.Reused != (i == 1) || (d.ConnectTime == 0) != (i == 1) ||
				d.ResponseAt <= 0 || d.Total < d.ResponseAt || d.Start.IsZero() || d.RequestBodyBytes != 4 ||
				d.ResponseBodyBytes != 100_000 || d.ResponseBodySent != 100_000 || d.BytesSent <= 100_000 || d.Status != 201 {
				t.Errorf("request %d: digest %+v", i+1, d)
			}
			if local, _ := d.LocalAddr.(*net.TCPAddr); d.PeerAddr.String() != origin.Addr() || local == nil || local.Port == 0 {
				t.Errorf("request %d: from %v to %v, want to %v", i+1, d.LocalAddr, d.PeerAddr, origin.Addr())
			}
		}
		// An attempt without a connection has no addresses.
		h := toEach(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.ResetBeforeHead()), proxytest.NewOrigin(t, proxytest.Refuse()))
		r = newRig(t, m, proxy.Config{MaxRetries: 1}, h)
		r.Get("/").Check(t, 502, "502 Bad Gateway\n")
		if d := r.outcome().digest; d.Attempts != 2 || d.PeerAddr != nil || d.LocalAddr != nil {
			t.Errorf("after a refused connection: digest %+v, want no addresses", d)
		}
	})
}

func TestConnValue(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := hooks{
			RequestFilter: func(s *proxy.Session, _ *none) (bool, error) {
				n, _ := s.ConnValue().(int)
				s.SetConnValue(n + 1)
				return true, s.Respond(200, fmt.Sprint(n+1))
			},
			UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, errors.New("not reached") },
		}
		r := newRig(t, m, proxy.Config{}, h)
		for range 2 {
			for i := range 3 {
				r.Get("/").Check(t, 200, fmt.Sprint(i+1))
			}
			r.Close()
		}
	})
}

func TestSessionFacts(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		logs := slogTo(&logRecords{level: 100})
		h := hooks{
			RequestFilter: func(s *proxy.Session, _ *none) (bool, error) {
				if s.Logger() != logs || s.Draining() || s.Response() != nil || s.Responded() || s.Attempt() != 0 || s.Context() != s.Context() {
					t.Error("a new session is not as it should be")
				}
				body := s.Upgrade()
				err := s.Respond(200, body)
				if s.Response() == nil || s.Response().Status != 200 || !s.Responded() {
					t.Error("an answered session is not as it should be")
				}
				return true, err
			},
			UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, errors.New("not reached") },
		}
		r := newRig(t, m, proxy.Config{Logger: logs}, h)
		r.Get("/").Check(t, 200, "")
		r.Do("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x/1, y\r\n\r\n").Check(t, 200, "x/1, y")
		r.Do("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n").Check(t, 200, "")
	})
}

// A program may give one request other limits.
func TestSetLimits(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream)))
		h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) {
			s.SetLimits(http1.StreamLimits{BodyTimeout: 50 * time.Millisecond})
			return false, nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		conn := r.Dial()
		must(t, conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx"))
		if res := conn.Response("POST"); res.Status != 408 {
			t.Errorf("got %v, want 408", res)
		}
		r.wantKind(proxyerr.ReadTimeout)
	})
}
