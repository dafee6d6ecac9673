// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/listener"
)

// local is a listener on a free port.
var local = listener.Config{Addr: "127.0.0.1:0"}

// testLogger returns a logger that writes to the log of t.
func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// An echo is a ConnHandler that sends back each byte that it receives. Before
// a 'w' it waits.
type echo struct {
	waiting chan struct{} // receives a value when a 'w' has come
	goOn    chan struct{} // then lets it be sent back

	mu      sync.Mutex
	ended   *sync.Cond
	conns   map[net.Conn]bool // true if busy; guarded by mu
	closing bool              // guarded by mu
}

func newEcho() *echo {
	e := &echo{waiting: make(chan struct{}, 100), goOn: make(chan struct{}), conns: make(map[net.Conn]bool)}
	e.ended = sync.NewCond(&e.mu)
	return e
}

func (e *echo) ServeConn(c net.Conn) {
	defer e.forget(c)
	b := make([]byte, 1)
	for e.set(c, false) {
		if _, err := c.Read(b); err != nil {
			return
		}
		e.set(c, true)
		switch b[0] {
		case 'w':
			e.waiting <- struct{}{}
			<-e.goOn
		case 'p':
			panic("a bug")
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// set notes whether c is busy. It returns false if c is to end.
func (e *echo) set(c net.Conn, busy bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns[c] = busy
	return !e.closing
}

func (e *echo) forget(c net.Conn) {
	c.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
	e.ended.Broadcast()
}

func (e *echo) Shutdown(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for c := range e.conns {
			c.Close()
		}
		close(e.goOn)
	})()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closing = true
	for c, busy := range e.conns {
		if !busy {
			c.Close()
		}
	}
	for len(e.conns) > 0 {
		e.ended.Wait()
	}
	return ctx.Err()
}

// A running is a server that runs.
type running struct {
	*Server
	signals chan os.Signal
	result  chan error
}

// start runs s, which obeys the signals sent to the result.
func start(t *testing.T, s *Server, signals chan os.Signal) *running {
	t.Helper()
	r := &running{s, signals, make(chan error, 1)}
	go func() { r.result <- s.Run(t.Context()) }()
	t.Cleanup(func() { checkNothingLeft(t) })
	return r
}

// startWith makes a server with handler on a free port, and runs it.
func startWith(t *testing.T, cfg Config, handler ConnHandler) (*running, *Service) {
	t.Helper()
	signals := make(chan os.Signal, 1)
	cfg.Signals = signals
	s := newServer(t, cfg)
	v := s.Listen("echo", handler, local)
	r := start(t, s, signals)
	r.waitReady(t)
	return r, v
}

// waitReady waits until the server is ready.
func (r *running) waitReady(t *testing.T) {
	t.Helper()
	select {
	case <-r.Ready():
	case err := <-r.result:
		r.result <- err
		t.Fatalf("Run returned before the server was ready: %v", err)
	}
}

// wait fails t unless Run returns an error with text want, or nil if it is "".
func (r *running) wait(t *testing.T, want string) {
	t.Helper()
	err := <-r.result
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("Run = %v, want %q", err, want)
	}
}

// checkNothingLeft fails t if a goroutine of a server or listener still runs.
func checkNothingLeft(t *testing.T) {
	t.Helper()
	var left []string
	for range 100 { // those that are just about to end may do so
		left = left[:0]
		buf := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "server.(*run)") || strings.Contains(g, "server.(*orders)") || strings.Contains(g, "listener.(*Listener)") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("goroutines left:\n%s", strings.Join(left, "\n\n"))
}

// dial connects to the first listener of v.
func dial(t *testing.T, v *Service) net.Conn {
	t.Helper()
	a := v.Addrs()[0]
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// send sends text on c.
func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// receive fails t unless the next byte on c is want.
func receive(t *testing.T, c net.Conn, want byte) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := io.ReadFull(c, b); err != nil || b[0] != want {
		t.Errorf("received %q, %v, want %q", b, err, want)
	}
}

// receiveEnd fails t unless c is closed by the server.
func receiveEnd(t *testing.T, c net.Conn) {
	t.Helper()
	b := make([]byte, 1)
	if n, err := c.Read(b); err == nil || os.IsTimeout(err) {
		t.Errorf("received %q, %v, want the end", b[:n], err)
	}
}
