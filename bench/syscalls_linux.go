// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A callCounter counts the system calls of processes.
type callCounter interface {
	// stop ends the count and returns it.
	stop() (calls int64, err error)
}

// countCalls starts to count the system calls of pids, by the kernel's
// tracepoint, which costs little, or with strace, which slows the processes
// down. The error says why neither is possible.
func countCalls(ctx context.Context, pids, cpus []int) (callCounter, error) {
	counter, err := newTracepoint(pids)
	if err == nil {
		return counter, nil
	}
	traced, straceErr := startStrace(ctx, pids, cpus)
	if straceErr != nil {
		return nil, errors.Join(err, straceErr)
	}
	return traced, nil
}

// A tracepoint counts with one event of perf for each thread.
type tracepoint struct{ events []int }

// sysEnter is the file with the number of the tracepoint that every system call
// passes.
const sysEnter = "events/raw_syscalls/sys_enter/id"

// newTracepoint starts to count for all threads of pids and those that they
// will start.
func newTracepoint(pids []int) (*tracepoint, error) {
	id, err := tracepointID()
	if err != nil {
		return nil, err
	}
	attr := unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_TRACEPOINT,
		Config: id,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Bits:   unix.PerfBitInherit,
	}
	t := new(tracepoint)
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, file := range files {
			tid, err := strconv.Atoi(filepath.Base(file))
			if err != nil {
				continue
			}
			event, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
			if errors.Is(err, unix.ESRCH) {
				continue // the thread has just ended
			}
			if err != nil {
				t.close()
				return nil, fmt.Errorf("count system calls of thread %d: %w", tid, err)
			}
			t.events = append(t.events, event)
		}
	}
	return t, nil
}

// tracepointID returns the number of the tracepoint sysEnter.
func tracepointID() (uint64, error) {
	var errs []error
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		data, err := os.ReadFile(filepath.Join(dir, sysEnter))
		if err == nil {
			return strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

func (t *tracepoint) stop() (calls int64, err error) {
	defer t.close()
	for _, event := range t.events {
		var count [8]byte
		if _, err := unix.Read(event, count[:]); err != nil {
			return 0, fmt.Errorf("read count of system calls: %w", err)
		}
		calls += int64(binary.NativeEndian.Uint64(count[:]))
	}
	return calls, nil
}

func (t *tracepoint) close() {
	for _, event := range t.events {
		_ = unix.Close(event)
	}
}

// A strace counts with the program of that name.
type strace struct {
	*process
	file string // that it writes at its end
}

// startStrace returns once strace traces all of pids.
func startStrace(ctx context.Context, pids, cpus []int) (*strace, error) {
	program, err := findProgram("strace")
	if err != nil {
		return nil, fmt.Errorf("strace: %w", err)
	}
	file, err := os.CreateTemp("", "belay-bench-strace-")
	if err != nil {
		return nil, err
	}
	_ = file.Close()
	args := []string{"-c", "-f", "-o", file.Name()}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	p, err := startProcess("strace", exec.Command(program, args...), cpus)
	if err != nil {
		return nil, errors.Join(err, os.Remove(file.Name()))
	}
	s := &strace{p, file.Name()}
	for strings.Count(p.stderr.String(), " attached") < len(pids) {
		select {
		case <-p.ended:
			return nil, errors.Join(p.failure(), os.Remove(s.file))
		case <-ctx.Done():
			p.stop()
			return nil, errors.Join(context.Cause(ctx), os.Remove(s.file))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return s, nil
}

func (s *strace) stop() (calls int64, err error) {
	defer os.Remove(s.file)
	_ = s.cmd.Process.Signal(syscall.SIGINT) // it detaches and writes
	_ = s.await(patience)
	s.process.stop()
	data, err := os.ReadFile(s.file)
	if err != nil {
		return 0, err
	}
	return parseStrace(data)
}

// parseStrace returns the number of calls in the last line, the total, of what
// "strace -c" prints.
func parseStrace(data []byte) (int64, error) {
	const callsField = 3 // after time, seconds and µs per call
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) > callsField && fields[len(fields)-1] == "total" {
			n, err := strconv.ParseInt(fields[callsField], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("strace: %q: %w", clip(line), err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("strace: no total in %q", clip(data))
}
