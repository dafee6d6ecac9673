// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/test/internal/modes"
)

// seen is what an origin saw of a request.
type seen struct {
	Host   string
	URI    string
	Header http.Header
}

// tellSeen answers with what it sees.
func tellSeen(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen{Host: req.Host, URI: req.RequestURI, Header: req.Header})
}

func parseSeen(t testing.TB, body string) (s seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("the origin told %q: %v", body, err)
	}
	return s
}

func TestForwardingFields(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, tellSeen)
		cfg := proxy.Config{Forwarding: proxy.Forwarding{Forwarded: true, XRealIP: true, Via: "belay"}}
		r := newRigWith(t, m, cfg, toPeers(o.peer()))
		res := r.get("/", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "ftp", "Forwarded", "for=6.6.6.6", "X-Real-IP", "6.6.6.6")
		res.wantStatus(t, 200)
		got := parseSeen(t, string(res.body))
		via := "1.1 belay"
		if m.Down.H2 {
			via = "2 belay"
		}
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": m.Down.Scheme(), "X-Forwarded-Host": "origin.test",
			"Forwarded": `for=127.0.0.1;host="origin.test";proto=` + m.Down.Scheme(), "X-Real-Ip": "127.0.0.1", "Via": via,
		} {
			if v := got.Header.Values(name); !slices.Equal(v, []string{want}) {
				t.Errorf("%s = %q, want %q", name, v, want)
			}
		}
	})
}

// Fields for one connection do not travel, in either direction.
func TestHopByHop(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			if !m.Up.H2 {
				w.Header().Set("Connection", "X-Mine")
				w.Header().Set("Keep-Alive", "timeout=5")
			}
			w.Header().Set("Proxy-Authenticate", "Basic")
			w.Header().Set("X-Mine", "1")
			w.Header().Set("X-Kept", "1")
			tellSeen(w, req)
		})
		fields := []string{"Proxy-Authorization", "Basic eA==", "X-Kept", "1"}
		if !m.Down.H2 {
			fields = append(fields, "Connection", "X-Mine, keep-alive", "X-Mine", "1", "Keep-Alive", "timeout=5", "TE", "gzip")
		}
		res := r.get("/", fields...)
		res.wantStatus(t, 200)
		got := parseSeen(t, string(res.body))
		for _, name := range []string{"Connection", "Keep-Alive", "X-Mine", "Proxy-Authorization", "Te", "Transfer-Encoding"} {
			if v := got.Header.Values(name); len(v) > 0 {
				t.Errorf("the origin got %s: %q", name, v)
			}
		}
		names := []string{"Keep-Alive", "Proxy-Authenticate"}
		if !m.Up.H2 {
			names = append(names, "X-Mine", "Connection")
		}
		for _, name := range names {
			if v := res.Header.Values(name); len(v) > 0 {
				t.Errorf("the client got %s: %q", name, v)
			}
		}
		if got.Header.Get("X-Kept") != "1" || res.Header.Get("X-Kept") != "1" {
			t.Errorf("X-Kept was lost: origin %s, client %s", describe(got.Header, "X-Kept"), describe(res.Header, "X-Kept"))
		}
	})
}

// TE: trailers is the one such field of HTTP/2; it is made anew for the peer.
func TestTETrailers(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, tellSeen)
		for _, te := range []string{"", "trailers"} {
			var fields []string
			if te != "" {
				fields = []string{"TE", te}
			}
			res := r.get("/", fields...)
			res.wantStatus(t, 200)
			if got := parseSeen(t, string(res.body)).Header.Get("TE"); got != te {
				t.Errorf("TE = %q, want %q", got, te)
			}
		}
	})
}

// Cookies arrive as one field, however a client splits them, and Set-Cookie
// stays as many as there are.
func TestCookies(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Add("Set-Cookie", "a=1; Path=/")
			w.Header().Add("Set-Cookie", "b=2, with a comma")
			tellSeen(w, req)
		})
		crumbs := []string{"a=1", "b=2", "c=3; d=4"}
		var body string
		var set []string
		if m.Down.H2 {
			c := dialFrames(t, m.Down, r.addr)
			must(t, c.get(1, "/", "cookie", crumbs[0], "x", "between", "cookie", crumbs[1], "cookie", crumbs[2]))
			rep := c.reply(t, 1)
			body = rep.body
			for _, hf := range rep.head.fields {
				if hf.Name == "set-cookie" {
					set = append(set, hf.Value)
				}
			}
		} else {
			res := r.get("/", "Cookie", strings.Join(crumbs, "; "))
			body, set = string(res.body), res.Header.Values("Set-Cookie")
		}
		if got, want := parseSeen(t, body).Header.Values("Cookie"), "a=1; b=2; c=3; d=4"; !slices.Equal(got, []string{want}) {
			t.Errorf("Cookie = %q, want %q", got, want)
		}
		if want := []string{"a=1; Path=/", "b=2, with a comma"}; !slices.Equal(set, want) {
			t.Errorf("Set-Cookie = %q, want %q", set, want)
		}
	})
}

// A client of HTTP/2 may say :authority, Host, or both if they are the same.
func TestAuthority(t *testing.T) {
	for _, tt := range []struct {
		authority, host string
		want            string // "" means that the request is refused
	}{
		{"a.test", "", "a.test"},
		{"", "a.test", "a.test"},
		{"a.test", "a.test", "a.test"},
		{"a.test:8080", "a.test:8080", "a.test:8080"},
		{"a.test", "b.test", ""},
		{"user@a.test", "", ""},
		{"a.test/", "", ""},
		{"", "a.test, b.test", ""},
	} {
		t.Run(tt.authority+" and "+tt.host, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				if !m.Down.H2 {
					t.Skip("test/h1corpus has the rules of HTTP/1")
				}
				r, o := newRig(t, m, tellSeen)
				c := dialFrames(t, m.Down, r.addr)
				fields := []string{":method", "GET", ":scheme", c.scheme, ":path", "/"}
				if tt.authority != "" {
					fields = append(fields, ":authority", tt.authority)
				}
				if tt.host != "" {
					fields = append(fields, "host", tt.host)
				}
				must(t, c.headers(1, true, fields...))
				rep := c.reply(t, 1)
				switch {
				case tt.want == "" && (rep.reset || strings.HasPrefix(rep.status, "4")) && o.requests.Load() == 0:
				case tt.want == "":
					t.Errorf("status %q, %d requests at the origin; want a refusal", rep.status, o.requests.Load())
				default:
					if got := parseSeen(t, rep.body).Host; got != tt.want {
						t.Errorf("Host = %q, want %q", got, tt.want)
					}
				}
			})
		})
	}
}

// What is malformed in HTTP/2, or would be syntax in HTTP/1, does not pass
// (RFC 9113 section 8.2).
func TestMalformedH2Requests(t *testing.T) {
	base := []string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/"}
	with := func(fields ...string) []string { return append(slices.Clip(base), fields...) }
	change := func(name, value string) []string {
		fields := slices.Clone(base)
		fields[slices.Index(fields, name)+1] = value
		return fields
	}
	cases := map[string][]string{
		"connection":          with("connection", "close"),
		"keep-alive":          with("keep-alive", "timeout=5"),
		"proxy-connection":    with("proxy-connection", "close"),
		"transfer-encoding":   with("transfer-encoding", "chunked"),
		"upgrade":             with("upgrade", "websocket"),
		"te: gzip":            with("te", "gzip"),
		"upper case name":     with("X-Upper", "1"),
		"line feed in value":  with("x", "1\r\nsmuggled: 1"),
		"bare LF in value":    with("x", "1\nsmuggled: 1"),
		"NUL in value":        with("x", "1\x002"),
		"space around value":  with("x", " 1 "),
		"space in name":       with("x y", "1"),
		"colon in name":       with("x:y", "1"),
		"line feed in name":   with("x\ny", "1"),
		"empty name":          with("", "1"),
		"unknown pseudo":      with(":unknown", "1"),
		"pseudo after field":  append([]string{"x", "1"}, base...),
		"second path":         with(":path", "/2"),
		"empty path":          change(":path", ""),
		"space in path":       change(":path", "/ HTTP/1.1"),
		"line feed in path":   change(":path", "/\r\nsmuggled: 1"),
		"relative path":       change(":path", "x"),
		"space in method":     change(":method", "GET / HTTP/1.1\r\n"),
		"empty method":        change(":method", ""),
		"no method":           base[2:],
		"no path":             base[:6],
		"bad scheme":          change(":scheme", "ht tp"),
		"line feed authority": change(":authority", "a.test\r\nsmuggled: 1"),
		"length of no body":   with("content-length", "5"),
		"two lengths":         with("content-length", "0", "content-length", "1"),
		"protocol with GET":   with(":protocol", "websocket"),
	}
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if !m.Down.H2 {
			t.Skip("test/h1corpus has the rules of HTTP/1")
		}
		r, o := newRig(t, m, tellSeen)
		for name, fields := range cases {
			c := dialFrames(t, m.Down, r.addr)
			must(t, c.headers(1, true, fields...))
			rep := c.reply(t, 1)
			if !(rep.reset && rep.code == codeProtocol) && !strings.HasPrefix(rep.status, "4") {
				t.Errorf("%s: status %q, reset %v with code %d; want PROTOCOL_ERROR or 4xx", name, rep.status, rep.reset, rep.code)
			}
			if n := o.requests.Swap(0); n != 0 {
				t.Errorf("%s: it has reached the origin", name)
			}
			must(t, c.get(3, "/"))
			if rep := c.reply(t, 3); rep.status != "200" {
				t.Errorf("%s: the next request on the connection got %q, want 200", name, rep.status)
			}
			o.requests.Store(0)
			_ = c.nc.Close()
		}
	})
}

// The same for the responses of origins: the client gets 502 and nothing of
// them.
func TestMalformedH2Responses(t *testing.T) {
	cases := map[string][]string{
		"connection":         {":status", "200", "connection", "close"},
		"transfer-encoding":  {":status", "200", "transfer-encoding", "chunked"},
		"upper case name":    {":status", "200", "X-Upper", "1"},
		"line feed in value": {":status", "200", "x", "1\r\nsmuggled: 1"},
		"line feed in name":  {":status", "200", "x\n", "1"},
		"colon in name":      {":status", "200", "x:y", "1"},
		"no status":          {"x", "1"},
		"bad status":         {":status", "20"},
		"line feed status":   {":status", "200\r\n"},
		"status 101":         {":status", "101"},
		"second status":      {":status", "200", ":status", "404"},
		"pseudo of requests": {":status", "200", ":path", "/"},
		"bad length":         {":status", "200", "content-length", "+1"},
		"two lengths":        {":status", "200", "content-length", "1", "content-length", "2"},
	}
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if !m.Up.H2 {
			t.Skip("test/h1corpus has the rules of HTTP/1")
		}
		for name, fields := range cases {
			addr := newScript(t, m.Up, func(nc net.Conn, _ int) {
				c, err := acceptFrames(nc)
				for err == nil {
					var head frame
					if head, err = c.request(); err == nil {
						err = errors.Join(c.headers(head.stream, false, fields...), c.data(head.stream, true, "x"))
					}
				}
			})
			r := newRigWith(t, m, proxy.Config{}, toPeers(m.Up.PeerAt(t, addr)))
			if res := r.get("/"); res.err != nil || res.StatusCode != 502 {
				t.Errorf("%s: got %d, %q, %v; want 502", name, res.StatusCode, res.body, res.err)
			}
			r.wantKind(proxyerr.BadMessage)
		}
	})
}

// A declared length must be that of the data (RFC 9113 section 8.1.1).
func TestRequestLengthMismatch(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if !m.Down.H2 {
			t.Skip("test/h1corpus has the rules of HTTP/1")
		}
		whole := make(chan string, 10)
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			echoBody(w, req)
			whole <- req.URL.Path
		})
		for i, data := range []string{"1234", "123456"} {
			c := dialFrames(t, m.Down, r.addr)
			must(t, c.headers(1, false, ":method", "POST", ":scheme", c.scheme, ":authority", "a.test", ":path", fmt.Sprint("/", i), "content-length", "5"))
			must(t, c.data(1, true, data))
			if rep := c.reply(t, 1); !rep.reset && !strings.HasPrefix(rep.status, "4") {
				t.Errorf("%q for 5 bytes: status %q, want a refusal", data, rep.status)
			}
			_ = c.nc.Close()
		}
		r.post("/end", "x").want(t, 200, "x")
		if got := receive(t, "whole request", whole); got != "/end" {
			t.Errorf("the origin got all of %s", got)
		}
	})
}

// Trailers behind a body of declared length: HTTP/1 has no place for them, so
// they may be lost, but nothing else.
func TestLengthAndTrailers(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if !m.Down.H2 {
			t.Skip("only HTTP/2 has both")
		}
		r, _ := newRig(t, m, echoBody)
		c := dialFrames(t, m.Down, r.addr)
		for id := uint32(1); id < 7; id += 2 {
			must(t, c.headers(id, false, ":method", "POST", ":scheme", c.scheme, ":authority", "a.test", ":path", "/", "content-length", "4"))
			must(t, c.data(id, false, "data"))
			must(t, c.headers(id, true, "checksum", "1"))
			if rep := c.reply(t, id); rep.status != "200" || rep.body != "data" {
				t.Errorf("got %q, %q; want 200 and the body", rep.status, rep.body)
			}
		}
	})
}

// Targets pass as they are.
func TestTargets(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, tellSeen)
		for _, target := range []string{"/", "/?", "/a//b/../c", "/%2e%2E/%00", "/a?b=c&d=%0a", "/" + strings.Repeat("x", 5000)} {
			res := r.get(target)
			if got := parseSeen(t, string(res.body)).URI; got != target {
				t.Errorf("the origin saw %.100q, want %.100q", got, target)
			}
		}
	})
}
