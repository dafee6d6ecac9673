// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPath returns a path for an upgrade socket. It is short: t.TempDir can
// be longer than a socket may have it.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "up")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// testConfig returns a Config for tests at path.
func testConfig(path string) Config {
	return Config{Path: path, Logger: slog.New(slog.DiscardHandler), Program: "test"}
}

// listen returns n sockets that listen, in the way that a listener hands them
// over, and their addresses. The listeners they were made with are closed.
func listen(t testing.TB, n int) []Socket {
	t.Helper()
	var list []Socket
	for i := range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := ln.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var fd int
		raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
		if err != nil {
			t.Fatal(err)
		}
		s := Socket{Name: fmt.Sprintf("listener %d", i), Addr: ln.Addr().String(), File: os.NewFile(uintptr(fd), "socket"), Shared: i%3 == 0}
		ln.Close()
		t.Cleanup(func() { s.File.Close() })
		list = append(list, s)
	}
	return list
}

// checkAccepts fails t unless a client can connect through s.
func checkAccepts(t testing.TB, s Socket) {
	t.Helper()
	ln, err := net.FileListener(s.File)
	if err != nil {
		t.Errorf("socket %q: %v", s.Name, err)
		return
	}
	defer ln.Close()
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Errorf("socket %q: %v", s.Name, err)
		return
	}
	defer c.Close()
	a, err := ln.Accept()
	if err != nil {
		t.Errorf("socket %q: %v", s.Name, err)
		return
	}
	defer a.Close()
	io.WriteString(a, "x")
	b := make([]byte, 1)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Errorf("socket %q: %v", s.Name, err)
	}
}

// beside runs f beside the test, which does not end before it.
func beside(t testing.TB, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	t.Cleanup(func() { <-done })
}

// A given is what HandOver returned.
type given struct {
	successor *Successor
	err       error
}

// load returns a function that returns cargo.
func load(cargo Cargo) func() (Cargo, error) { return func() (Cargo, error) { return cargo, nil } }

// handOver runs HandOver beside the test.
func handOver(t testing.TB, ctx context.Context, cfg Config, cargo Cargo) <-chan given {
	result := make(chan given, 1)
	beside(t, func() {
		s, err := HandOver(ctx, cfg, load(cargo))
		result <- given{s, err}
	})
	return result
}

// takeOver runs TakeOver and closes what it brings when t ends.
func takeOver(t testing.TB, cfg Config) *Predecessor {
	t.Helper()
	p, err := TakeOver(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Cargo.Close)
	return p
}

// within returns what comes on c, soon.
func within[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("it takes too long")
		panic("unreachable")
	}
}

// checkGone fails t if there is still a file at path.
func checkGone(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want no file", path, err)
	}
}
