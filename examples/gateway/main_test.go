// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
)

const token = "secret"

// start returns a gateway, a client of it, and what ends it. The pools answer
// with their names.
func start(t *testing.T) (g *gateway, client *proxytest.Client, stop func()) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	g = &gateway{token: token, log: quiet}
	stable := proxytest.NewOrigin(t, proxytest.Handle(func(req proxytest.RecordedRequest) []byte {
		if req.Fields.Has("Authorization") {
			return []byte("HTTP/1.1 500 Token Leaked\r\nContent-Length: 0\r\n\r\n")
		}
		return []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nServer: origin\r\nAlt-Svc: clear\r\n\r\nstable")
	}))
	beta := proxytest.NewOrigin(t, proxytest.Body("beta"))
	var err error
	if g.stable, err = newPool(stable.Addr(), quiet); err != nil {
		t.Fatal(err)
	}
	if g.beta, err = newPool(beta.Addr(), quiet); err != nil {
		t.Fatal(err)
	}
	p, err := g.newProxy(proxy.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	url, stop := proxytest.Serve(p)
	t.Cleanup(stop)
	return g, proxytest.NewClient(t, url), stop
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	_, client, _ := start(t)
	tests := []struct {
		target string
		fields []string
		want   string
	}{
		{"/", nil, "stable"},
		{"/beta", nil, "stable"},
		{"/beta/", nil, "beta"},
		{"/beta/x?y=/z", nil, "beta"},
		{"/?/beta/", nil, "stable"},
		{"/", []string{"Beta-Flag", "1"}, "beta"},
		{"/", []string{"Beta-Flag", "0"}, "stable"},
	}
	for _, tt := range tests {
		res := client.Get(tt.target, append(tt.fields, "Authorization", "Bearer "+token)...)
		res.Check(t, 200, tt.want)
		if got := res.Fields.Get("Server"); got != "gateway" {
			t.Errorf("%s: Server is %q, want gateway", tt.target, got)
		}
		if res.Fields.Has("Alt-Svc") {
			t.Errorf("%s: Alt-Svc is still there", tt.target)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	_, client, _ := start(t)
	for _, value := range []string{"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secretx", "Basic secret"} {
		res := client.Get("/", "Authorization", value)
		res.Check(t, 401, "who are you?\n")
		if !res.Fields.Has("WWW-Authenticate") {
			t.Errorf("%q: no WWW-Authenticate", value)
		}
	}
	client.Get("/").Check(t, 401, "who are you?\n")
	client.Get("/", "Authorization", "Bearer "+token).Check(t, 200, "stable")
}

func TestCounts(t *testing.T) {
	t.Parallel()
	g, client, stop := start(t)
	g.beta.SetEnabled(g.beta.Backends()[0].Backend.Addr, false)
	client.Get("/", "Authorization", "Bearer "+token).Check(t, 200, "stable")
	client.Get("/").Check(t, 401, "who are you?\n")
	client.Get("/beta/", "Authorization", "Bearer "+token).Check(t, 503, "503 Service Unavailable\n")
	stop() // after it, all requests have been logged
	if n, failed := g.requests.Load(), g.failures.Load(); n != 3 || failed != 1 {
		t.Errorf("%d requests and %d failures are counted, want 3 and 1", n, failed)
	}
}
