// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// envOrigin makes the test binary an origin: it is the address to listen on.
const envOrigin = "BELAY_SOAK_ORIGIN"

func TestMain(m *testing.M) {
	if addr := os.Getenv(envOrigin); addr != "" {
		if err := runOrigin(addr); err != nil {
			fmt.Fprintln(os.Stderr, "origin:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runOrigin answers requests until standard input ends, which it does with the
// parent at the latest.
func runOrigin(addr string) error {
	l, err := listen(addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go greet(c)
		}
	}()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// listen listens on addr. The port of an origin that has been killed may be in
// use for a moment longer.
func listen(addr string) (net.Listener, error) {
	for end := time.Now().Add(patience / 3); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Listen("tcp", addr)
		if err == nil || time.Now().After(end) {
			return l, err
		}
	}
}

const greeting = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func greet(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		if _, err := proxytest.ReadRequest(br); err != nil {
			return
		}
		if _, err := io.WriteString(c, greeting); err != nil {
			return
		}
	}
}

// A process is an origin in a process of its own.
type process struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd
	life io.Closer // its standard input
}

// startProcess starts an origin on a free port.
func startProcess(t *testing.T) *process {
	p := &process{t: t, addr: "127.0.0.1:0"}
	p.start()
	t.Cleanup(p.kill)
	return p
}

// start starts it, again on the same port, and waits until it listens.
func (p *process) start() {
	p.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(exe)
	p.cmd.Env = append(os.Environ(), envOrigin+"="+p.addr)
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.life = stdin
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.kill()
		p.t.Fatalf("origin on %s: %v", p.addr, err)
	}
	p.addr = strings.TrimSpace(line)
}

// kill ends it with SIGKILL, and waits.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.life.Close()
	p.cmd = nil
}

// getters send GET requests, each on a connection of its own, until stop.
type getters struct {
	sent, lost atomic.Int64
	first      atomic.Value // the first loss, as text
	stopping   atomic.Bool
	wg         sync.WaitGroup
}

func startGetters(t *testing.T, addr string, n int) *getters {
	g := new(getters)
	for range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		g.wg.Go(func() { g.run(addr, nc) })
	}
	t.Cleanup(func() { g.stop() })
	return g
}

func (g *getters) run(addr string, nc net.Conn) {
	c := &client{addr: addr, nc: nc, br: bufio.NewReader(nc)}
	defer c.drop(false)
	for !g.stopping.Load() {
		g.sent.Add(1)
		err := c.connect()
		if err == nil {
			_, err = io.WriteString(c.nc, request("GET", "/", ""))
		}
		if err == nil {
			res, body, rerr := c.receive("GET")
			if err = rerr; err == nil && (res.StatusCode != 200 || string(body) != "hello") {
				err = fmt.Errorf("%s %.100q", res.Status, body)
			}
		}
		if err != nil {
			g.lost.Add(1)
			g.first.CompareAndSwap(nil, err.Error())
			if c.nc != nil {
				c.drop(true)
			}
		}
		time.Sleep(time.Millisecond) // steady, not as fast as it goes
	}
}

// stop ends the load and returns how much was lost.
func (g *getters) stop() (sent, lost int64, first any) {
	g.stopping.Store(true)
	g.wg.Wait()
	return g.sent.Load(), g.lost.Load(), g.first.Load()
}

// more waits until n further requests have been made.
func (g *getters) more(t *testing.T, n int64) {
	t.Helper()
	goal := g.sent.Load() + n
	for end := time.Now().Add(patience); g.sent.Load() < goal; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests made, waited for %d", g.sent.Load(), goal)
		}
	}
}

// An origin is killed and started again, several times, while requests are
// under way. With what belay does by default nothing is lost; without retries
// and health checks something is, which shows that the test can fail.
func TestKilledOriginLosesNothing(t *testing.T) {
	const rounds = 3
	for _, tt := range []struct {
		name      string
		protected bool
	}{{"protected", true}, {"bare", false}} {
		t.Run(tt.name, func(t *testing.T) {
			proxytest.CheckLeaks(t)
			var origins []*process
			var backends []balancer.Backend
			for range 3 {
				o := startProcess(t)
				origins = append(origins, o)
				backends = append(backends, balancer.Backend{Addr: o.addr})
			}
			lb := startBalancer(t, tt.protected, backends)
			p := newBalanced(t, lb, tt.protected)
			load := startGetters(t, proxytest.Listen(t, p), 8)
			for round := range rounds {
				victim := origins[round%len(origins)]
				load.more(t, 200)
				victim.kill()
				load.more(t, 400)
				if tt.protected {
					waitReady(t, lb, 2)
				}
				victim.start()
				if tt.protected {
					waitReady(t, lb, 3)
				}
			}
			load.more(t, 200)
			sent, lost, first := load.stop()
			t.Logf("%d of %d requests lost", lost, sent)
			if tt.protected && lost != 0 {
				t.Errorf("%d of %d requests lost, want 0; the first: %v", lost, sent, first)
			}
			if !tt.protected && lost == 0 {
				t.Error("nothing was lost without any protection: the test proves nothing")
			}
		})
	}
}

// startBalancer starts a balancer, with health checks if protected.
func startBalancer(t *testing.T, protected bool, backends []balancer.Backend) *balancer.Balancer {
	cfg := balancer.Config{Logger: slog.New(slog.DiscardHandler)}
	if protected {
		cfg.Checker = &health.TCPChecker{}
		cfg.Health = health.Config{Interval: 200 * time.Millisecond}
	}
	lb, err := balancer.New(cfg, backends...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lb.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return lb
}

// newBalanced returns a proxy over lb, with retries if protected.
func newBalanced(t *testing.T, lb *balancer.Balancer, protected bool) *proxy.Proxy {
	cfg := proxy.Config{Logger: slog.New(slog.DiscardHandler)}
	if !protected {
		cfg.MaxRetries = -1
	}
	type state struct{ tried balancer.Tried }
	p, err := proxy.New(cfg, proxy.Hooks[state]{
		UpstreamPeer: func(_ *proxy.Session, st *state) (*upstream.Peer, error) { return lb.Next(nil, &st.tried) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Connector().Close)
	return p
}

// waitReady waits until n backends are ready.
func waitReady(t *testing.T, lb *balancer.Balancer, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ready := 0
		for _, b := range lb.Backends() {
			if b.Ready() {
				ready++
			}
		}
		if ready == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d backends ready, want %d", ready, n)
		}
	}
}
