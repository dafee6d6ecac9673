// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
)

// TestStateOutlastsUpgrade checks that a proxy goes on counting where the one
// before it has stopped.
func TestStateOutlastsUpgrade(t *testing.T) {
	origin := proxytest.NewOrigin(t)
	mode := proxytest.Mode{Downstream: proxytest.HTTP1, Upstream: proxytest.HTTP1}
	old := newRig(t, mode, proxy.Config{}, to(origin))
	for range 3 {
		old.Get("/")
	}
	state, err := old.proxy.SaveState()
	must(t, err)
	next := newRig(t, mode, proxy.Config{}, to(origin))
	must(t, next.proxy.RestoreState(state))
	next.Get("/")
	if got := next.proxy.Stats().Requests; got != 4 {
		t.Errorf("%d requests, want 4", got)
	}

	newSwitch := func() *proxy.Switch {
		s, err := proxy.NewSwitch(proxy.Config{}, func(*header.Request) *proxy.Proxy { return next.proxy })
		must(t, err)
		return s
	}
	a, b := newSwitch(), newSwitch()
	must(t, a.RestoreState(state))
	state, err = a.SaveState()
	must(t, err)
	must(t, b.RestoreState(state))
	if got := b.Stats().Requests; got != 3 {
		t.Errorf("%d requests of a Switch, want 3", got)
	}
	for _, bad := range []string{"", "x", `{"requests": -1}`, `{"rejected": -1}`, `{"budget": {"retries": -1}}`, `{"requests": "1"}`} {
		if next.proxy.RestoreState([]byte(bad)) == nil || b.RestoreState([]byte(bad)) == nil {
			t.Errorf("RestoreState(%q) works", bad)
		}
	}
	if got := next.proxy.Stats().Requests; got != 4 {
		t.Errorf("%d requests after states that cannot be used, want 4", got)
	}
}

// TestRetire checks that idle connections stay for one more request when
// another process has taken over, and that Shutdown ends those that are left.
func TestRetire(t *testing.T) {
	origin := proxytest.NewOrigin(t)
	mode := proxytest.Mode{Downstream: proxytest.HTTP1, Upstream: proxytest.HTTP1}
	r := newRig(t, mode, proxy.Config{}, to(origin))
	other := proxytest.NewClient(t, r.addr)
	r.Get("/")
	other.Get("/")
	r.proxy.Retire(time.Hour)
	if res := r.Get("/"); res.Status != 200 || res.Fields.Get("Connection") != "close" {
		t.Errorf("response %d with Connection %q, want 200 and close", res.Status, res.Fields.Get("Connection"))
	}
	eventually(t, "the connection ends", func() bool { return r.proxy.Stats().Connections == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, r.proxy.Shutdown(ctx))
	if n := r.proxy.Stats().Connections; n != 0 {
		t.Errorf("%d connections after Shutdown", n)
	}
}
