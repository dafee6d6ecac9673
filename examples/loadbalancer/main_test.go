// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/belay-proxy/belay/internal/app/apptest"
	"github.com/belay-proxy/belay/proxytest"
)

func TestMain(m *testing.M) {
	apptest.Main(m, map[string]func(){"loadbalancer": main, "loadbalancer with args": mainWithArgs})
}

// quickStart is the configuration of the quick start, word for word.
const quickStart = `version: 1
threads: 2
pid_file: /tmp/load_balancer.pid
error_log: /tmp/load_balancer_err.log
upgrade_sock: /tmp/load_balancer.sock
`

// confFile writes a configuration file and returns its name.
func confFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "conf.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// start starts the program on a free port with the given backends and returns
// the port's address.
func start(t *testing.T, backends []string, args ...string) (p *apptest.Process, addr string) {
	t.Helper()
	args = append(args, "--http", "127.0.0.1:0")
	for _, b := range backends {
		args = append(args, "--backend", b)
	}
	p = apptest.Start(t, "loadbalancer", args...)
	return p, p.Find(`msg=listening .*addr=(\S+)`)
}

func TestQuickStart(t *testing.T) {
	t.Parallel()
	var origins []*proxytest.Origin
	var backends []string
	for _, name := range []string{"one", "two", "three"} {
		o := proxytest.NewOrigin(t, proxytest.Body(name))
		origins, backends = append(origins, o), append(backends, o.Addr())
	}
	p, addr := start(t, backends, "-c", confFile(t, quickStart))
	client := proxytest.NewClient(t, addr)

	var got []string
	for range 6 {
		res := client.Get("/")
		if res.Err != nil || res.Status != 200 {
			t.Fatalf("response is %d, %v, want 200", res.Status, res.Err)
		}
		got = append(got, res.Text())
	}
	if want := []string{"one", "two", "three", "one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("answers came from %q, want %q", got, want)
	}
	for _, o := range origins {
		for _, req := range o.Requests() {
			if host := req.Fields.Get("Host"); host != "example.com" {
				t.Errorf("origin received Host %q, want example.com", host)
			}
		}
	}
	p.Find(`level=INFO msg="upstream peer chosen" pkg=loadbalancer peer=` + backends[0] + ` sni=example.com`)
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
}

func TestDeadBackendLeavesTheRotation(t *testing.T) {
	t.Parallel()
	alive := proxytest.NewOrigin(t, proxytest.Body("alive"))
	dead := proxytest.NewOrigin(t, proxytest.Body("back"))
	dead.Stop()
	p, addr := start(t, []string{dead.Addr(), alive.Addr()}, "--retries", "0")
	p.Find(`level=WARN msg="backend is unhealthy" pkg=balancer backend=` + dead.Addr())
	client := proxytest.NewClient(t, addr)
	for range 4 {
		client.Get("/").Check(t, 200, "alive")
	}
	dead.Start()
	p.Find(`level=INFO msg="backend is healthy again" pkg=balancer backend=` + dead.Addr())
	seen := client.Get("/").Text() + client.Get("/").Text()
	if !strings.Contains(seen, "back") {
		t.Errorf("two answers are %q, want one of them from the backend that is back", seen)
	}
}

func TestDeadBackendWithoutHealthCheck(t *testing.T) {
	t.Parallel()
	alive := proxytest.NewOrigin(t, proxytest.Body("alive"))
	dead := proxytest.NewOrigin(t, proxytest.Refuse())
	tests := []struct {
		retries string
		want    []int
	}{
		{"0", []int{502, 200, 502, 200}},
		{"1", []int{200, 200, 200, 200}}, // fail-over
	}
	for _, tt := range tests {
		t.Run("retries="+tt.retries, func(t *testing.T) {
			t.Parallel()
			_, addr := start(t, []string{dead.Addr(), alive.Addr()}, "--health-check=false", "--retries", tt.retries)
			client := proxytest.NewClient(t, addr)
			var got []int
			for range tt.want {
				got = append(got, client.Get("/").Status)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("statuses are %v, want %v", got, tt.want)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		args   []string
		code   int
		prints string
	}{
		{"help", []string{"-h"}, 0, "--backend host:port"},
		{"unknown option", []string{"--bakend", "x"}, 2, "unknown option --bakend"},
		{"bad number", []string{"--retries", "-1"}, 2, "want a number, 0 or more"},
		{"configuration", []string{"-t", "-c", confFile(t, quickStart), "--http", "127.0.0.1:0"}, 0, "configuration test passed"},
		{"unknown key", []string{"-t", "-c", confFile(t, "version: 1\nthread: 2\n")}, 1, "conf.yaml:2:1: thread "},
		{"bad backend", []string{"--backend", "nowhere"}, 1, `"nowhere"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, code := apptest.Run(t, "loadbalancer", tt.args...)
			if code != tt.code {
				t.Errorf("exit code is %d, want %d", code, tt.code)
			}
			if !strings.Contains(p.Output(), tt.prints) {
				t.Errorf("it printed %q, want it to contain %q", p.Output(), tt.prints)
			}
		})
	}
}
