// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/belay-proxy/belay/listener"
)

// childEnv makes the test binary an echo server.
const childEnv = "BELAY_TEST_SERVER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(hostEnv) != "" {
		hostChild()
	}
	if os.Getenv(childEnv) != "" {
		child()
	}
	os.Exit(runTests(m))
}

// runTests runs the tests. Servers that they start have their private files in
// a directory that is removed after that.
func runTests(m *testing.M) int {
	if dir, err := os.MkdirTemp("", "run"); err == nil {
		defer os.RemoveAll(dir)
		os.Setenv("RUNTIME_DIRECTORY", dir)
	}
	return m.Run()
}

// child is a program such as a user of the package writes. It does not return.
func child() {
	addr := "127.0.0.1:0"
	opts := ParseOrExit(func(fs *flag.FlagSet) { fs.StringVar(&addr, "listen", addr, "`address` to listen on") })
	srv, err := New(Config{Options: opts})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() { // ends with the test process, however that ends
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	e := newEcho()
	v := srv.Listen("echo", e, listener.Config{Addr: addr})
	go func() {
		<-srv.Ready()
		fmt.Println(v.Addrs()[0])
		for range e.waiting {
			fmt.Println("waiting")
		}
	}()
	srv.RunForever()
}

// A process is a child that runs.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	out    *bufio.Scanner
	stderr bytes.Buffer
}

// startChild starts the child with arguments.
func startChild(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), childEnv+"=1")
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = p.cmd.StdinPipe() // held open until wait
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	return p
}

// line returns the next line that the child prints.
func (p *process) line() string {
	p.out.Scan()
	return p.out.Text()
}

// wait returns the exit code, -1 if a signal killed the child.
func (p *process) wait() int {
	for p.out.Scan() {
	}
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func TestRealSignals(t *testing.T) {
	tests := []struct {
		name    string
		signals []syscall.Signal
		served  bool // the exchange in hand is completed
	}{
		{"SIGTERM", []syscall.Signal{syscall.SIGTERM}, true},
		{"SIGQUIT without a new process, SIGTERM", []syscall.Signal{syscall.SIGQUIT, syscall.SIGTERM}, true},
		{"SIGHUP, SIGUSR1, SIGUSR2, SIGTERM", []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM}, true},
		{"SIGINT", []syscall.Signal{syscall.SIGINT}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startChild(t)
			c, err := net.Dial("tcp", p.line())
			if err != nil {
				t.Fatal(err, p.stderr.String())
			}
			defer c.Close()
			idle, err := net.Dial("tcp", c.RemoteAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			send(t, idle, "a")
			receive(t, idle, 'a')
			send(t, c, "w")
			p.line() // waiting
			for _, s := range tt.signals {
				p.cmd.Process.Signal(s)
			}
			receiveEnd(t, idle) // the shutdown has begun
			if tt.served {
				// A second signal makes it fast.
				p.cmd.Process.Signal(syscall.SIGTERM)
			}
			receiveEnd(t, c)
			if code := p.wait(); code != 0 {
				t.Errorf("exit code %d, want 0\n%s", code, p.stderr.String())
			}
			graceful := strings.Contains(p.stderr.String(), "shutdown=graceful")
			if graceful != tt.served {
				t.Errorf("graceful = %t, want %t:\n%s", graceful, tt.served, p.stderr.String())
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the parallel tests
	noOld := writeConf(t, "upgrade_sock: "+filepath.Join(t.TempDir(), "s")+"\nupgrade_sock_connect_accept_max_retries: -1\n")
	conf := writeConf(t, "threads: many\nuesr: me\n")
	tests := []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"-h"}, 0, "--listen address", ""},
		{[]string{"--version"}, 0, "server.test", ""},
		{[]string{"-t"}, 0, "configuration test passed", ""},
		{[]string{"-t", "--listen", "nonsense"}, 1, "", "configuration test failed"},
		{[]string{"-tc", conf}, 1, "", `conf.yaml:2:1: uesr is not a known key, did you mean "user"?`},
		{[]string{"--listen", taken.Addr().String()}, 1, "", "address already in use"},
		{[]string{"-uc", noOld}, 1, "", "did not appear"},
		{[]string{"--nonsense"}, 2, "", "unknown option --nonsense"},
		{[]string{"word"}, 2, "", `unexpected argument "word"`},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			p := startChild(t, tt.args...)
			var out strings.Builder
			for p.out.Scan() {
				out.WriteString(p.out.Text() + "\n")
			}
			if code := p.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(out.String(), tt.stdout) || !strings.Contains(p.stderr.String(), tt.stderr) {
				t.Errorf("printed %q and %q, want %q and %q", out.String(), p.stderr.String(), tt.stdout, tt.stderr)
			}
		})
	}
}

// TestBadLogLevel checks that a mistake in BELAY_LOG is named.
func TestBadLogLevel(t *testing.T) {
	t.Setenv(logEnv, "loud")
	p := startChild(t, "-t")
	if code := p.wait(); code != 0 || !strings.Contains(p.stderr.String(), "loud") {
		t.Errorf("exit code %d, log %q", code, p.stderr.String())
	}
}
