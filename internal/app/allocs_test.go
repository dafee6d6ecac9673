// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"log/slog"
	"os"
	"testing"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/header"
)

// TestHooksAllocs holds what the hooks of belay proxy allocate for a request
// with two attempts: nothing beside the state itself.
func TestHooksAllocs(t *testing.T) {
	p, err := NewProxy(t.Context(), ProxyConfig{
		Backends: []balancer.Backend{{Addr: "127.0.0.1:1"}, {Addr: "127.0.0.1:2"}},
		Host:     "app.example",
		Logger:   slog.New(slog.DiscardHandler),
		Signals:  make(chan os.Signal),
	})
	if err != nil {
		t.Fatal(err)
	}
	st := new(state)
	var head header.Request
	head.SetHost("client.example")
	got := testing.AllocsPerRun(100, func() {
		*st = state{}
		for range 2 {
			if _, err := p.upstreamPeer(nil, st); err != nil {
				t.Fatal(err)
			}
			if err := p.setHost(nil, st, &head); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got != 0 {
		t.Errorf("%v allocations per request, want 0", got)
	}
}
