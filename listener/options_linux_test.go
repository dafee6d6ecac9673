// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOptions checks that accepted connections have the options of the
// listener.
func TestOptions(t *testing.T) {
	cfg := Config{
		Addr: "127.0.0.1:0", FastOpen: 16, DSCP: 46, RecvBuffer: 32 << 10, SendBuffer: 16 << 10, DeferAccept: 1500 * time.Millisecond,
		KeepAlive: KeepAlive{Idle: 61 * time.Second, Interval: 7 * time.Second, Count: 3, UserTimeout: 4 * time.Second},
	}
	options := []struct {
		name             string
		level, opt, want int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 61},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 7},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 4000},
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 46 << 2},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 64 << 10}, // the kernel doubles it
		{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, 32 << 10},
		{"SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP}, // not MPTCP
	}
	l := listen(t, cfg)
	got := make(chan map[string]int)
	serve(t, l, func(c net.Conn) {
		defer c.Close()
		values := make(map[string]int)
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err == nil {
			raw.Control(func(fd uintptr) {
				for _, o := range options {
					values[o.name], _ = unix.GetsockoptInt(int(fd), o.level, o.opt)
				}
			})
		}
		got <- values
	})
	dial(t, l).Write([]byte("x"))
	values := <-got
	for _, o := range options {
		if values[o.name] != o.want {
			t.Errorf("%s = %d, want %d", o.name, values[o.name], o.want)
		}
	}
}

func TestKeepAliveOff(t *testing.T) {
	l := listen(t, Config{Addr: "127.0.0.1:0", KeepAlive: KeepAlive{Idle: -1}})
	got := make(chan int)
	serve(t, l, func(c net.Conn) {
		defer c.Close()
		raw, _ := c.(*net.TCPConn).SyscallConn()
		raw.Control(func(fd uintptr) {
			v, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			got <- v
		})
	})
	dial(t, l)
	if v := <-got; v != 0 {
		t.Errorf("SO_KEEPALIVE = %d, want 0", v)
	}
}

func TestAbstractSocket(t *testing.T) {
	l := listen(t, Config{Addr: fmt.Sprintf("unix:@belay-test-%d", os.Getpid())})
	serve(t, l, echo)
	checkEcho(t, dial(t, l))
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// emfileChild makes a child process of TestEMFILE.
const emfileChild = "BELAY_TEST_EMFILE_CHILD"

// counting is a net.Listener that counts failures to accept.
type counting struct {
	net.Listener
	failed  atomic.Int32
	enough  int32         // failures
	reached chan struct{} // closed after enough of them
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil && l.failed.Add(1) == l.enough {
		close(l.reached)
	}
	return c, err
}

// TestEMFILE lets a process run out of descriptors: it must not spin, and
// serve the waiting client as soon as there are descriptors again.
func TestEMFILE(t *testing.T) {
	if os.Getenv(emfileChild) != "" {
		runOutOfFiles(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEMFILE$", "-test.v")
	cmd.Env = append(os.Environ(), emfileChild+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				break
			}
			checkEcho(t, c)
			c.Close()
			continue
		}
		t.Log("child:", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

// runOutOfFiles is the child process of TestEMFILE.
func runOutOfFiles(t *testing.T) {
	l := listen(t, Config{Addr: "127.0.0.1:0"})
	count := &counting{Listener: l.ln, enough: 10, reached: make(chan struct{})}
	l.ln = count
	limit := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var files []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		files = append(files, fd)
	}
	served := make(chan struct{})
	serve(t, l, func(c net.Conn) {
		echo(c)
		close(served)
	})
	start := time.Now()
	fmt.Println("listening on", l.Addr())
	<-count.reached
	// Nine pauses lie between ten failures. They may take longer than this,
	// but if they take less then the loop spins.
	const least = (5 + 10 + 20 + 40 + 80 + 4*100) * time.Millisecond
	if took := time.Since(start); took < least {
		t.Errorf("%d failures within %v, want at least %v", count.enough, took, least)
	}
	for _, fd := range files {
		unix.Close(fd)
	}
	<-served
}
