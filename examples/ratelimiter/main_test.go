// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
)

func TestCounter(t *testing.T) {
	t.Parallel()
	var c counter
	start := time.Unix(1000, 0)
	tests := []struct {
		app   string
		after time.Duration
		want  int
	}{
		{"a", 0, 1},
		{"a", 999 * time.Millisecond, 2},
		{"b", 999 * time.Millisecond, 1},
		{"a", time.Second, 1},
		{"a", time.Hour, 1},
	}
	for _, tt := range tests {
		if got := c.add(tt.app, start.Add(tt.after)); got != tt.want {
			t.Errorf("after %v add(%q) = %d, want %d", tt.after, tt.app, got, tt.want)
		}
	}
}

func TestCounterIsBounded(t *testing.T) {
	t.Parallel()
	var c counter
	now := time.Unix(1000, 0)
	for i := range maxApps {
		if got := c.add(strconv.Itoa(i), now); got != 1 {
			t.Fatalf("add(%d) = %d, want 1", i, got)
		}
	}
	for i := range 3 {
		if got := c.add("late"+strconv.Itoa(i), now); got != i+1 {
			t.Errorf("app %d beyond the limit has count %d, want %d", i, got, i+1)
		}
	}
	if got := c.add("0", now); got != 2 {
		t.Errorf("an app that is known has count %d, want 2", got)
	}
	if len(c.counts) != maxApps {
		t.Errorf("%d apps are counted, want %d", len(c.counts), maxApps)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.Body("ok"))
	p, err := newProxy(proxy.Config{}, origin.Addr(), 0) // so that it does not matter when a second begins
	if err != nil {
		t.Fatal(err)
	}
	client := proxytest.NewClient(t, proxytest.Listen(t, p))

	client.Get("/").Check(t, 200, "ok")
	res := client.Get("/", "appid", "1")
	res.Check(t, 429, "too many requests\n")
	for name, want := range map[string]string{"X-Rate-Limit-Limit": "0", "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "1"} {
		if got := res.Fields.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if res.KeepAlive() {
		t.Error("the connection is kept, want it closed")
	}
	if n := len(origin.Requests()); n != 1 {
		t.Errorf("origin got %d requests, want only the one without appid", n)
	}
}

func TestWithinLimit(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.Body("ok"))
	p, err := newProxy(proxy.Config{}, origin.Addr(), 1)
	if err != nil {
		t.Fatal(err)
	}
	client := proxytest.NewClient(t, proxytest.Listen(t, p))
	for _, app := range []string{"1", "2", "3"} {
		client.Get("/", "appid", app).Check(t, 200, "ok")
	}
}

// TestBackendIsChecked: what no request could be sent to is found at the start.
func TestBackendIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := newProxy(proxy.Config{}, "nowhere", 1); err == nil {
		t.Error("newProxy takes a backend without a port")
	}
}
