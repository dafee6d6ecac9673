// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
)

// fieldsOf returns the fields of a head but Host, Content-Length and those
// that belay adds by default, one a line.
func fieldsOf(f *header.Fields) string {
	var b strings.Builder
	for name, value := range f.All() {
		switch name {
		case "Host", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Date":
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	return b.String()
}

// lines writes fields, names and values in turn, as fieldsOf does.
func lines(fields ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(&b, "%s: %s\n", fields[i], fields[i+1])
	}
	return b.String()
}

func TestRequestFields(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		name   string
		fields []string
		want   []string
	}{
		{"order and case", []string{"b-B", "2", "A", "1", "b-B", "3"}, []string{"b-B", "2", "A", "1", "b-B", "3"}},
		{"hop-by-hop", []string{"Keep-Alive", "timeout=5", "Proxy-Connection", "keep-alive", "Proxy-Authorization", "Basic x",
			"Proxy-Authenticate", "Basic", "Upgrade", "foo", "Trailer", "Sum", "A", "1"}, []string{"A", "1"}},
		{"nominated", []string{"Connection", "X-Secret, close-not", "x-secret", "1", "Close-Not", "2", "A", "1"}, []string{"A", "1"}},
		{"nominated in two lines", []string{"Connection", "Foo", "connection", "Bar", "Foo", "1", "Bar", "2", "A", "1"}, []string{"A", "1"}},
		// Names as long as those that the proxy looks at first.
		{"nominated 4", []string{"Connection", "From", "From", "1"}, nil},
		{"nominated 2", []string{"Connection", "Ab", "Ab", "1"}, nil},
		{"nominated 6", []string{"Connection", "Accept", "Accept", "1"}, nil},
		{"nominated 7", []string{"Connection", "Referer", "Referer", "1"}, nil},
		{"nominated 9", []string{"Connection", "X-Nine-99", "X-Nine-99", "1"}, nil},
		{"nominated 10", []string{"Connection", "User-Agent", "User-Agent", "1"}, nil},
		{"nominated 14", []string{"Connection", "X-Secret-Token", "X-Secret-Token", "1"}, nil},
		{"nominated 16", []string{"Connection", "X-Secret-Token-1", "X-Secret-Token-1", "1"}, nil},
		{"nominated 17", []string{"Connection", "If-Modified-Since", "If-Modified-Since", "1"}, nil},
		{"nominated 18", []string{"Connection", "X-Secret-Token-123", "X-Secret-Token-123", "1"}, nil},
		{"nominated 19", []string{"Connection", "X-Secret-Token-1234", "X-Secret-Token-1234", "1"}, nil},
		{"twins", []string{"Content_Length", "5", "Transfer_Encoding", "chunked", "X_Forwarded_For", "1", "X-Forwarded_For", "1",
			"X.Real.IP", "1", "X_Real-IP", "1", "Transfer.Encoding", "chunked", "X_Forwarded_Whatever", "1",
			"a_b", "kept", "c.d", "kept"}, []string{"a_b", "kept", "c.d", "kept"}},
		{"h2c", []string{"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA"}, nil},
		{"te", []string{"TE", "gzip"}, nil},
		{"te trailers", []string{"TE", "gzip, trailers"}, []string{"Connection", "TE", "TE", "trailers"}},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		r := newRig(t, m, proxy.Config{}, to(origin))
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				r.Get("/", tt.fields...).Check(t, 200, "")
				got := fieldsOf(&origin.WaitRequests(i + 1)[i].Fields)
				if want := lines(tt.want...); got != want {
					t.Errorf("the origin got\n%swant\n%s", got, want)
				}
			})
		}
		if v := origin.Violations(); len(v) > 0 {
			t.Errorf("violations: %v", v)
		}
	})
}

// Connection cannot take away what the proxy sets or the message needs.
func TestNominatedFieldsThatStay(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		r := newRig(t, m, proxy.Config{Forwarding: proxy.Forwarding{XRealIP: true, Forwarded: true, Via: "belay"}}, to(origin))
		r.Post("/", "body", "Connection", "Host, Content-Length, Transfer-Encoding, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, "+
			"X-Real-IP, Forwarded, Via, Connection", "X-Forwarded-For", "9.9.9.9").Check(t, 200, "")
		req := origin.WaitRequests(1)[0]
		want := []string{"Host", "origin.test", "X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "http", "X-Forwarded-Host", "origin.test",
			"X-Real-IP", "127.0.0.1", "Forwarded", `for=127.0.0.1;host="origin.test";proto=http`, "Via", "1.1 belay", "Content-Length", "4"}
		for i := 0; i < len(want); i += 2 {
			if got := req.Fields.Get(want[i]); got != want[i+1] {
				t.Errorf("%s = %q, want %q", want[i], got, want[i+1])
			}
		}
		if req.Text() != "body" {
			t.Errorf("body = %q, want %q", req.Text(), "body")
		}
	})
}

func TestRequestTargetAndHost(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		r := newRig(t, m, proxy.Config{}, to(origin))
		tests := []struct{ raw, target, host string }{
			{"GET /a?b=c HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a?b=c", "a.test"},
			{"GET http://b.test:80/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "/x", "b.test:80"},
			{"GET http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n", "/", "b.test"},
			{"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "*", "a.test"},
			{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/", origin.Addr()},
			{"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", "/", "a.test"},
		}
		for i, tt := range tests {
			r.Do(tt.raw).Check(t, 200, "")
			req := origin.WaitRequests(i + 1)[i]
			if got := req.Fields.Get("Host"); req.Target != tt.target || got != tt.host || req.Proto != header.HTTP11 {
				t.Errorf("%q arrived as %q at %q in %v, want %q at %q", tt.raw, req.Target, got, req.Proto, tt.target, tt.host)
			}
		}
	})
}

func TestUpstreamRequestFilter(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		tests := []struct {
			name   string
			edit   func(*header.Request)
			body   string // sent by the client
			status int
			kind   proxyerr.Kind
			want   string // method, target, host, framing, body
		}{
			{name: "nothing", edit: func(*header.Request) {}, status: 200, want: "GET / origin.test none "},
			{name: "target", edit: func(h *header.Request) { h.Target = "/x?y" }, status: 200, want: "GET /x?y origin.test none "},
			{name: "host", edit: func(h *header.Request) { h.SetHost("example.com") }, status: 200, want: "GET / example.com none "},
			{name: "method", edit: func(h *header.Request) { h.Method = "PATCH" }, status: 200, want: "PATCH / origin.test length "},
			{name: "framing fields", edit: func(h *header.Request) {
				h.Fields.Add("Content-Length", "99")
				h.Fields.Add("Transfer-Encoding", "chunked")
				h.Fields.Add("Connection", "close")
			}, status: 200, want: "GET / origin.test none "},
			{name: "unknown length without a body", edit: func(h *header.Request) { h.Length = -1 }, status: 200, want: "GET / origin.test none "},
			{name: "unknown length", edit: func(h *header.Request) { h.Length = -1 }, body: "abc", status: 200, want: "POST / origin.test chunked abc"},
			{name: "a second host", edit: func(h *header.Request) { h.Fields.Add("host", "example.com") }, status: 500, kind: proxyerr.HookFailed},
			{name: "line break in target", edit: func(h *header.Request) { h.Target = "/\r\nX: y" }, status: 500, kind: proxyerr.BadMessage},
			{name: "space in target", edit: func(h *header.Request) { h.Target = "/ HTTP/1.1" }, status: 500, kind: proxyerr.BadMessage},
			{name: "no method", edit: func(h *header.Request) { h.Method = "" }, status: 500, kind: proxyerr.BadMessage},
			{name: "a length without a body", edit: func(h *header.Request) { h.Length = 3 }, status: 500, kind: proxyerr.BadMessage},
			{name: "too short a length", edit: func(h *header.Request) { h.Length = 2 }, body: "abc", status: 500},
			{name: "too long a length", edit: func(h *header.Request) { h.Length = 4 }, body: "abc", status: 500},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
				h := to(origin)
				h.UpstreamRequestFilter = func(s *proxy.Session, _ *none, head *header.Request) error {
					tt.edit(head)
					if s.Request().Target != "/" || s.Request().Host() != "origin.test" {
						t.Errorf("the client's head has become %+v", *s.Request())
					}
					return nil
				}
				r := newRig(t, m, proxy.Config{}, h)
				method := "GET"
				if tt.body != "" {
					method = "POST"
				}
				res := r.Do(r.Request(method, "/", tt.body))
				if res.Status != tt.status {
					t.Errorf("got %v, want %d", res, tt.status)
				}
				if out := r.outcome(); tt.kind != "" {
					if e, ok := out.err.(*proxyerr.Error); !ok || e.Kind != tt.kind {
						t.Errorf("Log got %v, want %q", out.err, tt.kind)
					}
				}
				var got string
				for _, req := range origin.Requests() {
					got = fmt.Sprint(req.Method, " ", req.Target, " ", req.Fields.Get("Host"), " ", req.Framing, " ", req.Text())
				}
				if got != tt.want {
					t.Errorf("the origin got %q, want %q", got, tt.want)
				}
				if v := origin.Violations(); len(v) > 0 {
					t.Errorf("violations: %v", v)
				}
			})
		}
	})
}

func TestRequestTrailers(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		r := newRig(t, m, proxy.Config{}, to(origin))
		r.Do("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n3\r\nabc\r\n0\r\n"+
			"Sum: 1f\r\nX-Forwarded-For: 9.9.9.9\r\nX_Forwarded_For: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\n"+
			"Content-Length: 9\r\nHost: evil\r\nAuthorization: x\r\n\r\n").Check(t, 200, "")
		req := origin.WaitRequests(1)[0]
		if got := req.Trailers.String(); req.Text() != "abc" || got != "Sum: 1f\n" {
			t.Errorf("body %q, trailers %q; want abc, Sum: 1f", req.Text(), got)
		}
		if got := req.Fields.Get("Trailer"); got != "Sum" {
			t.Errorf("Trailer = %q, want Sum", got)
		}
		r.wantOK()
	})
}

// A trailer cannot replace what the head says: a field that a hook has set, or
// that the proxy has made.
func TestRequestTrailersForgeNothing(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		h := to(origin)
		h.UpstreamRequestFilter = func(_ *proxy.Session, _ *none, head *header.Request) error {
			head.Fields.Set("X-User", "guest")
			return nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: Mine\r\nTold: 1\r\n"
		const end = "\r\n0\r\nx-user: admin\r\nX_User: admin\r\nX.User: admin\r\nVia: 1.1 x\r\nMine: 1\r\nTold: 2\r\nSum: 1f\r\n\r\n"
		// In one piece and while it is still arriving.
		r.Do(head+"\r\n3\r\nabc"+end).Check(t, 200, "")
		conn := r.Dial()
		must(t, conn.Send(head+"\r\n3\r\nabc"))
		origin.WaitRequests(1)
		must(t, conn.Send(end))
		conn.Response("POST").Check(t, 200, "")
		for _, req := range origin.WaitRequests(2) {
			if got, want := req.Trailers.String(), "Sum: 1f\n"; got != want {
				t.Errorf("trailers %q, want %q", got, want)
			}
			if got := req.Fields.Get("X-User"); got != "guest" {
				t.Errorf("X-User = %q, want guest", got)
			}
		}
	})
}

// A hook may send GET as HEAD and the other way round: the client gets what
// its own method asks for.
func TestMethodOfAnotherBody(t *testing.T) {
	proxytest.CheckLeaks(t)
	filter := func(_ *proxy.Session, _ *none, piece []byte, _ bool) ([]byte, error) { return piece, nil }
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range []struct{ method, sent, body string }{
			{"GET", "HEAD", ""}, {"GET", "GET", "done"}, {"HEAD", "GET", ""}, {"HEAD", "HEAD", ""}, {"POST", "HEAD", ""},
		} {
			for _, filtered := range []bool{false, true} {
				h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("done")))
				h.UpstreamRequestFilter = func(_ *proxy.Session, _ *none, head *header.Request) error {
					head.Method = tt.sent
					return nil
				}
				if filtered {
					h.ResponseBodyFilter = filter
				}
				r := newRig(t, m, proxy.Config{}, h)
				for range 2 { // the connection stays in step
					r.Do(r.Request(tt.method, "/", "")).Check(t, 200, tt.body)
					r.wantOK()
				}
			}
		}
	})
}

// An expectation in HTTP/1.0 means nothing (RFC 9110 section 10.1.1).
func TestExpectationOfHTTP10(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		r := newRig(t, m, proxy.Config{}, to(origin))
		for i, value := range []string{"100-continue", "x"} {
			conn := r.Dial()
			must(t, conn.Send("POST / HTTP/1.0\r\nExpect: "+value+"\r\nContent-Length: 3\r\n\r\na"))
			must(t, conn.Send("bc"))
			conn.Response("POST").Check(t, 200, "")
			if req := origin.WaitRequests(i + 1)[i]; req.Fields.Has("Expect") || req.Text() != "abc" {
				t.Errorf("the origin got %q with %q", req.Head, req.Body)
			}
		}
	})
}
