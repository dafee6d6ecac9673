// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
)

// answer returns an origin option that reads one request after the other and
// answers each with raw.
func answer(raw string) proxytest.OriginOption {
	return proxytest.Handle(func(proxytest.RecordedRequest) []byte { return []byte(raw) })
}

func TestResponseFraming(t *testing.T) {
	proxytest.CheckLeaks(t)
	big := string(proxytest.Pattern(300_000))
	tests := []struct {
		name    string
		opts    []proxytest.OriginOption
		request string // "" is GET / HTTP/1.1
		status  int
		body    string
		framing proxytest.Framing
		length  string // Content-Length
		keep    bool   // the client's connection
		reuse   bool   // the origin's
	}{
		{name: "length", opts: []proxytest.OriginOption{proxytest.Body("abc")}, status: 200, body: "abc", framing: proxytest.ByLength, length: "3", keep: true, reuse: true},
		{name: "empty", status: 200, framing: proxytest.ByLength, length: "0", keep: true, reuse: true},
		{name: "long", opts: []proxytest.OriginOption{proxytest.Body(big)}, status: 200, body: big, framing: proxytest.ByLength, length: "300000", keep: true, reuse: true},
		{name: "chunked", opts: []proxytest.OriginOption{proxytest.Body(big), proxytest.Chunked(1000)}, status: 200, body: big, framing: proxytest.ByChunks, keep: true, reuse: true},
		{name: "chunked and empty", opts: []proxytest.OriginOption{proxytest.Chunked(10)}, status: 200, framing: proxytest.ByChunks, keep: true, reuse: true},
		{name: "until close", opts: []proxytest.OriginOption{proxytest.Body(big), proxytest.CloseDelimited()}, status: 200, body: big, framing: proxytest.ByChunks, keep: true},
		{name: "HTTP/1.0 origin", opts: []proxytest.OriginOption{proxytest.HTTP10(), proxytest.Body("abc")}, status: 200, body: "abc", framing: proxytest.ByLength, length: "3", keep: true},
		{name: "HTTP/1.0 origin until close", opts: []proxytest.OriginOption{proxytest.HTTP10(), proxytest.CloseDelimited(), proxytest.Body("abc")}, status: 200, body: "abc", framing: proxytest.ByChunks, keep: true},
		{name: "HTTP/1.0 client", opts: []proxytest.OriginOption{proxytest.Body("abc")}, request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", status: 200, body: "abc", framing: proxytest.ByLength, length: "3", keep: true, reuse: true},
		{name: "HTTP/1.0 client, chunked", opts: []proxytest.OriginOption{proxytest.Body(big), proxytest.Chunked(1000)}, request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", status: 200, body: big, framing: proxytest.ByClose, reuse: true},
		{name: "HTTP/1.0 client, trailers", opts: []proxytest.OriginOption{proxytest.Body("abc"), proxytest.Trailer("Sum", "1")}, request: "GET / HTTP/1.0\r\n\r\n", status: 200, body: "abc", framing: proxytest.ByClose, reuse: true},
		{name: "HEAD", opts: []proxytest.OriginOption{proxytest.Body(big)}, request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", status: 200, framing: proxytest.NoBody, length: "300000", keep: true, reuse: true},
		{name: "HEAD chunked", opts: []proxytest.OriginOption{proxytest.Body("abc"), proxytest.Chunked(1)}, request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", status: 200, framing: proxytest.NoBody, keep: true, reuse: true},
		{name: "204", opts: []proxytest.OriginOption{proxytest.Status(204)}, status: 204, framing: proxytest.NoBody, keep: true, reuse: true},
		{name: "304", opts: []proxytest.OriginOption{proxytest.Status(304), proxytest.Body("abc")}, status: 304, framing: proxytest.NoBody, length: "3", keep: true, reuse: true},
		{name: "404", opts: []proxytest.OriginOption{proxytest.Status(404), proxytest.Body("abc")}, status: 404, body: "abc", framing: proxytest.ByLength, length: "3", keep: true, reuse: true},
		{name: "origin closes", opts: []proxytest.OriginOption{answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")}, status: 200, body: "x", framing: proxytest.ByLength, length: "1", keep: true},
		{name: "more than its length", opts: []proxytest.OriginOption{proxytest.Body("abc"), proxytest.Extra("HTTP/1.1 200 OK\r\n\r\n")}, status: 200, body: "abc", framing: proxytest.ByLength, length: "3", keep: true},
		{name: "body after 204", opts: []proxytest.OriginOption{proxytest.Status(204), proxytest.Extra("abc")}, status: 204, framing: proxytest.NoBody, keep: true},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				origin := proxytest.NewOrigin(t, append(tt.opts, proxytest.Speak(m.Upstream))...)
				r := newRig(t, m, proxy.Config{}, to(origin))
				request := tt.request
				if request == "" {
					request = r.Request("GET", "/", "")
				}
				for range 2 {
					res := r.Do(request)
					res.Check(t, tt.status, tt.body)
					if got := res.Fields.Get("Content-Length"); res.Framing != tt.framing || got != tt.length || res.KeepAlive() != tt.keep {
						t.Errorf("framing %q, length %q, keep-alive %v; want %q, %q, %v", res.Framing, got, res.KeepAlive(), tt.framing, tt.length, tt.keep)
					}
					r.wantOK()
				}
				want := 2
				if tt.reuse {
					want = 1
				}
				if got := origin.Connections(); got != want {
					t.Errorf("%d connections to the origin, want %d", got, want)
				}
			})
		}
	})
}

func TestResponseFields(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		name, head string
		want       []string
	}{
		{"order and case", "b-B: 2\r\nA: 1\r\nb-B: 3\r\n", []string{"b-B", "2", "A", "1", "b-B", "3"}},
		{"hop-by-hop", "Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: x\r\nTrailer: Sum\r\nA: 1\r\n", []string{"A", "1"}},
		{"nominated", "Connection: X-A, Link, X-Secret-Token\r\nX-A: 1\r\nLink: 2\r\nX-Secret-Token: 3\r\nA: 1\r\n", []string{"A", "1"}},
		{"nominated length", "Connection: Content-Length\r\nA: 1\r\n", []string{"A", "1"}},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				origin := proxytest.NewOrigin(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"+tt.head+"\r\nx"))
				res := newRig(t, m, proxy.Config{}, to(origin)).Get("/")
				res.Check(t, 200, "x")
				if got, want := fieldsOf(&res.Fields), lines(tt.want...); got != want {
					t.Errorf("the client got\n%swant\n%s", got, want)
				}
				if !res.Fields.Has("Date") {
					t.Error("no Date")
				}
			})
		}
	})
}

func TestResponseTrailers(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Field("Trailer", "Sum, More"), proxytest.Body("abc"),
			proxytest.Trailer("Sum", "1f"), proxytest.Trailer("More", "x"), proxytest.Trailer("Content-Length", "9"), proxytest.Trailer("Set-Cookie", "a=b"))
		h := to(origin)
		r := newRig(t, m, proxy.Config{}, h)
		res := r.Get("/", "TE", "trailers")
		res.Check(t, 200, "abc")
		if got, want := res.Trailers.String(), "Sum: 1f\nMore: x\n"; got != want || res.Fields.Get("Trailer") != "Sum, More" {
			t.Errorf("trailers %q announced as %q, want %q", got, res.Fields.Get("Trailer"), want)
		}
		if req := origin.WaitRequests(1)[0]; req.Fields.Get("TE") != "trailers" {
			t.Errorf("TE = %q, want trailers", req.Fields.Get("TE"))
		}

		h.UpstreamResponseTrailerFilter = func(_ *proxy.Session, _ *none, f *header.Fields) error { f.Set("Sum", "20"); return nil }
		h.ResponseTrailerFilter = func(_ *proxy.Session, _ *none, f *header.Fields) error {
			f.Add("Seen", f.Get("Sum"))
			f.Del("More")
			return nil
		}
		res = newRig(t, m, proxy.Config{}, h).Get("/")
		res.Check(t, 200, "abc")
		if got, want := res.Trailers.String(), "Sum: 20\nSeen: 20\n"; got != want {
			t.Errorf("filtered trailers %q, want %q", got, want)
		}
	})
}

// Pingora: 103, head_with_100_continue.
func TestInformational(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Informational(103, "Link", "</a>", "Connection", "X-Hop", "X-Hop", "1"),
			proxytest.Informational(100), proxytest.Informational(103, "Link", "</b>"), proxytest.Body("done"))
		h := to(origin)
		var j journal
		h.ResponseFilter = func(_ *proxy.Session, _ *none, head *header.Response) error {
			j.add(fmt.Sprint(head.Status, head.Fields.Get("Link")))
			return nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		for _, method := range []string{"GET", "HEAD", "GET"} { // over one connection
			res := r.Do(r.Request(method, "/", ""))
			body := "done"
			if method == "HEAD" {
				body = ""
			}
			res.Check(t, 200, body)
			var got string
			for _, info := range res.Informational {
				got += fmt.Sprintln(info.Status, info.Fields.Get("Link"), info.Fields.Has("X-Hop"))
			}
			if want := "103 </a> false\n100  false\n103 </b> false\n"; got != want {
				t.Errorf("informational heads\n%s, want\n%s", got, want)
			}
			if got, want := fmt.Sprint(j.take()), "[103</a> 100 103</b> 200]"; got != want {
				t.Errorf("ResponseFilter saw %s, want %s", got, want)
			}
			r.wantOK()
		}
		if origin.Connections() != 1 || r.Connections() != 1 {
			t.Errorf("%d and %d connections, want one each", origin.Connections(), r.Connections())
		}
		res := r.Do("GET / HTTP/1.0\r\n\r\n")
		res.Check(t, 200, "done")
		if len(res.Informational) != 0 {
			t.Errorf("an HTTP/1.0 client got %v", res.Informational)
		}
	})
}

// Pingora: 103_die.
func TestPeerDiesAfterInformational(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Informational(103),
			proxytest.Handle(func(proxytest.RecordedRequest) []byte { return nil }))
		r := newRig(t, m, proxy.Config{}, to(origin))
		res := r.Get("/")
		if res.Status != 502 || !res.Complete || len(res.Informational) != 1 {
			t.Errorf("got %v after %v, want 103 and then 502", res, res.Informational)
		}
		r.wantKind(proxyerr.ConnClosed)
		if got := len(origin.Requests()); got != 1 {
			t.Errorf("%d requests, want 1: an answer has begun", got)
		}
	})
}

// A response that was cut must never look whole.
//
// Pingora: connection_die, error_after_headers_sent_rst_received.
func TestPeerDiesInBody(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		name string
		opts []proxytest.OriginOption
	}{
		{"short", []proxytest.OriginOption{proxytest.BodySize(1000), proxytest.CloseAfter(500)}},
		{"chunks", []proxytest.OriginOption{proxytest.BodySize(1000), proxytest.Chunked(100), proxytest.CloseAfter(500)}},
		{"reset", []proxytest.OriginOption{proxytest.BodySize(1000), proxytest.ResetAfter(500)}},
		{"reset in chunks", []proxytest.OriginOption{proxytest.BodySize(1000), proxytest.Chunked(100), proxytest.ResetAfter(500)}},
		{"long", []proxytest.OriginOption{proxytest.BodySize(5 << 20), proxytest.CloseAfter(4 << 20)}},
		{"long reset", []proxytest.OriginOption{proxytest.BodySize(5 << 20), proxytest.ResetAfter(4 << 20)}},
		{"reset until close", []proxytest.OriginOption{proxytest.BodySize(1000), proxytest.CloseDelimited(), proxytest.ResetAfter(500)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
				for _, proto := range []string{"HTTP/1.1\r\nHost: a", "HTTP/1.0"} {
					r := newRig(t, m, proxy.Config{}, to(proxytest.NewOrigin(t, append(tt.opts, proxytest.Speak(m.Upstream))...)))
					// A reset can overtake the head.
					if res := r.Do("GET / " + proto + "\r\n\r\n"); res.Complete && res.Status != 502 || !bytes.HasPrefix(proxytest.Pattern(5<<20), res.Body) && res.Status != 502 {
						t.Errorf("%.8s: got %v, want a cut response", proto, res)
					}
					if out := r.outcome(); out.err == nil {
						t.Errorf("%.8s: no error in Log", proto)
					}
				}
			})
		})
	}
}

func TestBadResponses(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		name, raw string
		kind      proxyerr.Kind
	}{
		{"garbage", "hello\r\n\r\n", proxyerr.BadMessage},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-", proxyerr.ConnClosed},
		{"two framings", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", proxyerr.BadMessage},
		{"unasked 101", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", proxyerr.BadMessage},
		{"too large", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", proxyerr.TooLarge},
		{"endless informational", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 200), proxyerr.BadMessage},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
					if _, err := proxytest.ReadRequest(br); err == nil {
						_, _ = io.WriteString(c, tt.raw)
					}
				}))
				r := newRig(t, m, proxy.Config{MaxRetries: -1}, to(origin))
				if res := r.Get("/"); res.Status != 502 || !res.Complete {
					t.Errorf("got %v, want 502", res)
				}
				r.wantKind(tt.kind)
			})
		}
	})
}

// bodyFilters are body hooks that do something to a body as a whole. Each
// makes a hook for one request.
var bodyFilters = []struct {
	name string
	make func() func(chunk []byte, last bool) []byte
	want func(body string) string
}{
	{"same", func() func([]byte, bool) []byte { return func(c []byte, _ bool) []byte { return c } }, func(s string) string { return s }},
	{"grow", func() func([]byte, bool) []byte {
		return func(c []byte, _ bool) []byte { return bytes.ReplaceAll(c, []byte("a"), []byte("<aaa>")) }
	}, func(s string) string { return strings.ReplaceAll(s, "a", "<aaa>") }},
	{"shrink", func() func([]byte, bool) []byte {
		return func(c []byte, _ bool) []byte { return bytes.ReplaceAll(c, []byte("a"), nil) }
	}, func(s string) string { return strings.ReplaceAll(s, "a", "") }},
	{"hold back", func() func([]byte, bool) []byte {
		var held []byte
		return func(c []byte, last bool) []byte {
			if held = append(held, c...); last {
				return held
			}
			return nil
		}
	}, func(s string) string { return s }},
	{"replace", func() func([]byte, bool) []byte {
		return func(_ []byte, last bool) []byte {
			if last {
				return []byte("other")
			}
			return nil
		}
	}, func(string) string { return "other" }},
	{"remove", func() func([]byte, bool) []byte { return func([]byte, bool) []byte { return nil } }, func(string) string { return "" }},
	{"append", func() func([]byte, bool) []byte {
		return func(c []byte, last bool) []byte {
			if last {
				return append(append([]byte(nil), c...), "end"...)
			}
			return c
		}
	}, func(s string) string { return s + "end" }},
}

func TestResponseBodyFilters(t *testing.T) {
	proxytest.CheckLeaks(t)
	origins := []struct {
		name string
		opts []proxytest.OriginOption
	}{
		{"length", nil}, {"chunked", []proxytest.OriginOption{proxytest.Chunked(7000)}},
		{"until close", []proxytest.OriginOption{proxytest.CloseDelimited()}},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, size := range []int{0, 10, 200_000} {
			for _, o := range origins {
				origin := proxytest.NewOrigin(t, append(o.opts, proxytest.Speak(m.Upstream), proxytest.BodySize(size))...)
				for _, f := range bodyFilters {
					t.Run(fmt.Sprintf("%d/%s/%s", size, o.name, f.name), func(t *testing.T) {
						for _, setLength := range []bool{false, true} {
							h := to(origin)
							filter := f.make()
							h.ResponseBodyFilter = func(_ *proxy.Session, _ *none, chunk []byte, last bool) ([]byte, error) {
								return filter(chunk, last), nil
							}
							want := f.want(string(proxytest.Pattern(size)))
							framing := proxytest.ByChunks
							if setLength {
								framing = proxytest.ByLength
								h.ResponseFilter = func(_ *proxy.Session, _ *none, head *header.Response) error {
									head.Length = int64(len(want))
									return nil
								}
							}
							r := newRig(t, m, proxy.Config{}, h)
							res := r.Get("/")
							res.Check(t, 200, want)
							if res.Framing != framing {
								t.Errorf("framing %q, want %q", res.Framing, framing)
							}
							r.wantOK()
						}
					})
				}
			}
		}
	})
}

// The hooks of both directions run one behind the other, and what they promise
// in the head must hold.
func TestResponseBodyFilterContract(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("abc"))
		h := to(origin)
		h.UpstreamResponseBodyFilter = func(_ *proxy.Session, _ *none, c []byte, _ bool) ([]byte, error) { return append(c, 'x'), nil }
		h.ResponseBodyFilter = func(_ *proxy.Session, _ *none, c []byte, _ bool) ([]byte, error) { return append(c, 'y'), nil }
		newRig(t, m, proxy.Config{}, h).Get("/").Check(t, 200, "abcxy")
		res := newRig(t, m, proxy.Config{}, h).Do("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
		res.Check(t, 200, "")
		if res.Fields.Has("Content-Length") {
			t.Errorf("HEAD says Content-Length %s of a body that is filtered", res.Fields.Get("Content-Length"))
		}
		for _, length := range []int64{4, 6} {
			h.ResponseFilter = func(_ *proxy.Session, _ *none, head *header.Response) error { head.Length = length; return nil }
			r := newRig(t, m, proxy.Config{}, h)
			if res := r.Get("/"); res.Complete {
				t.Errorf("length %d of 5: got %v, want a cut response", length, res)
			}
			if out := r.outcome(); out.err == nil {
				t.Errorf("length %d of 5: no error in Log", length)
			}
		}
		h.ResponseFilter = nil
		h.ResponseBodyFilter = func(*proxy.Session, *none, []byte, bool) ([]byte, error) { return nil, errors.New("no") }
		r := newRig(t, m, proxy.Config{}, h)
		if res := r.Get("/"); res.Complete {
			t.Errorf("failing filter: got %v, want a cut response", res)
		}
		r.wantKind(proxyerr.HookFailed)
	})
}

func TestResponseFilterChangesStatus(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("abc"))
		for _, tt := range []struct {
			status int
			body   string
		}{{404, "abc"}, {204, ""}, {304, ""}} {
			h := to(origin)
			h.ResponseFilter = func(_ *proxy.Session, _ *none, head *header.Response) error {
				head.Status, head.Reason = tt.status, ""
				head.Fields.Set("Server", "x\r\ny")
				return nil
			}
			r := newRig(t, m, proxy.Config{}, h)
			for range 2 {
				res := r.Get("/")
				res.Check(t, tt.status, tt.body)
				if got := res.Fields.Get("Server"); got != "x  y" {
					t.Errorf("Server = %q, want %q", got, "x  y")
				}
				r.wantOK()
			}
			if got := r.Connections(); got != 1 {
				t.Errorf("status %d: %d connections, want 1", tt.status, got)
			}
		}
	})
}

// Pingora: download_timeout.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		const size = 32 << 20 // more than all buffers on the way
		for name, opts := range map[string][]proxytest.OriginOption{"length": nil, "chunked": {proxytest.Chunked(32 << 10)}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				origin := proxytest.NewOrigin(t, append(opts, proxytest.Speak(m.Upstream), proxytest.BodySize(size))...)
				cfg := proxy.Config{Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{WriteTimeout: 300 * time.Millisecond}}}
				r := newRig(t, m, cfg, to(origin))
				conn := r.Dial()
				must(t, conn.Send(r.Request("GET", "/", "")))
				r.wantKind(proxyerr.WriteTimeout)
				if res := conn.Response("GET"); res.Complete || len(res.Body) >= size {
					t.Errorf("got %d bytes, want a cut response", len(res.Body))
				}
				origin.WaitOpen(0)
			})
		}
	})
}

// A client that does not read stops the reading from the peer.
func TestBackPressureDown(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, framing := range []string{"Content-Length: 1000000000", "Transfer-Encoding: chunked"} {
			t.Run(framing, func(t *testing.T) {
				t.Parallel()
				var taken atomic.Int64
				stuck := make(chan bool)
				origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
					_, _ = proxytest.ReadRequest(br)
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing+"\r\n\r\n")
					piece := []byte("8000\r\n" + strings.Repeat("x", 0x8000) + "\r\n")
					for {
						_ = c.SetWriteDeadline(time.Now().Add(time.Second))
						n, err := c.Write(piece)
						if taken.Add(int64(n)); err != nil {
							close(stuck)
							return
						}
					}
				}))
				r := newRig(t, m, proxy.Config{}, to(origin))
				conn := r.Dial()
				must(t, conn.NetConn().(*net.TCPConn).SetReadBuffer(16<<10))
				must(t, conn.Send(r.Request("GET", "/", "")))
				receive(t, "the origin to be stuck", stuck)
				// The socket buffers of two connections, and a little of ours.
				if got := taken.Load(); got > 48<<20 {
					t.Errorf("%d bytes taken from the origin for a client that reads none", got)
				}
				_ = conn.Close()
				r.outcome()
			})
		}
	})
}
