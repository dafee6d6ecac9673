// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"maps"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// optionsOf returns the options of a socket that listens, and its backlog.
func optionsOf(t *testing.T, l *Listener) map[string]int {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := make(map[string]int)
	for name, o := range map[string][2]int{
		"TCP_FASTOPEN": {unix.IPPROTO_TCP, unix.TCP_FASTOPEN}, "TCP_DEFER_ACCEPT": {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
		"IP_TOS": {unix.IPPROTO_IP, unix.IP_TOS}, "SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		"TCP_KEEPIDLE": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, "TCP_KEEPCNT": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
		"TCP_USER_TIMEOUT": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}, "SO_RCVBUF": {unix.SOL_SOCKET, unix.SO_RCVBUF},
		"SO_BUF_LOCK": {unix.SOL_SOCKET, unix.SO_BUF_LOCK},
	} {
		if v, err := unix.GetsockoptInt(int(f.Fd()), o[0], o[1]); err == nil {
			values[name] = v
		}
	}
	if info, err := unix.GetsockoptTCPInfo(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		values["backlog"] = int(info.Sacked)
	}
	return values
}

// TestManagedOptions checks that a socket of the service manager keeps the
// options that the manager has set, apart from those that the configuration has.
func TestManagedOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want map[string]int // that changes
	}{
		{"nothing", Config{}, nil},
		{"DSCP", Config{DSCP: 46}, map[string]int{"IP_TOS": 46 << 2}},
		{"no keep-alive", Config{KeepAlive: KeepAlive{Idle: -1}}, map[string]int{"SO_KEEPALIVE": 0, "TCP_USER_TIMEOUT": 0}},
		{"keep-alive", Config{KeepAlive: KeepAlive{Count: 5, UserTimeout: time.Second}},
			map[string]int{"TCP_KEEPCNT": 5, "TCP_KEEPIDLE": 15, "TCP_USER_TIMEOUT": 1000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := listen(t, Config{
				Addr: "127.0.0.1:0", FastOpen: 16, DeferAccept: 3 * time.Second, DSCP: 10, RecvBuffer: 16 << 10, SendBuffer: 16 << 10,
				KeepAlive: KeepAlive{Idle: 40 * time.Second, Interval: 20 * time.Second, Count: 3, UserTimeout: 7 * time.Second}, Logger: quiet,
			})
			f, err := old.File()
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Listen(int(f.Fd()), 7); err != nil {
				t.Fatal(err)
			}
			want := optionsOf(t, old)
			var in Inherited
			if err := in.AddManaged("web", "", f); err != nil {
				t.Fatal(err)
			}
			tt.cfg.Addr, tt.cfg.Logger = old.Addr().String(), quiet
			l, _, err := in.Listen(t.Context(), tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.Apply(); err != nil {
				t.Error(err)
			}
			maps.Copy(want, tt.want)
			if got := optionsOf(t, l); !maps.Equal(got, want) {
				t.Errorf("options %v, want %v", got, want)
			}
			if tt.name != "nothing" {
				return
			}
			serve(t, l, func(c net.Conn) {
				defer c.Close()
				raw, err := c.(*net.TCPConn).SyscallConn()
				if err != nil {
					t.Error(err)
					return
				}
				raw.Control(func(fd uintptr) {
					if idle, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); idle != 40 {
						t.Errorf("TCP_KEEPIDLE of a connection is %d, want 40", idle)
					}
				})
			})
			c := dial(t, l)
			c.Write([]byte("x")) // it is accepted only then
			c.Read(make([]byte, 1))
		})
	}
}

// TestInheritedOptions checks that a socket that is taken over gets the options
// of the new configuration, and none of the old one, but not before Apply.
func TestInheritedOptions(t *testing.T) {
	full := Config{
		Addr: "127.0.0.1:0", FastOpen: 16, DeferAccept: 3 * time.Second, DSCP: 10, RecvBuffer: 16 << 10, SendBuffer: 16 << 10,
		KeepAlive: KeepAlive{Idle: 40 * time.Second, Interval: 20 * time.Second, Count: 3, UserTimeout: 7 * time.Second}, Logger: quiet,
	}
	plain := Config{Addr: "127.0.0.1:0", KeepAlive: KeepAlive{Idle: -1}, Logger: quiet}
	options := []struct {
		name        string
		level, opt  int
		full, plain int // -1: of no interest
	}{
		{"TCP_DEFER_ACCEPT", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, -2, 0},
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 40, 0},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, 0},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 40, -1},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3, -1},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 7000, 0},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 32 << 10, -1},
		{"SO_BUF_LOCK", unix.SOL_SOCKET, unix.SO_BUF_LOCK, 3, 0},
	}
	for _, tt := range []struct {
		name     string
		old, new Config
		full     bool
	}{{"to full", plain, full, true}, {"to plain", full, plain, false}} {
		old := listen(t, tt.old)
		var in Inherited
		hand(t, &in, old)
		tt.new.Addr = old.Addr().String()
		l, _, err := in.Listen(t.Context(), tt.new)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if before, now := optionsOf(t, old), optionsOf(t, l); !maps.Equal(before, now) {
			t.Errorf("%s: options %v before Apply, want %v", tt.name, now, before)
		}
		if err := l.Apply(); err != nil {
			t.Error(err)
		}
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, o := range options {
			want := o.plain
			if tt.full {
				want = o.full
			}
			got, err := unix.GetsockoptInt(int(f.Fd()), o.level, o.opt)
			switch {
			case err == unix.ENOPROTOOPT || want == -1:
			case err != nil:
				t.Errorf("%s: %s: %v", tt.name, o.name, err)
			case want == -2 && got == 0, want >= 0 && got != want:
				t.Errorf("%s: %s = %d, want %d", tt.name, o.name, got, want)
			}
		}
	}
}

// TestInheritedKeepAlive checks the keep-alive of connections, which package
// net has its own idea of.
func TestInheritedKeepAlive(t *testing.T) {
	for _, tt := range []struct {
		k        KeepAlive
		on, idle int
	}{
		{KeepAlive{}, 1, 15},
		{KeepAlive{Idle: 40 * time.Second}, 1, 40},
		{KeepAlive{Idle: -1}, 0, 0},
	} {
		old := listen(t, Config{Addr: "127.0.0.1:0"})
		var in Inherited
		hand(t, &in, old)
		l, _, err := in.Listen(t.Context(), Config{Addr: old.Addr().String(), KeepAlive: tt.k, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		conns := make(chan net.Conn)
		serve(t, l, func(c net.Conn) { conns <- c })
		dial(t, l)
		c := <-conns
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			on, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			idle, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			if on != tt.on || on == 1 && idle != tt.idle {
				t.Errorf("%+v: SO_KEEPALIVE %d, TCP_KEEPIDLE %d, want %d and %d", tt.k, on, idle, tt.on, tt.idle)
			}
		})
		c.Close()
	}
}
