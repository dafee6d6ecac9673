// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
)

func TestForwarding(t *testing.T) {
	proxytest.CheckLeaks(t)
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	spoofed := []string{"X-Forwarded-For", "9.9.9.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "other.test", "X-Real-IP", "9.9.9.9",
		"Forwarded", "for=9.9.9.9", "X-Forwarded-Prefix", "/p", "Via", "1.0 first"}
	tests := []struct {
		name   string
		cfg    proxy.Forwarding
		fields []string
		want   []string // name and value in turn; "" means none
	}{
		{"default", proxy.Forwarding{}, nil, []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "http", "X-Forwarded-Host", "origin.test",
			"Forwarded", "", "X-Real-IP", "", "Via", ""}},
		{"spoofed", proxy.Forwarding{}, spoofed, []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "http", "X-Forwarded-Host", "origin.test",
			"Forwarded", "", "X-Real-IP", "", "X-Forwarded-Prefix", "", "Via", "1.0 first"}},
		{"nothing", proxy.Forwarding{NoXForwarded: true}, spoofed, []string{"X-Forwarded-For", "", "X-Forwarded-Proto", "", "X-Forwarded-Host", "",
			"Forwarded", "", "X-Real-IP", ""}},
		{"all", proxy.Forwarding{Forwarded: true, XRealIP: true, Via: "belay"}, spoofed, []string{"X-Forwarded-For", "127.0.0.1",
			"Forwarded", `for=127.0.0.1;host="origin.test";proto=http`, "X-Real-IP", "127.0.0.1", "Via", "1.0 first, 1.1 belay"}},
		{"trusted", proxy.Forwarding{Trusted: trusted, Forwarded: true, XRealIP: true, Via: "belay"}, spoofed,
			[]string{"X-Forwarded-For", "9.9.9.9, 127.0.0.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "other.test", "X-Forwarded-Prefix", "/p",
				"Forwarded", `for=9.9.9.9, for=127.0.0.1;host="origin.test";proto=http`, "X-Real-IP", "9.9.9.9", "Via", "1.0 first, 1.1 belay"}},
		{"trusted, says nothing", proxy.Forwarding{Trusted: trusted, Forwarded: true, XRealIP: true}, nil,
			[]string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "http", "X-Forwarded-Host", "origin.test",
				"Forwarded", `for=127.0.0.1;host="origin.test";proto=http`, "X-Real-IP", "127.0.0.1", "Via", ""}},
		{"trusted, two lines", proxy.Forwarding{Trusted: trusted}, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "2.2.2.2, 3.3.3.3"},
			[]string{"X-Forwarded-For", "1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"}},
		{"trusted twin", proxy.Forwarding{Trusted: trusted}, []string{"X_Forwarded_For", "1.1.1.1"},
			[]string{"X-Forwarded-For", "127.0.0.1", "X_Forwarded_For", ""}},
		{"others trusted", proxy.Forwarding{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, spoofed,
			[]string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "http"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
				origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
				r := newRig(t, m, proxy.Config{Forwarding: tt.cfg}, to(origin))
				r.Get("/", tt.fields...).Check(t, 200, "")
				req := origin.WaitRequests(1)[0]
				checkFields(t, &req, tt.want)
			})
		})
	}
}

// checkFields checks the only value of each of the named fields.
func checkFields(t *testing.T, req *proxytest.RecordedRequest, want []string) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		n := 0
		for range req.Fields.Values(want[i]) {
			n++
		}
		if got := req.Fields.Get(want[i]); got != want[i+1] || n > 1 || n == 1 && want[i+1] == "" {
			t.Errorf("%d fields %s, the first %q; want %q", n, want[i], got, want[i+1])
		}
	}
}

func TestForwardingIPv6(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Skip("no IPv6 loopback: ", err)
		}
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		listen := func(t testing.TB, h proxytest.Handler) string {
			done := make(chan struct{})
			go func() {
				defer close(done)
				if c, err := l.Accept(); err == nil {
					h.ServeConn(c)
				}
			}()
			t.Cleanup(func() { l.Close(); <-done })
			return l.Addr().String()
		}
		r := listenRig(t, m, proxy.Config{Forwarding: proxy.Forwarding{Forwarded: true, XRealIP: true}}, to(origin), listen)
		r.Get("/").Check(t, 200, "")
		req := origin.WaitRequests(1)[0]
		checkFields(t, &req, []string{"X-Forwarded-For", "::1", "X-Real-IP", "::1",
			"Forwarded", `for="[::1]";host="origin.test";proto=http`})
	})
}

func TestForwardingUnixClient(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		cfg := proxy.Config{Forwarding: proxy.Forwarding{Forwarded: true, XRealIP: true, Trusted: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}
		r := listenRig(t, m, cfg, to(origin), proxytest.ListenUnix)
		r.Get("/", "X-Forwarded-For", "9.9.9.9", "X-Real-IP", "9.9.9.9").Check(t, 200, "")
		req := origin.WaitRequests(1)[0]
		checkFields(t, &req, []string{"X-Forwarded-For", "", "X-Real-IP", "", "X-Forwarded-Proto", "http",
			"Forwarded", `for=unknown;host="origin.test";proto=http`})
	})
}

func TestViaOfResponse(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Field("Via", "1.1 near"))
		r := newRig(t, m, proxy.Config{Forwarding: proxy.Forwarding{Via: "belay"}}, to(origin))
		if got := r.Get("/").Fields.Get("Via"); got != "1.1 near, 1.1 belay" {
			t.Errorf("Via = %q, want both", got)
		}
		r10 := newRig(t, m, proxy.Config{Forwarding: proxy.Forwarding{Via: "belay"}}, to(proxytest.NewOrigin(t, proxytest.HTTP10())))
		if got := r10.Get("/").Fields.Get("Via"); got != "1.0 belay" {
			t.Errorf("Via = %q, want 1.0 belay", got)
		}
	})
}

// A proxy in front may come through a Unix socket, too.
func TestForwardingTrustUnix(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, trust := range []bool{false, true} {
			origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
			cfg := proxy.Config{Forwarding: proxy.Forwarding{TrustUnix: trust, XRealIP: true}}
			fields := []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https", "X-Real-IP", "192.0.2.7"}
			for name, listen := range map[string]func(testing.TB, proxytest.Handler) string{"unix": proxytest.ListenUnix, "tcp": proxytest.Listen} {
				r := listenRig(t, m, cfg, to(origin), listen)
				r.Get("/"+name, fields...).Check(t, 200, "")
				reqs := origin.Requests()
				got := reqs[len(reqs)-1].Fields
				want := trust && name == "unix"
				for i := 0; i < len(fields); i += 2 {
					if kept := got.Get(fields[i]) == fields[i+1]; kept != want {
						t.Errorf("%s, TrustUnix %v: %s = %q; want it kept: %v", name, trust, fields[i], got.Get(fields[i]), want)
					}
				}
			}
		}
	})
}
