// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/listener"
)

func TestGracefulShutdown(t *testing.T) {
	e := newEcho()
	r, v := startWith(t, Config{}, e)
	busy, quiet := dial(t, v), dial(t, v)
	send(t, quiet, "a")
	receive(t, quiet, 'a')
	send(t, busy, "w")
	<-e.waiting

	r.signals <- syscall.SIGHUP // no effect
	r.signals <- syscall.SIGTERM
	receiveEnd(t, quiet)         // idle: closed at once
	r.signals <- syscall.SIGQUIT // no effect any more
	if _, err := net.Dial("tcp", v.Addrs()[0].String()); err == nil {
		t.Error("a connection was accepted after the signal")
	}
	e.goOn <- struct{}{}
	receive(t, busy, 'w')
	receiveEnd(t, busy)
	r.wait(t, "")
	checkNothingLeft(t)
}

func TestContextEndsServer(t *testing.T) {
	s := newServer(t, Config{Signals: make(chan os.Signal)})
	v := s.Listen("echo", newEcho(), local)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.Run(ctx) }()
	<-s.Ready()
	c := dial(t, v)
	send(t, c, "a")
	receive(t, c, 'a')
	cancel()
	if err := <-result; err != nil {
		t.Errorf("Run = %v", err)
	}
	checkNothingLeft(t)
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run could be called twice")
	}
}

// TestFastShutdown checks that connections with exchanges in hand are closed
// on SIGINT, and on a second signal.
func TestFastShutdown(t *testing.T) {
	for _, sigs := range [][]os.Signal{
		{syscall.SIGINT},
		{syscall.SIGTERM, syscall.SIGTERM},
		{syscall.SIGTERM, syscall.SIGINT},
	} {
		e := newEcho()
		r, v := startWith(t, Config{}, e)
		c := dial(t, v)
		send(t, c, "w")
		<-e.waiting
		for _, sig := range sigs {
			r.signals <- sig
		}
		receiveEnd(t, c)
		r.wait(t, "")
		checkNothingLeft(t)
	}
}

func TestPhases(t *testing.T) {
	tests := []struct {
		sigs []os.Signal
		want []Phase
	}{
		{[]os.Signal{syscall.SIGTERM}, []Phase{PhaseStarting, PhaseRunning, PhaseDraining, PhaseClosing, PhaseEnded}},
		{[]os.Signal{syscall.SIGINT}, []Phase{PhaseStarting, PhaseRunning, PhaseClosing, PhaseEnded}},
	}
	for _, tt := range tests {
		var got []Phase
		r, _ := startWith(t, Config{OnPhase: func(p Phase) { got = append(got, p) }}, newEcho())
		for _, sig := range tt.sigs {
			r.signals <- sig
		}
		r.wait(t, "")
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v: phases %v, want %v", tt.sigs, got, tt.want)
		}
	}
}

func TestHandlerPanic(t *testing.T) {
	r, v := startWith(t, Config{}, newEcho())
	bad, good := dial(t, v), dial(t, v)
	send(t, bad, "p")
	receiveEnd(t, bad)
	send(t, good, "a")
	receive(t, good, 'a')
	r.signals <- syscall.SIGTERM
	r.wait(t, "")
}

func TestSeveralListeners(t *testing.T) {
	dir, err := os.MkdirTemp("", "belay")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	signals := make(chan os.Signal)
	s := newServer(t, Config{Signals: signals, Settings: &config.Config{ListenerTasksPerFD: 3}})
	v := s.Listen("echo", newEcho(), local, listener.Config{Addr: "unix:" + path}, local)
	r := start(t, s, signals)
	r.waitReady(t)
	if n := len(v.Addrs()); n != 3 {
		t.Fatalf("%d addresses, want 3", n)
	}
	for _, a := range v.Addrs() {
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		send(t, c, "a")
		receive(t, c, 'a')
	}
	signals <- syscall.SIGTERM
	r.wait(t, "")
	if _, err := os.Lstat(path); err == nil {
		t.Error("the Unix socket is still there")
	}
}

// TestBindFails checks that nothing starts if a listener cannot be bound, and
// that all that cannot be bound are reported.
func TestBindFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := newServer(t, Config{})
	s.Background("bg", RunFunc(func(context.Context) error {
		t.Error("a service was started")
		return nil
	}))
	s.Listen("one", newEcho(), local, listener.Config{Addr: taken.Addr().String()})
	s.Listen("two", newEcho(), listener.Config{Addr: "nonsense"})
	err = s.Run(t.Context())
	for _, want := range []string{`service "one": listen on ` + taken.Addr().String(), `service "two": listener: Addr is "nonsense"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run = %v, want %s", err, want)
		}
	}
	checkNothingLeft(t)
}

// TestStopWhileBinding checks that the wait for an address can be ended.
func TestStopWhileBinding(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	s := newServer(t, Config{Signals: signals})
	s.Listen("one", newEcho(), listener.Config{Addr: taken.Addr().String(), BindRetry: time.Hour})
	start(t, s, signals).wait(t, "")
}

// A slow is a background service that is ready when it is told to be.
type slow struct {
	ready chan struct{}
	fail  chan error
}

func newSlow() *slow { return &slow{make(chan struct{}), make(chan error)} }

func (s *slow) Ready() <-chan struct{} { return s.ready }

func (s *slow) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-s.fail:
		if err != nil && err.Error() == "panic" {
			panic(err)
		}
		return err
	}
}

func TestDependentWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		s := newServer(t, Config{Signals: signals})
		var mu sync.Mutex
		var started []string
		record := func(name string) RunFunc {
			return func(ctx context.Context) error {
				mu.Lock()
				started = append(started, name)
				mu.Unlock()
				return idle(ctx)
			}
		}
		check := func(want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(started)
			if !slices.Equal(started, want) {
				t.Errorf("started %v, want %v", started, want)
			}
		}
		// d depends on b and c, which depend on a.
		a := newSlow()
		d := s.Background("d", record("d"))
		b, c := newSlow(), s.Background("c", record("c"))
		bs, as := s.Background("b", b), s.Background("a", a)
		d.DependsOn(bs, c)
		bs.DependsOn(as)
		c.DependsOn(as)
		s.Background("e", record("e"))

		result := make(chan error)
		go func() { result <- s.Run(t.Context()) }()
		check("e")
		close(a.ready)
		check("c", "e")
		select {
		case <-s.Ready():
			t.Error("the server is ready before its services are")
		default:
		}
		b.fail <- nil // ends without having been ready: that counts as ready
		check("c", "d", "e")
		<-s.Ready()
		signals <- syscall.SIGTERM
		if err := <-result; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestListenerWaits checks that a service with listeners accepts only when
// what it depends on is ready.
func TestListenerWaits(t *testing.T) {
	signals := make(chan os.Signal)
	s := newServer(t, Config{Signals: signals})
	b := newSlow()
	e := newEcho()
	v := s.Listen("echo", e, local)
	v.DependsOn(s.Background("slow", b))
	bound := make(chan struct{})
	s.Background("other", RunFunc(func(ctx context.Context) error { close(bound); return idle(ctx) }))
	r := start(t, s, signals)
	<-bound
	c := dial(t, v) // waits in the backlog
	send(t, c, "a")
	e.mu.Lock()
	if len(e.conns) != 0 {
		t.Error("a connection was accepted before the service could start")
	}
	e.mu.Unlock()
	close(b.ready)
	receive(t, c, 'a')
	signals <- syscall.SIGTERM
	r.wait(t, "")
}

func TestBackgroundFails(t *testing.T) {
	tests := []struct {
		name  string
		ready bool // before it fails
		err   error
		want  string // error of Run
	}{
		{"at start", false, errors.New("no such thing"), `service "slow": no such thing`},
		{"panic at start", false, errors.New("panic"), `service "slow": panic: panic`},
		{"later", true, errors.New("no such thing"), ""},
		{"panic later", true, errors.New("panic"), ""},
		{"ends early", false, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newSlow()
			signals := make(chan os.Signal)
			s := newServer(t, Config{Signals: signals})
			v := s.Listen("echo", newEcho(), local)
			v.DependsOn(s.Background("slow", b))
			r := start(t, s, signals)
			if tt.ready {
				close(b.ready)
			}
			b.fail <- tt.err
			if tt.want == "" { // the server goes on
				r.waitReady(t)
				c := dial(t, v)
				send(t, c, "a")
				receive(t, c, 'a')
				signals <- syscall.SIGTERM
			}
			r.wait(t, tt.want)
		})
	}
}

// A stuck is a ConnHandler with connections that never end by themselves.
type stuck struct{ deaf bool }

func (stuck) ServeConn(net.Conn) {}

func (h stuck) Shutdown(ctx context.Context) error {
	<-ctx.Done()
	if h.deaf {
		time.Sleep(time.Hour)
	}
	return ctx.Err()
}

// A lagging is a ConnHandler that is told twice to end, and takes a moment.
type lagging struct{ signals chan os.Signal }

func (lagging) ServeConn(net.Conn) {}

func (h lagging) Shutdown(context.Context) error {
	h.signals <- syscall.SIGINT
	time.Sleep(time.Millisecond)
	return nil
}

// TestInterruptTwice checks that it is no failure if what is about to end has
// not ended when the second signal comes, right after the first.
func TestInterruptTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		s := newServer(t, Config{Signals: signals})
		s.add(&Service{name: "lagging", handler: lagging{signals}}, nil) // without socket, for the fake clock
		s.Background("bg", RunFunc(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Millisecond)
			return nil
		}))
		result := make(chan error)
		go func() { result <- s.Run(t.Context()) }()
		<-s.Ready()
		signals <- syscall.SIGINT
		if err := <-result; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// TestBounds checks how long a shutdown takes at most.
func TestBounds(t *testing.T) {
	sec := time.Second
	deaf := RunFunc(func(context.Context) error { time.Sleep(time.Hour); return nil })
	signals := func(s ...os.Signal) []os.Signal { return s }
	tests := []struct {
		name       string
		settings   config.Config
		handler    ConnHandler
		background BackgroundService
		signals    []os.Signal // one second apart
		want       time.Duration
		err        string
	}{
		{"default grace", config.Config{}, stuck{}, idle, signals(syscall.SIGTERM), 300 * sec, ""},
		{"grace", config.Config{GracePeriod: 7 * sec}, stuck{}, idle, signals(syscall.SIGTERM), 7 * sec, ""},
		{"no grace", config.Config{GracePeriod: -1}, stuck{}, idle, signals(syscall.SIGTERM), 0, ""},
		{"nothing to wait for", config.Config{}, newEcho(), idle, signals(syscall.SIGTERM), 0, ""},
		{"second signal", config.Config{}, stuck{}, idle, signals(syscall.SIGTERM, syscall.SIGTERM), sec, ""},
		{"interrupt", config.Config{}, stuck{}, idle, signals(syscall.SIGINT), 0, ""},
		{"deaf service", config.Config{}, newEcho(), deaf, signals(syscall.SIGTERM), 5 * sec, `still run after shutdown: ["bg"]`},
		{"deaf service, bound set", config.Config{GracefulShutdownTimeout: sec}, newEcho(), deaf, signals(syscall.SIGTERM), sec, "bg"},
		{"deaf service, no bound", config.Config{GracefulShutdownTimeout: -1}, newEcho(), deaf, signals(syscall.SIGTERM), time.Hour, ""},
		{"deaf handler", config.Config{}, stuck{deaf: true}, idle, signals(syscall.SIGINT), 5 * sec, "still being served"},
		{"both, fast", config.Config{}, stuck{}, deaf, signals(syscall.SIGINT, syscall.SIGINT), sec + lastMoment, "bg"},
		{"third signal", config.Config{GracefulShutdownTimeout: -1}, stuck{deaf: true}, deaf,
			signals(syscall.SIGTERM, syscall.SIGTERM, syscall.SIGTERM), 2*sec + 2*lastMoment, "bg"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ch := make(chan os.Signal)
				s := newServer(t, Config{Signals: ch, Settings: &tt.settings})
				s.add(&Service{name: "stuck", handler: tt.handler}, nil) // without socket, for the fake clock
				s.Background("bg", tt.background)
				result := make(chan error)
				go func() { result <- s.Run(t.Context()) }()
				<-s.Ready()
				began := time.Now()
				go func() {
					for i, sig := range tt.signals {
						time.Sleep(min(time.Duration(i), 1) * sec)
						ch <- sig
					}
				}()
				err := <-result
				if took := time.Since(began); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
					t.Errorf("Run = %v, want %q", err, tt.err)
				}
				time.Sleep(2 * time.Hour) // until what is deaf has ended
			})
		})
	}
}

// TestBackgroundOutlivesConnections checks that background services go on
// while connections are drained.
func TestBackgroundOutlivesConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		s := newServer(t, Config{Signals: signals, Settings: &config.Config{GracePeriod: 20 * time.Second}})
		s.add(&Service{name: "stuck", handler: stuck{}}, nil)
		var ended time.Duration
		began := time.Now()
		s.Background("bg", RunFunc(func(ctx context.Context) error {
			<-ctx.Done()
			ended = time.Since(began)
			return fmt.Errorf("told to stop: %w", ctx.Err())
		}))
		result := make(chan error)
		go func() { result <- s.Run(t.Context()) }()
		<-s.Ready()
		signals <- syscall.SIGTERM
		if err := <-result; err != nil {
			t.Errorf("Run = %v", err)
		}
		if want := 20 * time.Second; ended != want {
			t.Errorf("the service was ended after %v, want %v", ended, want)
		}
	})
}
