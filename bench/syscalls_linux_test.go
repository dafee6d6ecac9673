// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseStrace(t *testing.T) {
	const out = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 62.50    0.000010           1         6           read
 37.50    0.000006           6         1         1 write
------ ----------- ----------- --------- --------- ----------------
100.00    0.000016           2         7         1 total
`
	if n, err := parseStrace([]byte(out)); n != 7 || err != nil {
		t.Errorf("parseStrace = %d, %v; want 7", n, err)
	}
	for _, bad := range []string{"", "strace: no\n", "100 0 0 many 1 total\n"} {
		if _, err := parseStrace([]byte(bad)); err == nil {
			t.Errorf("parseStrace(%q) is no error", bad)
		}
	}
}

func TestTracepoint(t *testing.T) {
	counter, err := newTracepoint([]int{os.Getpid()})
	if err != nil {
		t.Skipf("this kernel or user cannot count system calls: %v", err)
	}
	runtime.LockOSThread() // one of those that have just been counted, or its child
	defer runtime.UnlockOSThread()
	const calls = 1000
	for range calls {
		unix.Getppid()
	}
	if n, err := counter.stop(); n < calls || err != nil {
		t.Errorf("counted %d calls, %v; want at least %d", n, err, calls)
	}
}

func TestStrace(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := allowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("cat", cmd, cpus)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	counter, err := startStrace(t.Context(), p.tree.pids(), cpus)
	if err != nil {
		t.Skipf("strace cannot be used here: %v", err)
	}
	if _, err := io.WriteString(in, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	<-p.ended
	if n, err := counter.stop(); n < 2 || err != nil { // cat has read and written
		t.Errorf("counted %d calls, %v; want at least 2", n, err)
	}
}
