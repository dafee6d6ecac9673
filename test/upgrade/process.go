// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is a program that was started here and is ended here.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	at    time.Time     // of the end; valid when ended is closed

	mu  sync.Mutex
	out bytes.Buffer // both streams; guarded by mu
}

// StartProcess starts cmd. Kill must be called in the end.
func StartProcess(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	// A child of the child may hold the output open; its end is not waited for.
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which Kill makes sure of
		cmd.Wait()
		p.at = time.Now()
		close(p.ended)
	}()
	return p, nil
}

// Write keeps what the process prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// Output returns what the process has printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop suspends the process, and returns when none of its threads runs any more.
// SIGCONT has it go on.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return waitUntil("the process is suspended", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
		for _, file := range threads {
			b, err := os.ReadFile(file)
			if _, state, _ := bytes.Cut(b, []byte(") ")); err == nil && !bytes.HasPrefix(state, []byte("T")) {
				return false
			}
		}
		return true
	})
}

// WaitFor waits until the process has printed text. It returns an error if the
// process ends before that, or if it takes too long.
func (p *Process) WaitFor(text string) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		gone := p.HasEnded()
		if strings.Contains(p.Output(), text) {
			return nil
		}
		if gone {
			return fmt.Errorf("process %d ended without printing %q:\n%s", p.PID(), text, p.Output())
		}
		if time.Now().After(end) {
			return fmt.Errorf("process %d has not printed %q:\n%s", p.PID(), text, p.Output())
		}
	}
}

// HasEnded reports whether the process has ended.
func (p *Process) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Wait waits for the end of the process, at most for limit, and returns its
// exit code, -1 if a signal ended it.
func (p *Process) Wait(limit time.Duration) (code int, err error) {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("process %d has not ended after %v:\n%s", p.PID(), limit, p.Output())
	}
}

// Kill ends the process if it still runs.
func (p *Process) Kill() {
	p.cmd.Process.Signal(syscall.SIGCONT) // a stopped one, too
	p.cmd.Process.Kill()
	<-p.ended
}

// errNotInstalled says that a program is not there to be tested.
var errNotInstalled = errors.New("not installed")

// lookUp finds a program in the usual places.
func lookUp(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path := dir + "/" + name; isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, errNotInstalled)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// waitUntil waits until ok returns true.
func waitUntil(what string, ok func() bool) error {
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("it takes too long until %s", what)
		}
	}
	return nil
}
