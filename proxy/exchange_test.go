// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// Pingora: simple_proxy.
func TestSimple(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("Hello World!\n"))
		h := to(origin)
		var client, local, peer string
		h.ResponseFilter = func(s *proxy.Session, _ *none, _ *header.Response) error {
			client, local, peer = s.ClientAddr().String(), s.LocalAddr().String(), s.Peer().Addr
			return nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		conn := r.Dial()
		must(t, conn.Send(r.Request("GET", "/", "")))
		res := conn.Response("GET")
		res.Check(t, 200, "Hello World!\n")
		if got := res.Fields.Get("Content-Length"); got != "13" {
			t.Errorf("Content-Length = %q, want 13", got)
		}
		r.wantOK()
		if want := conn.NetConn().LocalAddr().String(); client != want {
			t.Errorf("ClientAddr = %s, want %s", client, want)
		}
		if local != r.addr {
			t.Errorf("LocalAddr = %s, want %s", local, r.addr)
		}
		if peer != origin.Addr() {
			t.Errorf("Peer = %s, want %s", peer, origin.Addr())
		}
	})
}

// Pingora: simple_proxy_uds.
func TestUnixListener(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.BodySize(200_000))
		h := to(origin)
		var client netip.AddrPort
		h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) {
			client = s.ClientAddr()
			return false, nil
		}
		r := listenRig(t, m, proxy.Config{}, h, proxytest.ListenUnix)
		r.Get("/").Check(t, 200, string(proxytest.Pattern(200_000)))
		r.wantOK()
		if client.IsValid() {
			t.Errorf("ClientAddr = %v, want none", client)
		}
	})
}

// Pingora: simple_proxy_uds_peer.
func TestUnixPeer(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.OnUnix(), proxytest.BodySize(200_000))
		r := newRig(t, m, proxy.Config{}, to(origin))
		for range 3 {
			r.Get("/").Check(t, 200, string(proxytest.Pattern(200_000)))
			r.wantOK()
		}
		if got := origin.Connections(); got != 1 {
			t.Errorf("%d connections to the origin, want 1", got)
		}
	})
}

// Pingora: ip_binding.
func TestBindTo(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		from := make(chan string, 1)
		origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			from <- host
			_, _ = proxytest.ReadRequest(br)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}))
		peer := proxytest.To(origin)
		peer.BindTo = netip.MustParseAddrPort("127.0.0.2:0")
		newRig(t, m, proxy.Config{}, toPeer(peer)).Get("/").Check(t, 200, "")
		if got := receive(t, "connection", from); got != "127.0.0.2" {
			t.Errorf("connected from %s, want 127.0.0.2", got)
		}
	})
}

// Pingora: connect_close.
func TestDownstreamKeepAlive(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		r := newRig(t, m, proxy.Config{}, to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("x"))))
		tests := []struct {
			name, request string
			keep          bool
			connection    string
		}{
			{"default", r.Request("GET", "/", ""), true, ""},
			{"close", r.Request("GET", "/", "", "Connection", "close"), false, "close"},
			{"close among others", r.Request("GET", "/", "", "Connection", "Foo, Close"), false, "close"},
			{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", false, "close"},
			{"HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, "keep-alive"},
		}
		for _, tt := range tests {
			res := r.Do(tt.request)
			res.Check(t, 200, "x")
			if got := res.KeepAlive(); got != tt.keep {
				t.Errorf("%s: KeepAlive = %v, want %v", tt.name, got, tt.keep)
			}
			if got := res.Fields.Get("Connection"); got != tt.connection {
				t.Errorf("%s: Connection = %q, want %q", tt.name, got, tt.connection)
			}
			r.wantOK()
		}
	})
}

func TestPipelining(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Handle(func(req proxytest.RecordedRequest) []byte {
			body := req.Method + req.Target + req.Text()
			return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}))
		r := newRig(t, m, proxy.Config{}, to(origin))
		var raw, want []string
		for i := range 50 {
			target, body := fmt.Sprintf("/%d", i), strings.Repeat("b", i*100)
			if i%3 == 0 {
				raw, want = append(raw, r.Request("GET", target, "")), append(want, "GET"+target)
				continue
			}
			raw, want = append(raw, r.Request("PUT", target, body)), append(want, "PUT"+target+body)
		}
		for i, res := range r.Pipeline(raw...) {
			res.Check(t, 200, want[i])
		}
		if got := r.Connections(); got != 1 {
			t.Errorf("%d connections of the client, want 1", got)
		}
	})
}

// journalHooks returns hooks that note every phase in j, and peers from next.
func journalHooks(j *journal, next hooks) hooks {
	note := func(name string) func(*proxy.Session, *none) error {
		return func(*proxy.Session, *none) error { j.add(name); return nil }
	}
	head := func(name string) func(*proxy.Session, *none, *header.Response) error {
		return func(_ *proxy.Session, _ *none, h *header.Response) error {
			j.add(fmt.Sprint(name, " ", h.Status))
			return nil
		}
	}
	body := func(name string) func(*proxy.Session, *none, []byte, bool) ([]byte, error) {
		return func(_ *proxy.Session, _ *none, chunk []byte, last bool) ([]byte, error) {
			if last {
				j.add(name)
			}
			return chunk, nil
		}
	}
	trailers := func(name string) func(*proxy.Session, *none, *header.Fields) error {
		return func(*proxy.Session, *none, *header.Fields) error { j.add(name); return nil }
	}
	fail := func(name string) func(*proxy.Session, *none, *upstream.Peer, error) error {
		return func(_ *proxy.Session, _ *none, _ *upstream.Peer, err error) error { j.add(name); return err }
	}
	return hooks{
		EarlyRequestFilter:  note("EarlyRequestFilter"),
		RequestFilter:       func(*proxy.Session, *none) (bool, error) { j.add("RequestFilter"); return false, nil },
		ProxyUpstreamFilter: func(*proxy.Session, *none) (bool, error) { j.add("ProxyUpstreamFilter"); return true, nil },
		UpstreamPeer: func(s *proxy.Session, st *none) (*upstream.Peer, error) {
			j.add(fmt.Sprint("UpstreamPeer ", s.Attempt()))
			return next.UpstreamPeer(s, st)
		},
		FailToConnect:                 fail("FailToConnect"),
		ConnectedToUpstream:           func(*proxy.Session, *none, *upstream.Peer) error { j.add("ConnectedToUpstream"); return nil },
		UpstreamRequestFilter:         func(*proxy.Session, *none, *header.Request) error { j.add("UpstreamRequestFilter"); return nil },
		RequestBodyFilter:             body("RequestBodyFilter"),
		UpstreamResponseFilter:        head("UpstreamResponseFilter"),
		ResponseFilter:                head("ResponseFilter"),
		UpstreamResponseBodyFilter:    body("UpstreamResponseBodyFilter"),
		ResponseBodyFilter:            body("ResponseBodyFilter"),
		UpstreamResponseTrailerFilter: trailers("UpstreamResponseTrailerFilter"),
		ResponseTrailerFilter:         trailers("ResponseTrailerFilter"),
		ErrorWhileProxy:               fail("ErrorWhileProxy"),
		FailToProxy:                   func(*proxy.Session, *none, error) { j.add("FailToProxy") },
		SuppressErrorLog:              func(*proxy.Session, *none, error) bool { j.add("SuppressErrorLog"); return false },
		RequestSummary:                func(*proxy.Session, *none) string { j.add("RequestSummary"); return "" },
		Log:                           func(*proxy.Session, *none, error) { j.add("Log") },
	}
}

func TestPhaseOrder(t *testing.T) {
	proxytest.CheckLeaks(t)
	up := []string{"EarlyRequestFilter", "RequestFilter", "ProxyUpstreamFilter"}
	sent := []string{"ConnectedToUpstream", "UpstreamRequestFilter"}
	tests := []struct {
		name    string
		origins [][]proxytest.OriginOption // of attempt 1, 2, …
		method  string
		body    string
		want    []string
	}{
		{
			name: "success",
			origins: [][]proxytest.OriginOption{{proxytest.Informational(103), proxytest.Body("hi"),
				proxytest.Trailer("Sum", "1")}},
			method: "POST", body: "x",
			want: slices.Concat(up, []string{"UpstreamPeer 1"}, sent, []string{"RequestBodyFilter",
				"UpstreamResponseFilter 103", "ResponseFilter 103", "UpstreamResponseFilter 200", "ResponseFilter 200",
				"UpstreamResponseBodyFilter", "ResponseBodyFilter",
				"UpstreamResponseTrailerFilter", "ResponseTrailerFilter", "Log"}),
		},
		{
			name:    "no bodies",
			origins: [][]proxytest.OriginOption{{proxytest.Status(204)}},
			method:  "GET",
			want: slices.Concat(up, []string{"UpstreamPeer 1"}, sent,
				[]string{"UpstreamResponseFilter 204", "ResponseFilter 204", "Log"}),
		},
		{
			name:    "fail-over",
			origins: [][]proxytest.OriginOption{{proxytest.Refuse()}, {proxytest.ResetBeforeHead()}, {proxytest.Status(204)}},
			method:  "GET",
			want: slices.Concat(up, []string{"UpstreamPeer 1", "FailToConnect", "RequestSummary", "UpstreamPeer 2"}, sent,
				[]string{"ErrorWhileProxy", "RequestSummary", "UpstreamPeer 3"}, sent,
				[]string{"UpstreamResponseFilter 204", "ResponseFilter 204", "Log"}),
		},
		{
			name:    "failure",
			origins: [][]proxytest.OriginOption{{proxytest.ResetBeforeHead()}},
			method:  "POST",
			want: slices.Concat(up, []string{"UpstreamPeer 1"}, sent,
				[]string{"ErrorWhileProxy", "FailToProxy", "SuppressErrorLog", "RequestSummary", "Log"}),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
				var origins []*proxytest.Origin
				for _, opts := range tt.origins {
					origins = append(origins, proxytest.NewOrigin(t, append(opts, proxytest.Speak(m.Upstream))...))
				}
				var j journal
				cfg := proxy.Config{Logger: slogTo(&logRecords{level: -8})}
				r := newRig(t, m, cfg, journalHooks(&j, toEach(origins...)))
				r.Do(r.Request(tt.method, "/", tt.body))
				r.outcome()
				if got := j.take(); !slices.Equal(got, tt.want) {
					t.Errorf("phases:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
			})
		})
	}
}

// A hook that panics ends its own request, whatever phase it belongs to, and
// the proxy goes on.
func TestPanicInEachHook(t *testing.T) {
	proxytest.CheckLeaks(t)
	boom := func(s *proxy.Session, name string) {
		if s.Request().Target == "/"+name {
			panic("boom in " + name)
		}
	}
	bodyHook := func(name string) func(*proxy.Session, *none, []byte, bool) ([]byte, error) {
		return func(s *proxy.Session, _ *none, chunk []byte, _ bool) ([]byte, error) {
			boom(s, name)
			return chunk, nil
		}
	}
	headHook := func(name string) func(*proxy.Session, *none, *header.Response) error {
		return func(s *proxy.Session, _ *none, _ *header.Response) error { boom(s, name); return nil }
	}
	trailerHook := func(name string) func(*proxy.Session, *none, *header.Fields) error {
		return func(s *proxy.Session, _ *none, _ *header.Fields) error { boom(s, name); return nil }
	}
	tests := []struct {
		name   string // of the hook, and the target that makes it panic
		fail   string // the kind of failure that makes it run: "", "connect", "reset"
		status int    // 0 means that the response is cut or missing
		ok     bool   // the request does not fail because of it
		kind   proxyerr.Kind
	}{
		{name: "EarlyRequestFilter", status: 500},
		{name: "RequestFilter", status: 500},
		{name: "ProxyUpstreamFilter", status: 500},
		{name: "UpstreamPeer", status: 500},
		{name: "FailToConnect", fail: "connect", status: 500},
		{name: "ConnectedToUpstream", status: 500},
		{name: "UpstreamRequestFilter", status: 500},
		{name: "RequestBodyFilter", status: 500},
		{name: "UpstreamResponseFilter", status: 500},
		{name: "ResponseFilter", status: 500},
		{name: "UpstreamResponseBodyFilter"},
		{name: "ResponseBodyFilter"},
		{name: "UpstreamResponseTrailerFilter"},
		{name: "ResponseTrailerFilter"},
		{name: "ErrorWhileProxy", fail: "reset", status: 500},
		{name: "FailToProxy", fail: "connect", status: 500, kind: proxyerr.ConnectRefused},
		{name: "Responder", fail: "connect", kind: proxyerr.ConnectRefused},
		{name: "SuppressErrorLog", fail: "connect", status: 502, kind: proxyerr.ConnectRefused},
		{name: "RequestSummary", fail: "connect", status: 502, kind: proxyerr.ConnectRefused},
		{name: "Log", status: 200, ok: true},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		good := proxytest.To(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("ok"), proxytest.Trailer("Sum", "1")))
		refusing := proxytest.To(proxytest.NewOrigin(t, proxytest.Refuse()))
		resetting := proxytest.To(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.ResetBeforeHead()))
		h := hooks{
			EarlyRequestFilter:  func(s *proxy.Session, _ *none) error { boom(s, "EarlyRequestFilter"); return nil },
			RequestFilter:       func(s *proxy.Session, _ *none) (bool, error) { boom(s, "RequestFilter"); return false, nil },
			ProxyUpstreamFilter: func(s *proxy.Session, _ *none) (bool, error) { boom(s, "ProxyUpstreamFilter"); return true, nil },
			UpstreamPeer: func(s *proxy.Session, _ *none) (*upstream.Peer, error) {
				boom(s, "UpstreamPeer")
				switch s.Request().Fields.Get("Fail") {
				case "connect":
					return refusing, nil
				case "reset":
					return resetting, nil
				}
				return good, nil
			},
			FailToConnect: func(s *proxy.Session, _ *none, _ *upstream.Peer, err error) error {
				boom(s, "FailToConnect")
				return err
			},
			ConnectedToUpstream:           func(s *proxy.Session, _ *none, _ *upstream.Peer) error { boom(s, "ConnectedToUpstream"); return nil },
			UpstreamRequestFilter:         func(s *proxy.Session, _ *none, _ *header.Request) error { boom(s, "UpstreamRequestFilter"); return nil },
			RequestBodyFilter:             bodyHook("RequestBodyFilter"),
			UpstreamResponseFilter:        headHook("UpstreamResponseFilter"),
			ResponseFilter:                headHook("ResponseFilter"),
			UpstreamResponseBodyFilter:    bodyHook("UpstreamResponseBodyFilter"),
			ResponseBodyFilter:            bodyHook("ResponseBodyFilter"),
			UpstreamResponseTrailerFilter: trailerHook("UpstreamResponseTrailerFilter"),
			ResponseTrailerFilter:         trailerHook("ResponseTrailerFilter"),
			ErrorWhileProxy: func(s *proxy.Session, _ *none, _ *upstream.Peer, err error) error {
				boom(s, "ErrorWhileProxy")
				return err
			},
			FailToProxy:      func(s *proxy.Session, _ *none, _ error) { boom(s, "FailToProxy") },
			SuppressErrorLog: func(s *proxy.Session, _ *none, _ error) bool { boom(s, "SuppressErrorLog"); return false },
			RequestSummary:   func(s *proxy.Session, _ *none) string { boom(s, "RequestSummary"); return "" },
			Log:              func(s *proxy.Session, _ *none, _ error) { boom(s, "Log") },
		}
		cfg := proxy.Config{MaxRetries: -1, Responder: func(s *proxy.Session, status int, err error) error {
			boom(s, "Responder")
			return proxy.DefaultResponder(s, status, err)
		}}
		r := newRig(t, m, cfg, h)
		check := func(t *testing.T, res *proxytest.Response, status int) {
			t.Helper()
			if status == 0 && res.Complete || status != 0 && (!res.Complete || res.Status != status) {
				t.Errorf("got %v, want %d", res, status)
			}
		}
		for _, tt := range tests {
			for _, how := range []string{"body at once", "body later"} {
				t.Run(tt.name+"/"+how, func(t *testing.T) {
					raw := r.Request("POST", "/"+tt.name, "body", "Fail", tt.fail)
					if how == "body at once" {
						check(t, r.Do(raw), tt.status)
					} else { // it has a goroutine of its own
						conn := r.Dial()
						head, body, _ := strings.Cut(raw, "\r\n\r\n")
						_ = conn.Send(head + "\r\n\r\n")
						_ = conn.Send(body)
						check(t, conn.Response("POST"), tt.status)
						_ = conn.Close()
					}
					kind := tt.kind
					if kind == "" {
						kind = proxyerr.HookPanicked
					}
					if got := r.outcome(); tt.ok != (got.err == nil) || !tt.ok && !errors.Is(got.err, kind) {
						t.Errorf("Log got %v, want ok=%v or %q", got.err, tt.ok, kind)
					}
				})
			}
			r.Get("/next").Check(t, 200, "ok")
			r.wantOK()
		}
	})
}

// An exchange is used again and again: nothing of one request may be seen by
// the next.
func TestNothingLeaksToNextRequest(t *testing.T) {
	type state struct{ mark int }
	slot := proxy.NewSlot[int]()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		refusing := proxytest.To(proxytest.NewOrigin(t, proxytest.Refuse()))
		good := proxytest.To(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("ok")))
		p, err := proxy.New(proxy.Config{Logger: slogTo(&logRecords{level: 100})}, proxy.Hooks[state]{
			EarlyRequestFilter: func(s *proxy.Session, st *state) error {
				d := s.Digest()
				if st.mark != 0 || *slot.Of(s) != 0 || s.Attempt() != 0 || s.Peer() != nil || len(s.Tried()) != 0 || s.Response() != nil ||
					s.Responded() || d.Attempts != 0 || d.Peer != nil || d.Reused || d.ConnectTime != 0 || d.ResponseAt != 0 ||
					d.RequestBodyBytes != 0 || d.ResponseBodyBytes != 0 || d.ResponseBodySent != 0 || d.BytesSent != 0 || d.Status != 0 || s.Context().Err() != nil {
					t.Errorf("%s starts with state %v, slot %d, attempt %d, digest %+v", s.Request().Target, *st, *slot.Of(s), s.Attempt(), d)
				}
				st.mark, *slot.Of(s) = 1, 1
				if s.Request().Method == "POST" {
					_, err := s.Body(100)
					return err
				}
				return nil
			},
			UpstreamPeer: func(s *proxy.Session, _ *state) (*upstream.Peer, error) {
				if s.Attempt() == 1 && s.Request().Target != "/plain" {
					return refusing, nil
				}
				return good, nil
			},
			ResponseFilter: func(s *proxy.Session, st *state, h *header.Response) error {
				if st.mark != 1 || *slot.Of(s) != 1 {
					t.Errorf("state = %v, slot = %d later in the request; want 1", *st, *slot.Of(s))
				}
				if s.Request().Target == "/fail" {
					return proxyerr.WithStatus(403, "no")
				}
				return nil
			},
			Log: func(s *proxy.Session, _ *state, err error) {
				if s.Request().Target == "/plain" && (s.Attempt() != 1 || err != nil) {
					t.Errorf("plain request: attempt %d, %v", s.Attempt(), err)
				}
			},
		})
		must(t, err)
		t.Cleanup(p.Connector().Close)
		client := proxytest.NewClient(t, proxytest.Listen(t, p), proxytest.As(m.Downstream))
		for range 30 {
			client.Get("/plain").Check(t, 200, "ok")
			client.Post("/retried", "body").Check(t, 200, "ok")
			client.Get("/plain").Check(t, 200, "ok")
			client.Post("/fail", "body").Check(t, 403, "403 Forbidden\n")
		}
	})
}

// What the peer answered so far is with the client before the rest arrives.
func TestStreamingIsNotHeldBack(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, filtered := range []bool{false, true} {
			for _, framing := range []string{"Content-Length: 6", "Transfer-Encoding: chunked", "Connection: close"} {
				t.Run(fmt.Sprintf("%s/filtered=%v", framing, filtered), func(t *testing.T) {
					more := make(chan bool)
					origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
						if _, err := proxytest.ReadRequest(br); err != nil {
							return
						}
						piece := func(s string) string { return s }
						if strings.HasSuffix(framing, "chunked") {
							piece = func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
						}
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing+"\r\n\r\n")
						for _, s := range []string{"on", "tw", "th"} {
							_, _ = io.WriteString(c, piece(s))
							<-more
						}
						if strings.HasSuffix(framing, "chunked") {
							_, _ = io.WriteString(c, "0\r\n\r\n")
						}
					}))
					h := to(origin)
					if filtered {
						h.ResponseBodyFilter = func(_ *proxy.Session, _ *none, chunk []byte, _ bool) ([]byte, error) { return chunk, nil }
					}
					r := newRig(t, m, proxy.Config{}, h)
					conn := r.Dial()
					must(t, conn.Send(r.Request("GET", "/", "")))
					var seen strings.Builder
					for _, want := range []string{"on", "tw", "th"} {
						for !strings.Contains(seen.String(), want) {
							s, err := conn.ReadFull(1)
							must(t, err)
							seen.WriteString(s)
						}
						more <- true
					}
				})
			}
		}
	})
}

// A peer may be late with its answer once it has the request. The time that
// the client takes to send that does not count.
func TestSlowUploadIsNotAReadTimeout(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		peer := proxytest.To(origin)
		peer.ReadTimeout = 1500 * time.Millisecond
		r := newRig(t, m, proxy.Config{}, toPeer(peer))
		conn := r.Dial()
		must(t, conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"))
		must(t, conn.SendPieces(peer.ReadTimeout*2/3, "", "a", "b", "c"))
		conn.Response("POST").Check(t, 200, "")
		r.wantOK()
	})
}
