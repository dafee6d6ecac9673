// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package sdnotify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager makes a fake service manager that $NOTIFY_SOCKET leads to.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

// receive returns the assignments in the next message.
func receive(t *testing.T, c *net.UnixConn) []string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b[:n]), "\n")
}

func TestMessages(t *testing.T) {
	c := manager(t)
	pid := "MAINPID=" + strconv.Itoa(os.Getpid())
	tests := []struct {
		name string
		send func(*Notifier) error
		want []string
	}{
		{"ready", func(n *Notifier) error { return n.Ready("fine") }, []string{"READY=1", pid, "STATUS=fine"}},
		{"stopping", func(n *Notifier) error { return n.Stopping("") }, []string{"STOPPING=1", "STATUS="}},
		{"status", func(n *Notifier) error { return n.Status("a\nREADY=1\tb") }, []string{"STATUS=a READY=1 b"}},
		{"alive", (*Notifier).Alive, []string{"WATCHDOG=1"}},
	}
	for _, tt := range tests {
		if err := tt.send(New()); err != nil {
			t.Fatal(tt.name, err)
		}
		if got := receive(t, c); !slices.Equal(got, tt.want) {
			t.Errorf("%s: sent %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestReloading(t *testing.T) {
	c := manager(t)
	if err := New().Reloading("again"); err != nil {
		t.Fatal(err)
	}
	got := receive(t, c)
	if len(got) != 3 || got[0] != "RELOADING=1" || got[2] != "STATUS=again" {
		t.Fatalf("sent %q, want RELOADING, MONOTONIC_USEC and STATUS", got)
	}
	usec, err := strconv.ParseInt(strings.TrimPrefix(got[1], "MONOTONIC_USEC="), 10, 64)
	if err != nil || usec <= 0 {
		t.Errorf("sent %q, want a time", got[1])
	}
}

func TestNobodyThere(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := New()
	if n != nil || n.Ready("") != nil || n.Reloading("") != nil || n.Alive() != nil {
		t.Error("without $NOTIFY_SOCKET something was done")
	}
	for _, addr := range []string{"vsock:1:2", filepath.Join(t.TempDir(), "none")} {
		t.Setenv("NOTIFY_SOCKET", addr)
		if err := New().Ready(""); err == nil {
			t.Errorf("with $NOTIFY_SOCKET=%s there was no error", addr)
		}
	}
}

func TestWatchdogInterval(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	tests := []struct {
		pid, usec string
		want      time.Duration
		ok        bool
	}{
		{"", "", 0, false},
		{own, "3000000", 3 * time.Second, true},
		{"", "1", time.Microsecond, true},
		{"1", "3000000", 0, false},
		{own, "0", 0, false},
		{own, "-1", 0, false},
		{own, "9223372036854775807", 0, false},
		{own, "soon", 0, false},
	}
	for _, tt := range tests {
		t.Setenv("WATCHDOG_PID", tt.pid)
		t.Setenv("WATCHDOG_USEC", tt.usec)
		if got, ok := WatchdogInterval(); got != tt.want || ok != tt.ok {
			t.Errorf("PID %q, USEC %q: %v, %t, want %v, %t", tt.pid, tt.usec, got, ok, tt.want, tt.ok)
		}
	}
}

// TestSockets passes descriptors as a service manager does, but with numbers
// that are free here.
func TestSockets(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const first = 200
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		raw.Control(func(fd uintptr) { err = unix.Dup2(int(fd), first+i) })
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := sockets("2", "web:", first)
	if err != nil || len(got) != 2 || got[0].Name != "web" || got[1].Name != "" {
		t.Fatalf("sockets = %v, %v, want two, the first named web", got, err)
	}
	for _, s := range got {
		flags, err := unix.FcntlInt(s.File.Fd(), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#x, %v, want FD_CLOEXEC", flags, err)
		}
		passed, err := net.FileListener(s.File)
		if err != nil {
			t.Fatal(err)
		}
		if passed.Addr().String() != ln.Addr().String() {
			t.Errorf("address %v, want %v", passed.Addr(), ln.Addr())
		}
		passed.Close()
		s.File.Close()
	}
}

func TestBadSockets(t *testing.T) {
	tests := []struct{ count, names, want string }{
		{"many", "", "LISTEN_FDS"},
		{"-1", "", "LISTEN_FDS"},
		{"99999999", "", "LISTEN_FDS"},
		{"2", "one", "LISTEN_FDNAMES has 1"},
		{"0", "one", "LISTEN_FDNAMES has 1"},
		{"1", "", "descriptor 4000"},
	}
	for _, tt := range tests {
		if got, err := sockets(tt.count, tt.names, 4000); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("sockets(%q, %q) = %v, %v, want %q", tt.count, tt.names, got, err, tt.want)
		}
	}
}

// TestSocketsOfOther checks that what is meant for another process is left
// alone, and does not reach programs that this one starts.
func TestSocketsOfOther(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_FDNAMES", "web")
	if got, err := Sockets(); len(got) != 0 || err != nil {
		t.Errorf("Sockets = %v, %v, want none", got, err)
	}
	if v, ok := os.LookupEnv("LISTEN_FDS"); ok {
		t.Errorf("LISTEN_FDS=%s is still in the environment", v)
	}
}

func ExampleNew() {
	n := New()                          // nil without a service manager
	if err := n.Ready(""); err != nil { // which then does nothing
		fmt.Println(err)
	}
	// Output:
}
