// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
)

func TestMaxForwards(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		request   string // without Host and the empty line
		status    int
		forwarded string // the Max-Forwards that the origin gets, "-" if it gets nothing
	}{
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards: 7\r\n", 200, "6"},
		{"OPTIONS * HTTP/1.1\r\nmax-forwards: 1\r\n", 200, "0"},
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards: 007\r\n", 200, "6"},
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards: 99999999999999999999\r\n", 200, "9223372036854775806"},
		{"OPTIONS / HTTP/1.1\r\n", 200, ""},
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards: 0\r\n", 200, "-"},
		{"OPTIONS * HTTP/1.1\r\nMax-Forwards: 0\r\n", 200, "-"},
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards: -1\r\n", 400, "-"},
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards: x\r\n", 400, "-"},
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards:\r\n", 400, "-"},
		{"OPTIONS / HTTP/1.1\r\nMax-Forwards: 1\r\nMax-Forwards: 1\r\n", 400, "-"},
		{"TRACE / HTTP/1.1\r\nMax-Forwards: 2\r\n", 200, "1"},
		{"TRACE / HTTP/1.1\r\n", 200, ""},
		{"TRACE / HTTP/1.1\r\nContent-Length: 3\r\n", 400, "-"},
		{"TRACE / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 400, "-"},
		// Other methods do not count.
		{"GET / HTTP/1.1\r\nMax-Forwards: 0\r\n", 200, "0"},
		{"GET / HTTP/1.1\r\nMax-Forwards: x\r\n", 200, "x"},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		r := newRig(t, m, proxy.Config{Downstream: proxy.Downstream{AllowTrace: true}}, to(origin))
		seen := 0
		for _, tt := range tests {
			if res := r.Do(tt.request + "Host: a\r\n\r\n"); res.Status != tt.status || res.Err != nil {
				t.Errorf("%q: got %v, want %d", tt.request, res, tt.status)
			}
			if tt.forwarded != "-" {
				seen++
			}
			reqs := origin.WaitRequests(seen)
			if len(reqs) != seen {
				t.Fatalf("%q was forwarded", tt.request)
			}
			if tt.forwarded == "-" {
				continue
			}
			if got := reqs[seen-1].Fields.Get("Max-Forwards"); got != tt.forwarded {
				t.Errorf("%q: the origin got Max-Forwards %q, want %q", tt.request, got, tt.forwarded)
			}
		}
	})
}

// The last recipient of a TRACE sends it back, but not its secrets.
func TestTraceEndsHere(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		r := newRig(t, m, proxy.Config{Downstream: proxy.Downstream{AllowTrace: true}}, to(origin))
		res := r.Do("TRACE /x HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nAuthorization: secret\r\nA: b\r\nMax-Forwards: 0\r\n\r\n")
		res.Check(t, 200, "TRACE /x HTTP/1.1\r\nHost: a\r\nA: b\r\nMax-Forwards: 0\r\n\r\n")
		if got := res.Fields.Get("Content-Type"); got != "message/http" {
			t.Errorf("Content-Type = %q, want message/http", got)
		}
		r.wantOK()
		if n := len(origin.Requests()); n != 0 {
			t.Errorf("the origin got %d requests, want none", n)
		}
	})
}

func TestTraceDisallowed(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream)))
		h.EarlyRequestFilter = func(*proxy.Session, *none) error { t.Error("a hook ran"); return nil }
		r := newRig(t, m, proxy.Config{}, h)
		for _, fields := range []string{"", "Max-Forwards: 0\r\n"} {
			res := r.Do("TRACE / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n")
			if res.Status != 405 || res.Fields.Get("Allow") == "" {
				t.Errorf("got %v, Allow %q; want 405", res, res.Fields.Get("Allow"))
			}
			r.wantKind(proxyerr.Unsupported)
		}
	})
}
