// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/internal/app"
	"github.com/belay-proxy/belay/proxytest"
)

// quiet returns a configuration that logs nothing and leaves the signals of
// the test alone.
func quiet(backends ...string) app.ProxyConfig {
	cfg := app.ProxyConfig{
		Listen:  []string{"127.0.0.1:0"},
		Logger:  slog.New(slog.DiscardHandler),
		Signals: make(chan os.Signal),
	}
	for _, addr := range backends {
		cfg.Backends = append(cfg.Backends, balancer.Backend{Addr: addr})
	}
	return cfg
}

// start runs a proxy until t ends and returns its first address.
func start(t *testing.T, cfg app.ProxyConfig) (addr string) {
	t.Helper()
	p, err := app.NewProxy(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	select {
	case <-p.Running():
	case err := <-ended:
		ended <- nil
		t.Fatalf("Run = %v before it was ready", err)
	}
	return p.Addrs()[0].String()
}

// writes is a writer that hands over what is written, call by call. Its
// capacity is for what nobody may ask for.
type writes chan string

func (w writes) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// next waits for what is written next.
func (w writes) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-w:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is written")
		return ""
	}
}

func TestProxyHost(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", "app.example"} {
		want := host
		if want == "" {
			want = "client.example"
		}
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			origin := proxytest.NewOrigin(t, proxytest.Body("ok"))
			cfg := quiet(origin.Addr())
			cfg.Host = host
			client := proxytest.NewClient(t, start(t, cfg), proxytest.Host("client.example"))
			client.Get("/").Check(t, 200, "ok")
			if got := origin.WaitRequests(1)[0].Fields.Get("Host"); got != want {
				t.Errorf("origin received Host %q, want %q", got, want)
			}
		})
	}
}

func TestProxyWeight(t *testing.T) {
	t.Parallel()
	light, heavy := proxytest.NewOrigin(t), proxytest.NewOrigin(t)
	cfg := quiet(light.Addr(), heavy.Addr())
	cfg.Backends[1].Weight = 3
	client := proxytest.NewClient(t, start(t, cfg))
	for range 8 {
		client.Get("/").Check(t, 200, "")
	}
	if l, h := len(light.Requests()), len(heavy.Requests()); l != 2 || h != 6 {
		t.Errorf("backends of weight 1 and 3 got %d and %d of 8 requests, want 2 and 6", l, h)
	}
}

// TestProxyStartsAfterChecks makes sure that the first request does not meet a
// backend that was down before the start.
func TestProxyStartsAfterChecks(t *testing.T) {
	t.Parallel()
	dead := proxytest.NewOrigin(t, proxytest.Refuse())
	alive := proxytest.NewOrigin(t, proxytest.Body("alive"))
	cfg := quiet(dead.Addr(), alive.Addr())
	cfg.MaxRetries = -1
	client := proxytest.NewClient(t, start(t, cfg))
	client.Get("/").Check(t, 200, "alive")
}

func TestProxyUnixSockets(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.OnUnix(), proxytest.Body("by file"))
	dir, err := os.MkdirTemp("", "belay") // that of t.TempDir can be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := "unix:" + dir + "/s"
	cfg := quiet(origin.Addr())
	cfg.Listen = []string{"127.0.0.1:0", socket}
	tcp := start(t, cfg)
	proxytest.NewClient(t, tcp).Get("/").Check(t, 200, "by file")
	proxytest.NewClient(t, socket).Get("/").Check(t, 200, "by file")
}

func TestProxyReadyLine(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t)
	line := make(writes, 1)
	cfg := quiet(origin.Addr(), origin.Addr()+"0")
	cfg.Backends = cfg.Backends[:1]
	cfg.Backends[0].Weight = 2
	cfg.HealthCheck = app.CheckNone
	cfg.Ready = line
	addr := start(t, cfg)
	want := fmt.Sprintf("belay listens on http://%s for %s (weight 2); no health check\n", addr, origin.Addr())
	if got := line.next(t); got != want {
		t.Errorf("line is %q, want %q", got, want)
	}
}

func TestNewProxyErrors(t *testing.T) {
	t.Parallel()
	twice := quiet("127.0.0.1:1", "127.0.0.1:1")
	for name, tt := range map[string]struct {
		cfg  app.ProxyConfig
		want string
	}{
		"no backend":    {quiet(), "there is no backend"},
		"same twice":    {twice, "in the set twice"},
		"not an adress": {quiet("nowhere"), `"nowhere"`},
	} {
		if _, err := app.NewProxy(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: NewProxy = %v, want an error with %q", name, err, tt.want)
		}
	}
}

func ExampleNewProxy() {
	ctx, cancel := context.WithCancel(context.Background())
	p, err := app.NewProxy(ctx, app.ProxyConfig{
		Listen:      []string{"127.0.0.1:0"},
		Backends:    []balancer.Backend{{Addr: "127.0.0.1:1"}},
		HealthCheck: app.CheckNone,
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		<-p.Running()
		cancel()
	}()
	fmt.Println(p.Run(ctx))
	// Output: <nil>
}
