// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// startBackends starts n servers that answer with what they received, and
// returns their addresses.
func startBackends(t *testing.T, n int) string {
	var addrs []string
	for range n {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Backend", r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
			for name, values := range r.Header {
				w.Header()["Got-"+name] = values
			}
			w.Header().Set("Got-Host", r.Host)
			_, _ = w.Write(body)
		}))
		t.Cleanup(server.Close)
		addrs = append(addrs, server.Listener.Addr().String())
	}
	return strings.Join(addrs, ",")
}

// startProxy returns the URL of a proxy.
func startProxy(t *testing.T, opts options) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(opts, "http")
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if err := server.Shutdown(); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + ln.Addr().String() + "/a//b?c"
}

func TestProxy(t *testing.T) {
	for _, stream := range []bool{false, true} {
		url := startProxy(t, options{to: startBackends(t, 3), host: "bench.example", conns: 8, stream: stream})
		var used []string
		body := strings.Repeat("x", 100_000)
		for range 6 {
			req, _ := http.NewRequest("POST", url, strings.NewReader(body))
			req.Host = "www.example.com"
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(got) != body || err != nil {
				t.Errorf("stream %t: %d bytes of body (%v), want %d", stream, len(got), err, len(body))
			}
			for name, want := range map[string]string{
				"Got-Host": "bench.example", "Got-X-Forwarded-For": "127.0.0.1", "Got-X-Forwarded-Proto": "http",
				"Got-X-Forwarded-Host": "www.example.com", "Got-Connection": "",
			} {
				if value := res.Header.Get(name); value != want {
					t.Errorf("stream %t: %s is %q, want %q", stream, name, value, want)
				}
			}
			used = append(used, res.Header.Get("X-Backend"))
		}
		if slices.Sort(used[:3]); len(slices.Compact(slices.Clone(used[:3]))) != 3 {
			t.Errorf("stream %t: backends %q, want all in turn", stream, used)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, opts := range []options{{host: "x"}, {to: "127.0.0.1:1"}} {
		if err := run(opts); err == nil || !strings.Contains(err.Error(), "-to and -host") {
			t.Errorf("run(%+v) = %v", opts, err)
		}
	}
}
