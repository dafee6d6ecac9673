// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
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
