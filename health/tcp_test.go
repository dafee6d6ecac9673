// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// listen returns a listener that accepts and drops connections, and counts
// those that came and went without an error.
func listen(t *testing.T, network, addr string) (l net.Listener, clean *atomic.Int32) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	clean = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if n, err := c.Read(make([]byte, 1)); n == 0 && err.Error() == "EOF" {
				clean.Add(1)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l, clean
}

func TestTCPCheckerOnLoopback(t *testing.T) {
	tcp, clean := listen(t, "tcp", "127.0.0.1:0")
	unix, _ := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bad := gone.Addr().String()
	gone.Close()

	var c TCPChecker
	if err := c.Check(t.Context(), tcp.Addr().String()); err != nil {
		t.Errorf("Check of an open port = %v, want nil", err)
	}
	if err := c.Check(t.Context(), "unix:"+unix.Addr().String()); err != nil {
		t.Errorf("Check of a Unix socket = %v, want nil", err)
	}
	if err := c.Check(t.Context(), bad); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrInconclusive) {
		t.Errorf("Check of a closed port = %v, want connection refused", err)
	}
	if err := c.Check(t.Context(), "unix:/nonexistent/socket"); err == nil {
		t.Error("Check of a missing socket = nil, want an error")
	}
	// The accepting side has read to the end, without a reset, before it
	// accepts the next.
	for range 2 {
		if err := c.Check(t.Context(), tcp.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	probe, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	probe.(*net.TCPConn).CloseWrite()
	probe.Read(make([]byte, 1)) // returns when the listener has dealt with all before
	probe.Close()
	if got := clean.Load(); got != 4 {
		t.Errorf("%d connections ended cleanly, want 4", got)
	}
}

// fakeConn counts its closes.
type fakeConn struct {
	net.Conn
	closed atomic.Int32
}

func (c *fakeConn) Close() error { c.closed.Add(1); return nil }

func TestTCPCheckerClosesWhatItGets(t *testing.T) {
	for _, dialErr := range []error{nil, errors.New("handshake failed")} {
		conn := new(fakeConn)
		c := TCPChecker{Dial: func(_ context.Context, network, addr string) (net.Conn, error) {
			if network != "tcp" || addr != "backend:1" {
				t.Errorf("Dial(%q, %q), want tcp, backend:1", network, addr)
			}
			return conn, dialErr
		}}
		if err := c.Check(t.Context(), "backend:1"); !errors.Is(err, dialErr) {
			t.Errorf("Check = %v, want %v", err, dialErr)
		}
		if got := conn.closed.Load(); got != 1 {
			t.Errorf("with error %v: %d closes, want 1", dialErr, got)
		}
	}
}

func TestTCPCheckerShortageIsInconclusive(t *testing.T) {
	op := func(errno syscall.Errno, to string) error {
		return &net.OpError{Op: "dial", Addr: net.TCPAddrFromAddrPort(addrPort(to)), Err: errno}
	}
	tests := []struct {
		name string
		err  error
		want bool // inconclusive
	}{
		{"descriptors of the process", op(syscall.EMFILE, "10.0.0.1:80"), true},
		{"descriptors of the system", op(syscall.ENFILE, "10.0.0.1:80"), true},
		{"ports", op(syscall.EADDRNOTAVAIL, "10.0.0.1:80"), true},
		{"no IPv6 here", op(syscall.EADDRNOTAVAIL, "[2001:db8::1]:80"), false},
		{"refused", op(syscall.ECONNREFUSED, "10.0.0.1:80"), false},
		{"timeout", context.DeadlineExceeded, false},
		{"bare number", syscall.EADDRNOTAVAIL, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := TCPChecker{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, tt.err }}
			err := c.Check(t.Context(), "10.0.0.1:80")
			if got := errors.Is(err, ErrInconclusive); got != tt.want {
				t.Errorf("inconclusive = %v, want %v (%v)", got, tt.want, err)
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("Check = %v, want %v wrapped", err, tt.err)
			}
		})
	}
}

// A Monitor and a TCPChecker over a network that exists only here.
func TestMonitorWithFakeDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &TCPChecker{Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "blackhole") {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			ours, theirs := net.Pipe()
			go func() { theirs.Read(make([]byte, 1)); theirs.Close() }()
			return ours, nil
		}}
		r := &rig{t: t, rec: new(recorder)}
		r.startWith(c, Config{}, "good:1", "blackhole:1")
		defer r.stop()
		r.after(1500 * time.Millisecond)
		r.wantChanges("blackhole:1 down")
		if s, _ := r.Status("blackhole:1"); !errors.Is(s.Err, context.DeadlineExceeded) {
			t.Errorf("Err = %v, want deadline exceeded", s.Err)
		}
	})
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
