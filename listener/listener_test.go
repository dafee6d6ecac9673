// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestExplainBind calls what it tests itself, as it may run as root.
func TestExplainBind(t *testing.T) {
	t.Parallel()
	const hint = "CAP_NET_BIND_SERVICE"
	for _, tt := range []struct {
		addr string
		err  error
		want bool
	}{
		{"127.0.0.1:80", syscall.EACCES, true},
		{":1023", fmt.Errorf("bind: %w", syscall.EACCES), true},
		{":1024", syscall.EACCES, false},
		{":80", syscall.EADDRINUSE, false},
	} {
		err := explainBind(tt.addr, tt.err)
		if !errors.Is(err, tt.err) || strings.Contains(err.Error(), hint) != tt.want {
			t.Errorf("explainBind(%q, %v) = %v, want it with %s: %v", tt.addr, tt.err, err, hint, tt.want)
		}
	}
	if err := explainBind(":80", nil); err != nil {
		t.Errorf("explainBind(nil) = %v", err)
	}
}

func ExampleListen() {
	l, err := Listen(context.Background(), Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		l.Serve(func(c net.Conn) {
			defer c.Close()
			io.WriteString(c, "hello")
		})
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	text, _ := io.ReadAll(c)
	fmt.Println(string(text))
	c.Close()
	l.Close()
	serving.Wait()
	// Output: hello
}

// quiet is a logger for tests that provoke errors.
var quiet = slog.New(slog.DiscardHandler)

// listen binds a listener that is closed when t ends.
func listen(t *testing.T, cfg Config) *Listener {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	l, err := Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve accepts on l until t ends.
func serve(t *testing.T, l *Listener, handle func(net.Conn)) {
	done := make(chan struct{})
	go func() {
		l.Serve(handle)
		close(done)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		l.Wait()
	})
}

// echo sends one byte back.
func echo(c net.Conn) {
	defer c.Close()
	io.CopyN(c, c, 1)
}

// dial connects to l, and closes the connection when t ends.
func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	a := l.Addr()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// checkEcho fails t unless c is served by echo.
func checkEcho(t *testing.T, c net.Conn) {
	t.Helper()
	b := []byte{'x'}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "x" {
		t.Errorf("echo = %q, %v, want %q", got, err, "x")
	}
}

func TestListenTCP(t *testing.T) {
	for _, cfg := range []Config{
		{Addr: "127.0.0.1:0"},
		{Addr: "localhost:0"},
		{Addr: ":0"},
		{Addr: "127.0.0.1:0", Tasks: 4, MaxConns: 2, RecvBuffer: 8192, SendBuffer: 8192},
		{Addr: "127.0.0.1:0", KeepAlive: KeepAlive{Idle: -1}},
	} {
		l := listen(t, cfg)
		var isTCP atomic.Bool
		serve(t, l, func(c net.Conn) {
			_, ok := c.(*net.TCPConn)
			isTCP.Store(ok)
			echo(c)
		})
		for range 5 {
			c, err := net.Dial("tcp", net.JoinHostPort("localhost", fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
			if err != nil {
				t.Fatal(err)
			}
			checkEcho(t, c)
			c.Close()
		}
		if !isTCP.Load() {
			t.Errorf("%+v: the connection is not a *net.TCPConn", cfg)
		}
		if l.Name() != cfg.Addr {
			t.Errorf("Name = %q, want %q", l.Name(), cfg.Addr)
		}
	}
}

// needIPv6 skips t if there is no IPv6.
func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	l.Close()
}

func TestIPv6(t *testing.T) {
	needIPv6(t)
	tests := []struct {
		only bool
		ipv4 bool // can be reached
	}{
		{false, true},
		{true, false},
	}
	for _, tt := range tests {
		l := listen(t, Config{Addr: "[::]:0", IPv6Only: tt.only})
		clients := make(chan netip.Addr, 1)
		l.cfg.Filter = func(a netip.AddrPort) bool {
			clients <- a.Addr()
			return true
		}
		serve(t, l, echo)
		port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
		for _, host := range []string{"::1", "127.0.0.1"} {
			c, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if want := host == "::1" || tt.ipv4; (err == nil) != want {
				t.Errorf("IPv6Only %t: dial %s: %v, want success %t", tt.only, host, err, want)
			}
			if err != nil {
				continue
			}
			checkEcho(t, c)
			c.Close()
			if got := <-clients; got.String() != host {
				t.Errorf("the filter saw %v, want %s", got, host)
			}
		}
	}
}

func TestReusePort(t *testing.T) {
	for _, reuse := range []bool{true, false} {
		first := listen(t, Config{Addr: "127.0.0.1:0", ReusePort: reuse})
		second, err := Listen(t.Context(), Config{Addr: first.Addr().String(), ReusePort: reuse})
		if err == nil {
			second.Close()
		}
		if reuse && err != nil || !reuse && !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("ReusePort %t: second bind: %v", reuse, err)
		}
	}
}

func TestBindRetry(t *testing.T) {
	first := listen(t, Config{Addr: "127.0.0.1:0"})
	cfg := Config{Addr: first.Addr().String(), BindRetry: time.Hour, Logger: quiet}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Listen(ctx, cfg); err == nil {
		t.Error("Listen after the context has ended: no error")
	}

	// The address becomes free after the first failure has been logged.
	cfg.Logger = slog.New(onLog{func() { first.Close() }})
	l, err := Listen(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Listen on an address that became free: %v", err)
	}
	l.Close()
}

// onLog is a log handler that calls a function.
type onLog struct{ call func() }

func (h onLog) Enabled(context.Context, slog.Level) bool      { return true }
func (h onLog) Handle(_ context.Context, _ slog.Record) error { h.call(); return nil }
func (h onLog) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h onLog) WithGroup(string) slog.Handler                 { return h }

func TestFilter(t *testing.T) {
	tests := []struct {
		name   string
		filter func(netip.AddrPort) bool
		want   bool // served
	}{
		{"accept all", func(netip.AddrPort) bool { return true }, true},
		{"none", nil, true},
		{"block all", func(netip.AddrPort) bool { return false }, false},
		{"block list", func(a netip.AddrPort) bool { return a.Addr() != netip.MustParseAddr("127.0.0.1") }, false},
		{"other address", func(a netip.AddrPort) bool { return a.Addr() != netip.MustParseAddr("127.0.0.9") }, true},
		{"panic", func(netip.AddrPort) bool { panic("bug") }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var served atomic.Int32
			l := listen(t, Config{Addr: "127.0.0.1:0", Filter: tt.filter, MaxConns: 1})
			serve(t, l, func(c net.Conn) {
				served.Add(1)
				c.Close()
			})
			for range 3 { // rejected connections do not count
				if got, err := io.ReadAll(dial(t, l)); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read %q, %v", got, err)
				}
			}
			l.Close()
			if got := served.Load() > 0; got != tt.want {
				t.Errorf("served = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestMaxConns(t *testing.T) {
	l := listen(t, Config{Addr: "127.0.0.1:0", MaxConns: 2, Tasks: 3})
	started, finish := make(chan struct{}), make(chan struct{})
	var most, now atomic.Int32
	serve(t, l, func(c net.Conn) {
		defer c.Close()
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		started <- struct{}{}
		<-finish
		now.Add(-1)
	})
	const conns = 6
	for range conns {
		dial(t, l)
	}
	for i := range conns {
		<-started
		if i >= 1 { // two are open: let one end, then the next one starts
			finish <- struct{}{}
		}
	}
	finish <- struct{}{}
	if most.Load() != 2 {
		t.Errorf("%d connections at once, want 2", most.Load())
	}
}

func TestClose(t *testing.T) {
	l := listen(t, Config{Addr: "127.0.0.1:0", Tasks: 3})
	open := make(chan struct{})
	end := make(chan struct{})
	served := make(chan struct{})
	done := make(chan struct{})
	go func() {
		l.Serve(func(c net.Conn) {
			defer close(served)
			close(open)
			<-end
			echo(c)
		})
		close(done)
	}()
	c := dial(t, l)
	<-open
	if got := l.Active(); got != 1 {
		t.Errorf("Active = %d, want 1", got)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	<-done // although a connection is open
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("a connection was made after Close")
	}
	close(end)
	checkEcho(t, c)
	l.Wait()
	<-served
	l.Serve(echo) // returns at once
	if got := l.Active(); got != 0 {
		t.Errorf("Active = %d, want 0", got)
	}
}

// socketPath returns a path for a Unix socket, which must be short.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "belay")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func TestListenUnix(t *testing.T) {
	for _, mode := range []fs.FileMode{0, 0o600, 0o666, 0o777} {
		path := socketPath(t)
		l := listen(t, Config{Addr: "unix:" + path, Mode: mode})
		serve(t, l, func(c net.Conn) {
			if _, ok := c.(*net.UnixConn); !ok {
				t.Errorf("the connection is a %T", c)
			}
			echo(c)
		})
		checkEcho(t, dial(t, l))
		want := mode
		if mode == 0 {
			want = 0o660
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, want)
		}
		l.Close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there after Close: %v", err)
		}
	}
}

func TestStaleSocket(t *testing.T) {
	path := socketPath(t)
	cfg := Config{Addr: "unix:" + path}

	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if _, err := Listen(t.Context(), cfg); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen on a socket in use: %v, want EADDRINUSE", err)
	}
	stale.Close()
	l := listen(t, cfg)
	serve(t, l, echo)
	checkEcho(t, dial(t, l))

	// Close leaves a socket of somebody else alone.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := listen(t, cfg)
	serve(t, other, echo)
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	checkEcho(t, dial(t, other))
}

func TestUnixPathTaken(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), Config{Addr: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("Listen on a file: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("the file now holds %q", got)
	}
}

func TestValidate(t *testing.T) {
	valid := []Config{
		{Addr: ":80"}, {Addr: "[::]:http", IPv6Only: true}, {Addr: "host:0", DSCP: 63, Tasks: 1024},
		{Addr: "unix:/a", Mode: 0o777, RecvBuffer: 1}, {Addr: "unix:@a"},
		{Addr: ":80", KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second, Count: 127, UserTimeout: 1}},
		{Addr: ":80", DeferAccept: time.Second, BindRetry: -1, MaxConns: -1},
		{Addr: "unix:" + strings.Repeat("a", 103)},
	}
	for _, c := range valid {
		if err := c.Validate(); err != nil {
			t.Errorf("Validate(%+v) = %v", c, err)
		}
	}
	invalid := []struct {
		c    Config
		want string
	}{
		{Config{}, `Addr is ""`},
		{Config{Addr: "host"}, `Addr is "host"`},
		{Config{Addr: ":65536"}, `Addr is ":65536"`},
		{Config{Addr: "unix:"}, `Addr is "unix:"`},
		{Config{Addr: "unix:" + strings.Repeat("a", 104)}, "want a path of 1 to 103 bytes"},
		{Config{Addr: "unix:/a", ReusePort: true}, "TCP only"},
		{Config{Addr: "0.0.0.0:1", IPv6Only: true}, "IPv6Only"},
		{Config{Addr: ":1", Mode: 0o600}, "not a Unix socket"},
		{Config{Addr: "unix:/a", Mode: 0o1777}, "want at most 0777"},
		{Config{Addr: ":1", FastOpen: -1}, "FastOpen is -1"},
		{Config{Addr: ":1", DeferAccept: time.Second - 1}, "DeferAccept"},
		{Config{Addr: ":1", DSCP: 64}, "DSCP is 64"},
		{Config{Addr: ":1", SendBuffer: -1}, "SendBuffer"},
		{Config{Addr: ":1", Tasks: 1025}, "Tasks is 1025"},
		{Config{Addr: ":1", KeepAlive: KeepAlive{Idle: time.Second - 1}}, "KeepAlive.Idle"},
		{Config{Addr: ":1", KeepAlive: KeepAlive{Interval: -1}}, "KeepAlive.Interval"},
		{Config{Addr: ":1", KeepAlive: KeepAlive{Count: 128}}, "KeepAlive.Count"},
		{Config{Addr: ":1", KeepAlive: KeepAlive{UserTimeout: -1}}, "KeepAlive.UserTimeout"},
	}
	for _, tt := range invalid {
		if err := tt.c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Validate(%+v) = %v, want %q", tt.c, err, tt.want)
		}
		if _, err := Listen(t.Context(), tt.c); err == nil {
			t.Errorf("Listen(%+v): no error", tt.c)
		}
	}
	all := Config{Addr: "x", DSCP: -1, Tasks: -1}.Validate()
	if n := strings.Count(all.Error(), "\n") + 1; n != 3 {
		t.Errorf("%d problems in %v, want 3", n, all)
	}
}
