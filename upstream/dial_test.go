// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/proxyerr"
)

// slowDial connects after a while, or not if ctx ends first.
func slowDial(o *origin, delay time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-time.After(delay):
			return o.dial(ctx, network, addr)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func TestConnectTimeout(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name                string
		config, peer, total time.Duration
		accept              time.Duration // how long the peer takes to accept
		after               time.Duration // when the dial ends
		ok                  bool
	}{
		{"in time", s, 0, 0, s - 1, s - 1, true},
		{"too late", s, 0, 0, s + 1, s, false},
		{"default in time", 0, 0, 0, 5*s - 1, 5*s - 1, true},
		{"default", 0, 0, 0, time.Minute, 5 * s, false},
		{"no limit", -1, 0, 0, time.Hour, time.Hour, true},
		{"peer is shorter", 3 * s, s, 0, 2 * s, s, false},
		{"peer is longer", s, 3 * s, 0, 2 * s, 2 * s, true},
		{"peer has no limit", s, -1, 0, time.Hour, time.Hour, true},
		{"total is shorter", 3 * s, 0, s, 2 * s, s, false},
		{"total is longer", s, 0, 3 * s, 2 * s, s, false},
		{"total alone", -1, -1, s, 2 * s, s, false},
		{"total alone, in time", -1, -1, s, s - 1, s - 1, true},
		{"no total", s, 0, -1, 2 * s, s, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConnector(t, Config{ConnectTimeout: tt.config, Dial: slowDial(&origin{answer: ok}, tt.accept)})
				start := time.Now()
				conn, err := c.Dial(t.Context(), &Peer{Addr: "a:1", ConnectTimeout: tt.peer, TotalConnectTimeout: tt.total}, nil)
				check(t, "Dial took", time.Since(start), tt.after)
				if tt.ok != (err == nil) || err != nil && !errors.Is(err, proxyerr.ConnectTimeout) {
					t.Errorf("Dial = %v, want success: %v, or a connect timeout", err, tt.ok)
				}
				if conn != nil {
					check(t, "DialTime", conn.DialTime(), tt.after)
					conn.Discard()
				}
			})
		})
	}
}

func TestDialCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConnector(t, Config{Dial: slowDial(&origin{}, time.Hour)})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := c.Dial(ctx, &Peer{Addr: "a:1"}, nil)
		checkError(t, err, proxyerr.Upstream, proxyerr.Canceled, proxyerr.RetryNever)
		check(t, "Stats", c.Stats(), Stats{Failed: 1})
	})
}

func checkError(t *testing.T, err error, source proxyerr.Source, kind proxyerr.Kind, retry proxyerr.Retry) {
	t.Helper()
	e, ok := errors.AsType[*proxyerr.Error](err)
	if !ok {
		t.Fatalf("error = %v (%T), want a *proxyerr.Error", err, err)
	}
	if e.Source != source || e.Kind != kind || e.Retry != retry {
		t.Errorf("error is %s, %s, retry %d, want %s, %s, %d: %v", e.Source, e.Kind, e.Retry, source, kind, retry, e)
	}
	check(t, "Op", e.Op, "dial")
}

func TestDialErrors(t *testing.T) {
	system := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	tests := []struct {
		err    error
		source proxyerr.Source
		kind   proxyerr.Kind
	}{
		{system(syscall.ECONNREFUSED), proxyerr.Upstream, proxyerr.ConnectRefused},
		{system(syscall.ENETUNREACH), proxyerr.Upstream, proxyerr.ConnectNoRoute},
		{system(syscall.EHOSTUNREACH), proxyerr.Upstream, proxyerr.ConnectNoRoute},
		{system(syscall.ETIMEDOUT), proxyerr.Upstream, proxyerr.ConnectTimeout},
		{system(syscall.ECONNRESET), proxyerr.Upstream, proxyerr.ConnectFailed},
		{system(syscall.ENOENT), proxyerr.Upstream, proxyerr.ConnectFailed},
		{system(syscall.EADDRNOTAVAIL), proxyerr.Internal, proxyerr.BindFailed},
		{system(syscall.EADDRINUSE), proxyerr.Internal, proxyerr.BindFailed},
		{system(syscall.EMFILE), proxyerr.Internal, proxyerr.SocketFailed},
		{system(syscall.ENFILE), proxyerr.Internal, proxyerr.SocketFailed},
		{system(syscall.ENOBUFS), proxyerr.Internal, proxyerr.SocketFailed},
		{system(syscall.EPERM), proxyerr.Internal, proxyerr.SocketFailed},
		{system(syscall.EACCES), proxyerr.Internal, proxyerr.SocketFailed},
		{fmt.Errorf("%w: %w", errSocketOption, syscall.EINVAL), proxyerr.Internal, proxyerr.SocketFailed},
		{fmt.Errorf("%w: %w", errSocketOption, syscall.EADDRNOTAVAIL), proxyerr.Internal, proxyerr.BindFailed},
		{&net.DNSError{Name: "a", Err: "no such host", IsNotFound: true}, proxyerr.Upstream, proxyerr.ConnectFailed},
		{&net.DNSError{Name: "a", Err: "i/o timeout", IsTimeout: true}, proxyerr.Upstream, proxyerr.ConnectTimeout},
		{&net.DNSError{Name: "a", Err: "server misbehaving", IsTemporary: true}, proxyerr.Upstream, proxyerr.ConnectFailed},
		{context.DeadlineExceeded, proxyerr.Upstream, proxyerr.ConnectTimeout},
		{os.ErrDeadlineExceeded, proxyerr.Upstream, proxyerr.ConnectTimeout},
		{errors.New("something"), proxyerr.Upstream, proxyerr.ConnectFailed},
		{nil, proxyerr.Internal, proxyerr.InternalFailure}, // neither connection nor error
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.err), func(t *testing.T) {
			c := newConnector(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, tt.err }})
			_, err := c.Get(t.Context(), &Peer{Addr: "a:1"}, nil)
			checkError(t, err, tt.source, tt.kind, proxyerr.RetryAlways)
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("error = %v, does not wrap %v", err, tt.err)
			}
			check(t, "Stats", c.Stats(), Stats{Failed: 1})
		})
	}
}

func TestDialRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	_, err = newConnector(t, Config{}).Get(t.Context(), &Peer{Addr: ln.Addr().String()}, nil)
	checkError(t, err, proxyerr.Upstream, proxyerr.ConnectRefused, proxyerr.RetryAlways)
}

// A Peer that cannot be right is told from one that does not answer.
func TestDialInvalidPeer(t *testing.T) {
	tests := []*Peer{
		{},
		{Addr: "127.0.0.1"},
		{Addr: "127.0.0.1:1", DSCP: 64},
		{Addr: "127.0.0.1:1", Proxy: &ConnectProxy{}},
	}
	for _, p := range tests {
		_, err := newConnector(t, Config{}).Get(t.Context(), p, nil)
		checkError(t, err, proxyerr.Internal, proxyerr.InternalFailure, proxyerr.RetryNever)
		if !errors.Is(err, proxyerr.InternalFailure) || err.(*proxyerr.Error).Err.Error() != p.Validate().Error() {
			t.Errorf("Get = %v, want %v", err, p.Validate())
		}
	}
	_, err := newConnector(t, Config{}).Get(t.Context(), &Peer{Addr: "127.0.0.1:1", TLS: true, ALPN: ALPNH2}, nil)
	checkError(t, err, proxyerr.Internal, proxyerr.Unsupported, proxyerr.RetryNever)
}

func TestDialUnix(t *testing.T) {
	o := &origin{answer: ok}
	p := &Peer{
		Addr:    o.listen(t, "unix", filepath.Join(t.TempDir(), "s")),
		BindTo:  netip.MustParseAddrPort("127.0.0.1:0"), // has no effect
		DSCP:    10,
		Control: func(network, _ string, _ syscall.RawConn) error { return wantNetwork(network, "unix") },
	}
	c := newConnector(t, Config{BindIPv4: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	get(t, c, p).Release(time.Now())
	conn := get(t, c, p)
	check(t, "Reused", conn.Reused(), true)
	conn.Discard()

	_, err := c.Get(t.Context(), &Peer{Addr: "unix:" + filepath.Join(t.TempDir(), "none")}, nil)
	checkError(t, err, proxyerr.Upstream, proxyerr.ConnectFailed, proxyerr.RetryAlways)
}

func wantNetwork(got, want string) error {
	if got != want {
		return fmt.Errorf("network is %q, want %q", got, want)
	}
	return nil
}

// A peer's Dial takes precedence over the Connector's, and Addr is its matter.
func TestDialOfPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		var asked []string
		p := &Peer{Addr: "tunnel 7", Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			asked = append(asked, network+" "+addr)
			return o.dial(ctx, network, addr)
		}}
		c := newConnector(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, io.ErrUnexpectedEOF
		}})
		get(t, c, p).Release(time.Now())
		other := *p // a copy is another peer, because functions have no equality
		get(t, c, &other).Discard()
		conn := get(t, c, p)
		check(t, "Reused", conn.Reused(), true)
		conn.Discard()
		check(t, "addresses dialed", fmt.Sprint(asked), "[tcp tunnel 7 tcp tunnel 7]")
	})
}

func TestControlOfPeer(t *testing.T) {
	o := &origin{answer: ok}
	addr := o.listen(t, "tcp", "127.0.0.1:0")
	c := newConnector(t, Config{})
	called := false
	get(t, c, &Peer{Addr: addr, Control: func(network, address string, rc syscall.RawConn) error {
		called = true
		check(t, "address", address, addr)
		return errors.Join(wantNetwork(network, "tcp4"), rc.Control(func(uintptr) {}))
	}}).Discard()
	check(t, "Control was called", called, true)

	failure := errors.New("no")
	_, err := c.Get(t.Context(), &Peer{Addr: addr, Control: func(string, string, syscall.RawConn) error { return failure }}, nil)
	checkError(t, err, proxyerr.Internal, proxyerr.SocketFailed, proxyerr.RetryAlways)
	if !errors.Is(err, failure) {
		t.Errorf("error = %v, does not wrap %v", err, failure)
	}
}

// tookTracer notes what it is told.
type tookTracer struct{ told []string }

func (r *tookTracer) Connected(p *Peer, took time.Duration) {
	r.told = append(r.told, fmt.Sprintf("%s connected in %v", p.Addr, took))
}
func (r *tookTracer) Disconnected(p *Peer) { r.told = append(r.told, p.Addr+" disconnected") }

func TestTracer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConnector(t, Config{Dial: slowDial(&origin{answer: ok}, time.Second)})
		tracer := &tookTracer{}
		p := &Peer{Addr: "a:1", Tracer: tracer}
		get(t, c, p).Release(time.Now())
		get(t, c, p).Release(time.Now())
		c.Close()
		if _, err := c.Get(t.Context(), &Peer{Addr: "b:1", Tracer: tracer, ConnectTimeout: 1}, nil); err == nil {
			t.Error("Get succeeded in no time")
		}
		check(t, "tracer was told", fmt.Sprint(tracer.told), "[a:1 connected in 1s a:1 disconnected]")
	})
}
