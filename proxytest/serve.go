// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of the kit that has no limit of its own. It is
// far longer than anything takes on a busy machine.
const patience = 15 * time.Second

// A Handler serves connections. *proxy.Proxy is one.
type Handler interface {
	// ServeConn serves c until it ends, and closes it.
	ServeConn(c net.Conn)

	// Shutdown ends idle connections, lets busy ones finish, and returns
	// when all are gone. When ctx ends first, it closes those left.
	Shutdown(ctx context.Context) error
}

// Serve serves h on a free loopback port and returns its URL,
// "http://127.0.0.1:port". Every connection is handed to h.ServeConn as the
// *net.TCPConn that was accepted, on a goroutine of its own; to h.ServeOrPark if
// h is a listener.Parker.
//
// stop closes the listener, shuts h down and waits until all connections have
// ended. It may be called more than once.
func Serve(h Handler) (url string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("proxytest: no loopback port: " + err.Error())
	}
	s := startServer(l, h)
	return "http://" + l.Addr().String(), func() { _ = s.stop() }
}

// Listen serves h on a free loopback port until t ends, as [Serve] does, and
// returns the address, "127.0.0.1:port". It is an error of the test if h has
// not ended its connections when t ends.
func Listen(t testing.TB, h Handler) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("proxytest: listen: %v", err)
	}
	serveUntilEnd(t, l, h)
	return l.Addr().String()
}

// ListenUnix serves h on a Unix socket until t ends and returns its address,
// "unix:" and the path: the form that upstream.Peer and [NewClient] take.
func ListenUnix(t testing.TB, h Handler) (addr string) {
	t.Helper()
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatalf("proxytest: listen: %v", err)
	}
	serveUntilEnd(t, l, h)
	return "unix:" + path
}

func serveUntilEnd(t testing.TB, l net.Listener, h Handler) {
	s := startServer(l, h)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("proxytest: the handler did not end: %v", err)
		}
	})
}

// socketPath returns the path of a Unix socket that does not exist yet. The
// directory of t.TempDir can be too long for one.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "belay")
	if err != nil {
		t.Fatalf("proxytest: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// server accepts connections for a Handler.
type server struct {
	listener net.Listener
	handler  Handler
	wg       sync.WaitGroup // the accept loop and every connection

	stopOnce sync.Once
	stopErr  error
}

func startServer(l net.Listener, h Handler) *server {
	s := &server{listener: l, handler: h}
	s.wg.Go(s.accept)
	return s
}

// accept runs until the listener is closed.
func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Add(1)
		go s.serve(c) // ends with the connection, or when that is parked
	}
}

// serve has the handler serve c, in the way in which a listener.Listener does.
func (s *server) serve(c net.Conn) {
	if h, ok := s.handler.(interface{ ServeOrPark(net.Conn, func()) }); ok {
		h.ServeOrPark(c, s.wg.Done)
		return
	}
	defer s.wg.Done()
	s.handler.ServeConn(c)
}

// stop ends the server. It waits no longer than patience for the goroutines.
func (s *server) stop() error {
	s.stopOnce.Do(func() {
		_ = s.listener.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience/3)
		defer cancel()
		s.stopErr = s.handler.Shutdown(ctx)
		done := make(chan struct{})
		go func() { s.wg.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			s.stopErr = errors.Join(s.stopErr, errors.New("connections are still being served"))
		}
	})
	return s.stopErr
}
