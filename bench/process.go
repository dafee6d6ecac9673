// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a child of ours, with the children it may have.
type process struct {
	name   string
	cmd    *exec.Cmd
	tree   *procTree // of the process, also after it has ended
	stderr *tail
	silent chan struct{} // closed once nobody writes to stderr any more
	ended  chan struct{} // closed once it has been waited for
	err    error         // how it ended; read after ended
}

// startProcess starts cmd on cpus alone, in a process group of its own so that
// Ctrl-C reaches only us. It is asked to end if we die. Its owner calls stop.
func startProcess(name string, cmd *exec.Cmd, cpus []int) (*process, error) {
	p := &process{name: name, cmd: cmd, stderr: new(tail), silent: make(chan struct{}), ended: make(chan struct{})}
	// A pipe of our own, as Wait would wait for all who inherit one of cmd's.
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err = onCPUs(cpus, cmd.Start)
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the last process that has the other end, which stop sees to
		_, _ = io.Copy(p.stderr, out)
		_ = out.Close()
		close(p.silent)
	}()
	tree, treeErr := newProcTree(cmd.Process.Pid) // before anybody can wait for it
	p.tree = tree
	go func() { // ends with the child, which stop sees to
		p.err = cmd.Wait()
		close(p.ended)
	}()
	if treeErr != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w", name, treeErr)
	}
	return p, nil
}

// onCPUs calls start, which starts a child, on a thread that may run on cpus
// alone; the child inherits that.
func onCPUs(cpus []int, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	during := cpuSet(cpus)
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &during); err != nil {
		return fmt.Errorf("set CPU affinity: %w", err)
	}
	err := start()
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

// allowedCPUs returns the numbers of the CPUs that this process may use.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read CPU affinity: %w", err)
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// stopPatience is how long a process may take to end when asked to.
const stopPatience = 2 * time.Second

// stop ends the process, SIGTERM first and after stopPatience SIGKILL, and then
// whatever it leaves behind. It returns once it has ended.
func (p *process) stop() {
	select {
	case <-p.ended:
	default:
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if !p.await(stopPatience) {
			_ = p.cmd.Process.Kill()
		}
	}
	if p.tree != nil {
		p.tree.kill()
	}
	<-p.ended
}

// await waits until the process has ended, and reports whether it did within d.
func (p *process) await(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// failure says how a process ended that should not have, in one line.
func (p *process) failure() error {
	<-p.ended
	select {
	case <-p.silent:
	case <-time.After(time.Second): // another process still has it
	}
	if text := strings.TrimSpace(p.stderr.String()); text != "" {
		return fmt.Errorf("%s ended (%v): %s", p.name, p.err, text)
	}
	return fmt.Errorf("%s ended (%v)", p.name, p.err)
}

// A helper is this program run as another, with which we exchange lines of
// JSON over its standard input and output.
type helper struct {
	*process
	in  *os.File
	out *os.File
	dec *json.Decoder
}

// startHelper runs this program with the given subcommand and arguments on cpus.
func startHelper(subcommand string, cpus []int, args ...string) (*helper, error) {
	cmd, err := selfCommand(subcommand, len(cpus), args...)
	if err != nil {
		return nil, err
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, childIn.Close(), in.Close())
	}
	cmd.Stdin, cmd.Stdout = childIn, childOut
	p, err := startProcess("bench "+subcommand, cmd, cpus)
	err = errors.Join(err, childIn.Close(), childOut.Close())
	if p == nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return &helper{process: p, in: in, out: out, dec: json.NewDecoder(bufio.NewReader(out))}, nil
}

// selfCommand returns a command that runs this program with the given
// arguments on cores threads of Go code.
func selfCommand(subcommand string, cores int, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.Command(self, append([]string{subcommand}, args...)...)
	cmd.Env = goEnv(cores)
	return cmd, nil
}

// goEnv returns our environment without settings of the Go runtime but for
// GOMAXPROCS, which is cores.
func goEnv(cores int) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG":
		default:
			env = append(env, kv)
		}
	}
	return append(env, fmt.Sprintf("GOMAXPROCS=%d", cores))
}

// ask sends line and decodes one answer into answer. An empty line sends
// nothing. It waits at most until ctx ends, for which it stops the helper.
func (h *helper) ask(ctx context.Context, line string, answer any) error {
	defer context.AfterFunc(ctx, h.process.stop)()
	if line != "" {
		if _, err := io.WriteString(h.in, line+"\n"); err != nil {
			return fmt.Errorf("tell %s: %w", h.name, err)
		}
	}
	if err := h.dec.Decode(answer); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, io.EOF) {
			return h.failure()
		}
		return fmt.Errorf("hear %s: %w", h.name, err)
	}
	return nil
}

// close ends the helper and frees what it holds here. The helper ends by itself
// when its input does, after it has closed its connections.
func (h *helper) close() {
	_ = h.in.Close()
	_ = h.await(patience)
	h.stop()
	_ = h.out.Close()
}

// A tail keeps the last bytes written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	kept []byte // guarded by mu
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	const most = 2 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - most; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

// String returns what has been kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
