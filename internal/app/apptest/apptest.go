// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package apptest runs the programs of this repository as processes, so that
// a test sees them as their users do: by what they print, by their exit code,
// and by what signals do to them.
//
//	func TestMain(m *testing.M) { apptest.Main(m, map[string]func(){"proxy": main}) }
//
//	func TestListens(t *testing.T) {
//		p := apptest.Start(t, "proxy", "--http", "127.0.0.1:0")
//		addr := p.Find(`msg=listening .* addr=(\S+)`)
//		…
//		p.Signal(syscall.SIGTERM)
//		if code := p.Wait(); code != 0 { … }
//	}
//
// The process is the test binary itself, started again: nothing needs to be
// built, and the race detector and coverage see it, too.
package apptest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// programEnv names the program that a test binary is to be.
const programEnv = "BELAY_APPTEST_PROGRAM"

// patience bounds every wait. It is far longer than anything takes on a busy
// machine.
const patience = 30 * time.Second

// Main is the TestMain of a package whose tests call Start: it runs one of
// programs, by name, if this process is the one that Start has started, and
// otherwise the tests.
func Main(m *testing.M, programs map[string]func()) {
	if run, ok := programs[os.Getenv(programEnv)]; ok {
		run()
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

// runTests runs the tests. Programs that they start have their private files in
// a directory that is removed after that.
func runTests(m *testing.M) int {
	if dir, err := os.MkdirTemp("", "run"); err == nil {
		defer os.RemoveAll(dir)
		os.Setenv("RUNTIME_DIRECTORY", dir)
	}
	return m.Run()
}

// A Process is a program that runs, or has run, for a test. Its methods belong
// to the goroutine of the test, except Signal.
type Process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd

	ended chan struct{} // closed when the process has ended
	code  int           // valid when ended is closed

	mu      sync.Mutex
	output  bytes.Buffer  // of both streams; guarded by mu
	stdout  bytes.Buffer  // guarded by mu
	changed chan struct{} // closed and replaced when output grows; guarded by mu
}

// Start starts one of the programs that Main knows. It is killed when t ends,
// if it still runs then. What it printed is logged if the test fails.
func Start(t testing.TB, program string, args ...string) *Process {
	t.Helper()
	return StartEnv(t, program, nil, args...)
}

// StartEnv is Start with variables, "NAME=value", added to the environment.
func StartEnv(t testing.TB, program string, env []string, args ...string) *Process {
	t.Helper()
	return StartPath(t, os.Args[0], program, env, args...)
}

// StartPath is StartEnv by another path to the test binary.
func StartPath(t testing.TB, path, program string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: program, ended: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(slices.Concat(os.Environ(), env), programEnv+"="+program)
	p.cmd.Stdout = writer(func(b []byte) { p.note(b, true) })
	p.cmd.Stderr = writer(func(b []byte) { p.note(b, false) })
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	go func() { // ends with the process, which the cleanup makes sure of
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s %q printed:\n%s", program, args, p.Output())
		}
	})
	return p
}

// writer is an io.Writer that cannot fail.
type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// note keeps what the process printed, and wakes those who wait for it.
func (p *Process) note(b []byte, stdout bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output.Write(b)
	if stdout {
		p.stdout.Write(b)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Output returns what the process has printed so far, on both streams.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Stdout returns what the process has printed so far on its standard output.
func (p *Process) Stdout() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String()
}

// Find waits until something the process has printed matches pattern, and
// returns what the first group in it matched, or all of the match if there is
// none. It ends the test if the process ends before that.
func (p *Process) Find(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for gone := false; ; {
		p.mu.Lock()
		text, changed := p.output.String(), p.changed
		p.mu.Unlock()
		if m := re.FindStringSubmatch(text); m != nil {
			return m[len(m)-1]
		}
		if gone {
			p.t.Fatalf("%s ended with code %d without printing %q", p.name, p.code, pattern)
		}
		select {
		case <-changed:
		case <-p.ended:
			gone = true // one more look at what it printed last
		case <-late:
			p.t.Fatalf("%s has not printed %q", p.name, pattern)
		}
	}
}

// Signal sends a signal to the process.
func (p *Process) Signal(sig os.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Errorf("send %v to %s: %v", sig, p.name, err)
	}
}

// Wait waits for the end of the process and returns its exit code, -1 if it
// was ended by a signal.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
		return 0
	}
}

// Run runs a program to its end and returns it, with its exit code.
func Run(t testing.TB, program string, args ...string) (p *Process, code int) {
	t.Helper()
	p = Start(t, program, args...)
	return p, p.Wait()
}
