// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/balancer"
)

func TestParseBackend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in     string
		addr   string
		weight int
		err    string // part of it; "" for none
		name   string // by backendName; "" for addr
	}{
		{"127.0.0.1:80", "127.0.0.1:80", 0, "", ""},
		{"app.internal:8080", "app.internal:8080", 0, "", ""},
		{"[::1]:80=3", "[::1]:80", 3, "", ""},
		{"a:1=1", "a:1", 1, "", ""},
		{"a:1=1000000", "a:1", 1000000, "", ""},
		{"unix:/run/app.sock", "unix:/run/app.sock", 0, "", ""},
		{"unix:/run/app.sock=2", "unix:/run/app.sock", 2, "", ""},
		{"unix:/run/a=b/app.sock", "unix:/run/a=b/app.sock", 0, "", ""},
		{"a:1=0", "", 0, `weight is "0", want a number from 1 to 1000000`, ""},
		{"a:1=1000001", "", 0, `weight is "1000001"`, ""},
		{"a:1=-1", "", 0, `weight is "-1"`, ""},
		{"a:1=", "", 0, `weight is ""`, ""},
		{"", "", 0, "want host:port, unix:/path, or http://", ""},
		{"127.0.0.1", "", 0, "want host:port, unix:/path, or http://", ""},
		{":80", "", 0, "no host before the port", ""},
		{"a:", "", 0, "there is no port", ""},
		{"a:0", "", 0, `the port is "0", want 1 to 65535`, ""},
		{"a:65536", "", 0, `the port is "65536", want 1 to 65535`, ""},
		{"a:65535", "a:65535", 0, "", ""},
		{"a:80 ", "", 0, `the port is "80 "`, ""},
		{"a:1=2=3", "", 0, `the port is "1=2"`, ""},
		{"a:80/path", "", 0, "more than host and port", ""},
		{"me@a:80", "", 0, "more than host and port", ""},
		{"a b:80", "", 0, `"a b" is not a host`, ""},
		{"unix:", "", 0, "there is no path: want unix:/path", ""},
		{"http://127.0.0.1:80", "127.0.0.1:80", 0, "", ""},
		{"http://app=2", "app:80", 2, "", ""},
		{"https://app.example=3", "app.example:443", 3, "", "https://app.example:443"},
		{"HTTPS://[::1]", "[::1]:443", 0, "", "https://[::1]:443"},
		{"https://[::1]:8443", "[::1]:8443", 0, "", "https://[::1]:8443"},
		{"h2://10.0.0.1:8443", "10.0.0.1:8443", 0, "", "h2://10.0.0.1:8443"},
		{"h2://app", "app:443", 0, "", "h2://app:443"},
		{"h2c://app:50051=2", "app:50051", 2, "", "h2c://app:50051"},
		{"h2c://app", "", 0, "want host:port", ""},
		{"ftp://app", "", 0, `no scheme "ftp"`, ""},
		{"https://app/", "", 0, "more than scheme, host and port", ""},
		{"https://me@app", "", 0, "more than scheme, host and port", ""},
		{"https://app?a", "", 0, "more than scheme, host and port", ""},
		{"https://", "", 0, "want host:port", ""},
		{"https://:443", "", 0, "no host before the port", ""},
		{"https://::1", "", 0, "want host:port", ""},
		{"http://unix:a.sock", "", 0, "no scheme", ""},
		{"://app:1", "", 0, "no scheme", ""},
	}
	for _, tt := range tests {
		got, err := ParseBackend(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), tt.in) {
				t.Errorf("ParseBackend(%q) = %v, want an error with %q and the input", tt.in, err, tt.err)
			}
			continue
		}
		if want := cmp.Or(tt.name, tt.addr); err == nil && backendName(got) != want {
			t.Errorf("ParseBackend(%q) is named %q, want %q", tt.in, backendName(got), want)
		}
		if err != nil || got.Addr != tt.addr || got.Peer.Addr != tt.addr || got.Weight != tt.weight {
			t.Errorf("ParseBackend(%q) = %q, %d, %v, want %q, %d", tt.in, got.Addr, got.Weight, err, tt.addr, tt.weight)
		}
	}
}

func FuzzParseBackend(f *testing.F) {
	for _, s := range []string{"a:1", "a:1=2", "[::1]:80=1000000", "unix:/a=1/b", "unix:/a=1", "=", "a:1=01", "https://a=2", "h2c://[::1]:1", "h2://[a", "http://a:1=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBackend(s)
		if err != nil {
			return
		}
		if b.Weight < 0 || b.Weight > balancer.MaxWeight {
			t.Fatalf("ParseBackend(%q) has weight %d", s, b.Weight)
		}
		// What is accepted here must not be refused later.
		if err := b.Peer.Validate(); err != nil {
			t.Fatalf("ParseBackend(%q) has address %q: %v", s, b.Addr, err)
		}
		name := backendName(b)
		again, err := ParseBackend(fmt.Sprintf("%s=%d", name, max(b.Weight, 1)))
		if err != nil || again.Addr != b.Addr || backendName(again) != name || again.Weight != max(b.Weight, 1) {
			t.Fatalf("%q is %q with weight %d, which reads as %q, %d, %v", s, b.Addr, b.Weight, again.Addr, again.Weight, err)
		}
	})
}

func TestCheckListen(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"127.0.0.1:8080": true, ":80": true, "[::1]:0": true, "unix:/run/a.sock": true,
		"": false, "80": false, "127.0.0.1": false, "127.0.0.1:x": false, "127.0.0.1:70000": false, "unix:": false,
		"http://127.0.0.1:80": false,
	} {
		if err := CheckListen(addr); (err == nil) != ok {
			t.Errorf("CheckListen(%q) = %v, want ok %v", addr, err, ok)
		}
	}
}

func TestCheckLoop(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		listen, backend string
		loop            bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:0", "127.0.0.1:80", false},
		{"localhost:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "localhost:80", true},
		{":80", "localhost:80", true},
		{":80", "127.0.0.2:80", true},
		{":80", "[::1]:80", true},
		{"[::]:80", "0.0.0.0:80", true},
		{"127.0.0.1:80", "0.0.0.0:80", true},
		{"127.0.0.2:80", "0.0.0.0:80", false},
		{"[::1]:80", "[::]:80", true},
		{"0.0.0.0:80", "[::]:80", false},
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"0.0.0.0:80", "[::1]:80", false},
		{":80", "10.0.0.1:80", false},
		{":80", "app:80", false},
		{"app:80", "app:80", true},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", "127.0.0.1:80", false},
	} {
		err := checkLoop([]string{"unix:/other", tt.listen}, []balancer.Backend{{Addr: "10.0.0.2:80"}, {Addr: tt.backend}})
		if (err != nil) != tt.loop || err != nil && !strings.Contains(err.Error(), tt.backend) {
			t.Errorf("checkLoop(%q, %q) = %v, want a loop: %v", tt.listen, tt.backend, err, tt.loop)
		}
	}
}

func TestResolveAllNamesTheHost(t *testing.T) {
	t.Parallel()
	backends := []balancer.Backend{{Addr: "127.0.0.1:1"}, {Addr: "unix:/run/a.sock"}, {Addr: "two.invalid:1"}, {Addr: "one.invalid:1"}}
	if err := resolveAll(t.Context(), backends[:2]); err != nil {
		t.Errorf("resolveAll of addresses = %v, want nil", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no test asks a real name server
	err := resolveAll(ctx, backends)
	if err == nil || !strings.Contains(err.Error(), `host "one.invalid"`) || !strings.Contains(err.Error(), `host "two.invalid"`) {
		t.Errorf("resolveAll = %v, want an error that names both hosts", err)
	}
}
