// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/listener"
)

// shortDir returns a directory with a path that is short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "belay")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A generation is a server that is replaced, or replaces one. All of a test
// have the same upgrade socket.
type generation struct {
	*running
	service *Service
	echo    *echo
	log     *safeBuffer
	phases  *phaseLog
}

// A safeBuffer may be written and read from several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// waitFor waits until the log contains text.
func (b *safeBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(b.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log has no %q:\n%s", text, b.String())
		}
	}
}

// A phaseLog keeps the phases of a server.
type phaseLog struct {
	mu  sync.Mutex
	all []Phase
}

func (l *phaseLog) add(p Phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, p)
}

func (l *phaseLog) get() []Phase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// waitFor waits until phase p has begun.
func (l *phaseLog) waitFor(t *testing.T, p Phase) {
	t.Helper()
	eventually(t, "phase "+string(p), func() bool { return slices.Contains(l.get(), p) })
}

// newGeneration starts a server with an echo on addrs. add may add to it.
func newGeneration(t *testing.T, dir string, takesOver bool, add func(*Server), addrs ...string) *generation {
	t.Helper()
	g := &generation{echo: newEcho(), log: new(safeBuffer), phases: new(phaseLog)}
	signals := make(chan os.Signal, 8)
	s := newServer(t, Config{
		Options:        Options{Upgrade: takesOver},
		Settings:       &config.Config{UpgradeSock: filepath.Join(dir, "up"), UpgradeSockConnectAcceptMaxRetries: 30},
		Signals:        signals,
		UpgradeTimeout: 2 * time.Second,
		OnPhase:        g.phases.add,
		Logger:         slog.New(slog.NewTextHandler(g.log, nil)),
	})
	var configs []listener.Config
	for _, a := range addrs {
		configs = append(configs, listener.Config{Addr: a})
	}
	g.service = s.Listen("echo", g.echo, configs...)
	if add != nil {
		add(s)
	}
	g.running = start(t, s, signals)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", g.log.String())
		}
	})
	return g
}

// stop ends g and fails t unless that works.
func (g *generation) stop(t *testing.T) {
	t.Helper()
	g.signals <- syscall.SIGTERM
	g.wait(t, "")
}

// checkServes fails t unless g serves new connections on a.
func (g *generation) checkServes(t *testing.T, a net.Addr) {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Errorf("dial %v: %v", a, err)
		return
	}
	defer c.Close()
	send(t, c, "w")
	select {
	case <-g.echo.waiting:
		g.echo.goOn <- struct{}{}
		receive(t, c, 'w')
	case <-time.After(10 * time.Second):
		t.Errorf("a connection to %v was not served by the process that should", a)
	}
}

func TestUpgrade(t *testing.T) {
	for _, newFirst := range []bool{false, true} {
		dir := shortDir(t)
		unix := "unix:" + filepath.Join(dir, "s")
		gone := "unix:" + filepath.Join(dir, "gone")
		old := newGeneration(t, dir, false, nil, "127.0.0.1:0", unix, gone)
		old.waitReady(t)
		addrs := old.service.Addrs()
		busy := dial(t, old.service)
		send(t, busy, "w")
		<-old.echo.waiting

		var next *generation
		if newFirst {
			next = newGeneration(t, dir, true, nil, unix, "127.0.0.1:0", "127.0.0.1:0")
			next.log.waitFor(t, "waiting for the running process")
			old.signals <- syscall.SIGQUIT
		} else {
			old.signals <- syscall.SIGQUIT
			next = newGeneration(t, dir, true, nil, unix, "127.0.0.1:0", "127.0.0.1:0")
		}
		next.waitReady(t)
		old.log.waitFor(t, "a new process has taken over")
		old.phases.waitFor(t, PhaseDraining) // it does not accept any more
		now := next.service.Addrs()
		if now[0].String() != addrs[1].String() || now[1].String() != addrs[0].String() {
			t.Errorf("addresses are %v, were %v", now, addrs)
		}
		for _, a := range now {
			next.checkServes(t, a)
		}
		old.echo.goOn <- struct{}{} // what was in hand is finished
		receive(t, busy, 'w')
		old.wait(t, "")
		next.checkServes(t, now[0]) // the socket file is still there
		if _, err := os.Lstat(filepath.Join(dir, "gone")); err == nil {
			t.Error("the socket of a listener that is gone is still there")
		}
		if _, err := os.Lstat(filepath.Join(dir, "up")); err == nil {
			t.Error("the upgrade socket is still there")
		}
		if got, want := old.phases.get(), []Phase{PhaseStarting, PhaseRunning, PhaseUpgrading, PhaseDraining, PhaseClosing, PhaseEnded}; !slices.Equal(got, want) {
			t.Errorf("phases %v, want %v", got, want)
		}
		next.stop(t)
		if _, err := os.Lstat(filepath.Join(dir, "s")); err == nil {
			t.Error("the Unix socket is left behind")
		}
	}
}

// TestUpgradeFails checks that the old process serves on when the new one does
// not get ready, and that the next attempt works.
func TestUpgradeFails(t *testing.T) {
	tests := []struct {
		name string
		add  func(*testing.T, *Server) // makes the new process fail
		new  string                    // error of the new process
		old  string                    // in the log of the old one
	}{
		{"service fails", func(_ *testing.T, s *Server) {
			bad := &slow{make(chan struct{}), make(chan error, 1)}
			bad.fail <- errors.New("no luck")
			s.services[0].DependsOn(s.Background("bad", bad))
		}, `service "bad": no luck`, "no luck"},
		{"service that nobody waits for fails", func(_ *testing.T, s *Server) {
			bad := &slow{make(chan struct{}), make(chan error, 1)}
			bad.fail <- errors.New("no luck")
			s.Background("bad", bad)
			after := s.Background("after", idle)
			after.DependsOn(s.services[0])
		}, `service "bad": no luck`, "no luck"},
		{"address taken", func(t *testing.T, s *Server) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { taken.Close() })
			s.Listen("taken", newEcho(), listener.Config{Addr: taken.Addr().String()})
		}, "address already in use", "address already in use"},
		{"hangs", func(t *testing.T, s *Server) {
			slow := newSlow()
			time.AfterFunc(4*time.Second, func() { close(slow.ready) }) // too late
			s.services[0].DependsOn(s.Background("slow", slow))
		}, "it was not ready after 2s", "it was not ready after 2s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := shortDir(t)
			unix := "unix:" + filepath.Join(dir, "s")
			old := newGeneration(t, dir, false, nil, "127.0.0.1:0", unix)
			old.waitReady(t)
			idle := dial(t, old.service)
			send(t, idle, "a")
			receive(t, idle, 'a')

			old.signals <- syscall.SIGQUIT
			bad := newGeneration(t, dir, true, func(s *Server) { tt.add(t, s) }, "127.0.0.1:0", unix)
			bad.wait(t, tt.new)
			old.log.waitFor(t, "upgrade failed; this process serves on")
			old.log.waitFor(t, tt.old)
			for _, a := range old.service.Addrs() {
				old.checkServes(t, a)
			}
			send(t, idle, "a") // it has noticed nothing
			receive(t, idle, 'a')

			old.signals <- syscall.SIGQUIT
			next := newGeneration(t, dir, true, nil, "127.0.0.1:0", unix)
			next.waitReady(t)
			old.wait(t, "")
			for _, a := range next.service.Addrs() {
				next.checkServes(t, a)
			}
			next.stop(t)
		})
	}
}

// TestUpgradeChangesOptions checks that the options of a socket change when the
// new process has taken over, and not if it fails.
func TestUpgradeChangesOptions(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "more")
	with := func(mode fs.FileMode) func(*Server) {
		return func(s *Server) { s.Listen("more", newEcho(), listener.Config{Addr: "unix:" + path, Mode: mode}) }
	}
	checkMode := func(want fs.FileMode) {
		t.Helper()
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, want)
		}
	}
	old := newGeneration(t, dir, false, with(0o660), "127.0.0.1:0")
	old.waitReady(t)
	old.signals <- syscall.SIGQUIT
	bad := newGeneration(t, dir, true, func(s *Server) {
		with(0o600)(s)
		fails := &slow{make(chan struct{}), make(chan error, 1)}
		fails.fail <- errors.New("no luck")
		s.services[0].DependsOn(s.Background("bad", fails))
	}, "127.0.0.1:0")
	bad.wait(t, "no luck")
	old.log.waitFor(t, "upgrade failed")
	checkMode(0o660)
	old.signals <- syscall.SIGQUIT
	next := newGeneration(t, dir, true, with(0o600), "127.0.0.1:0")
	next.waitReady(t)
	checkMode(0o600)
	old.wait(t, "")
	next.stop(t)
}

// TestUpgradeRefused checks what SIGQUIT does when there can be no upgrade.
func TestUpgradeRefused(t *testing.T) {
	dir := shortDir(t)
	old := newGeneration(t, dir, false, nil, "127.0.0.1:0")
	old.waitReady(t)
	old.signals <- syscall.SIGQUIT
	old.signals <- syscall.SIGQUIT
	old.log.waitFor(t, "SIGQUIT refused: an upgrade is under way")
	old.checkServes(t, old.service.Addrs()[0])
	old.stop(t) // also while it waits for a new process
	if text := old.log.String(); !strings.Contains(text, "upgrade given up: this process is ending") {
		t.Errorf("log:\n%s", text)
	}

	// A container ends with its process 1.
	first := newGeneration(t, dir, false, func(s *Server) { s.pid = 1 }, "127.0.0.1:0")
	first.waitReady(t)
	first.signals <- syscall.SIGQUIT
	first.log.waitFor(t, "SIGQUIT refused: this is process 1")
	first.checkServes(t, first.service.Addrs()[0])
	first.stop(t)

	// Nobody comes.
	signals := make(chan os.Signal, 1)
	log := new(safeBuffer)
	s := newServer(t, Config{Signals: signals, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Settings: &config.Config{UpgradeSock: filepath.Join(dir, "up"), UpgradeSockConnectAcceptMaxRetries: -1}})
	v := s.Listen("echo", newEcho(), local)
	r := start(t, s, signals)
	r.waitReady(t)
	signals <- syscall.SIGQUIT
	log.waitFor(t, "no upgrade: no new process appeared in time")
	c := dial(t, v)
	send(t, c, "a")
	receive(t, c, 'a')
	signals <- syscall.SIGTERM
	r.wait(t, "")

	// There is no old process.
	s = newServer(t, Config{Options: Options{Upgrade: true}, Signals: signals,
		Settings: &config.Config{UpgradeSock: filepath.Join(dir, "up"), UpgradeSockConnectAcceptMaxRetries: -1}})
	s.Listen("echo", newEcho(), local)
	start(t, s, signals).wait(t, "it hands over when it gets SIGQUIT")
}

// TestUpgradeWithoutListeners checks that SIGQUIT ends a server that has
// nothing to hand over.
func TestUpgradeWithoutListeners(t *testing.T) {
	signals := make(chan os.Signal, 1)
	s := newServer(t, Config{Signals: signals})
	s.Background("bg", idle)
	r := start(t, s, signals)
	r.waitReady(t)
	signals <- syscall.SIGQUIT
	r.wait(t, "")
}

// A keep is a StateKeeper.
type keep struct {
	restored chan string
	err      error

	mu    sync.Mutex
	state string // guarded by mu
}

func (k *keep) set(state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = state
}

func (k *keep) SaveState() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == "panic" {
		panic("a bug")
	}
	return []byte(k.state), k.err
}

func (k *keep) RestoreState(state []byte) error {
	k.restored <- string(state)
	return k.err
}

// A keepingService is a background service with state.
type keepingService struct {
	RunFunc
	keep
}

func TestStateCrossesOver(t *testing.T) {
	dir := shortDir(t)
	counter := &keep{state: "40"}
	old := newGeneration(t, dir, false, func(s *Server) {
		s.KeepState("counter", counter)
		s.KeepState("broken", &keep{err: errors.New("disk on fire")})
		s.KeepState("panics", &keep{state: "panic"})
		s.Background("bg", &keepingService{RunFunc: idle, keep: keep{state: "all up"}})
	}, "127.0.0.1:0")
	old.waitReady(t)
	old.signals <- syscall.SIGQUIT
	old.phases.waitFor(t, PhaseUpgrading)
	counter.set("41") // before the new process has come
	restored := make(chan string, 10)
	next := newGeneration(t, dir, true, func(s *Server) {
		s.KeepState("counter", &keep{restored: restored, err: errors.New("cannot be used")})
		s.KeepState("broken", &keep{restored: restored})
		s.KeepState("panics", &keep{restored: restored})
		s.KeepState("new here", &keep{restored: restored})
		s.Background("bg", &keepingService{RunFunc: idle, keep: keep{restored: restored}})
	}, "127.0.0.1:0")
	next.waitReady(t)
	old.wait(t, "")
	for _, want := range []string{"41", "all up"} {
		select {
		case got := <-restored:
			if got != want {
				t.Errorf("restored %q, want %q", got, want)
			}
		default:
			t.Errorf("%q was not restored", want)
		}
	}
	if len(restored) > 0 {
		t.Errorf("restored too much: %q", <-restored)
	}
	for _, want := range []string{"disk on fire", "panic: a bug"} {
		if !strings.Contains(old.log.String(), want) {
			t.Errorf("the log of the old process has no %q", want)
		}
	}
	next.stop(t)
}

// A patient is a ConnHandler that notes how it is ended.
type patient struct {
	*echo
	calls chan string
}

func (p *patient) Retire(idle time.Duration) { p.calls <- "retire " + idle.String() }

func (p *patient) Shutdown(ctx context.Context) error {
	p.calls <- "shutdown"
	return p.echo.Shutdown(ctx)
}

// TestRetire checks that connections are only ended at once on a further order
// when a new process has taken over.
func TestRetire(t *testing.T) {
	for _, hurry := range []bool{true, false} {
		dir := shortDir(t)
		p := &patient{newEcho(), make(chan string, 10)}
		var v *Service
		old := newGeneration(t, dir, false, func(s *Server) { v = s.Listen("patient", p, local) }, "127.0.0.1:0")
		old.waitReady(t)
		c := dial(t, v)
		send(t, c, "a")
		receive(t, c, 'a')
		old.signals <- syscall.SIGQUIT
		next := newGeneration(t, dir, true, nil, "127.0.0.1:0")
		if got := <-p.calls; got != "retire 15s" {
			t.Errorf("first call %q, want retire", got)
		}
		send(t, c, "a") // still served
		receive(t, c, 'a')
		if hurry {
			old.signals <- syscall.SIGQUIT // no effect
			old.signals <- syscall.SIGTERM
		} else {
			c.Close()
		}
		if got := <-p.calls; got != "shutdown" {
			t.Errorf("second call %q, want shutdown", got)
		}
		old.wait(t, "")
		next.waitReady(t)
		next.stop(t)
	}
}

// TestRetireShared checks that a handler of several services is only shut down
// when the connections of all of them are gone.
func TestRetireShared(t *testing.T) {
	dir := shortDir(t)
	p := &patient{newEcho(), make(chan string, 10)}
	var v *Service
	old := newGeneration(t, dir, false, func(s *Server) {
		s.Listen("idle", p, local)
		v = s.Listen("busy", p, local)
	}, "127.0.0.1:0")
	old.waitReady(t)
	c := dial(t, v)
	send(t, c, "a")
	receive(t, c, 'a')
	old.signals <- syscall.SIGQUIT
	next := newGeneration(t, dir, true, nil, "127.0.0.1:0")
	for range 2 {
		if got := <-p.calls; got != "retire 15s" {
			t.Errorf("call %q, want retire", got)
		}
	}
	send(t, c, "a") // still served
	receive(t, c, 'a')
	if len(p.calls) > 0 {
		t.Errorf("call %q while a connection is left", <-p.calls)
	}
	c.Close()
	old.wait(t, "")
	next.waitReady(t)
	next.stop(t)
}
