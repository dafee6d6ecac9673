// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// endWithGoCommand makes the kernel send us SIGTERM when "go run" ends, if that
// started us: a signal for it does not reach us otherwise.
func endWithGoCommand() {
	parent := os.Getppid()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
	if err != nil || !bytes.Equal(name, []byte("go\n")) {
		return
	}
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	if os.Getppid() != parent { // it ended in between
		_ = unix.Kill(os.Getpid(), unix.SIGTERM)
	}
}

// pinSelf restricts all threads of this process to cpus.
func pinSelf(cpus []int) error {
	set := cpuSet(cpus)
	files, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, file := range files {
		tid, err := strconv.Atoi(filepath.Base(file))
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("set CPU affinity of thread %d: %w", tid, err)
		}
	}
	return nil
}

func cpuSet(cpus []int) (set unix.CPUSet) {
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return set
}
