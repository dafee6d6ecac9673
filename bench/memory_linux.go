// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
)

// A memory is what processes hold together, in bytes.
type memory struct {
	Used int64 `json:"used"` // resident; a page that several processes share counts in parts
	Peak int64 `json:"peak"` // the sum of the most that each has had resident; shared pages count for each
}

// memory returns what the processes of the tree hold.
func (t *procTree) memory() (m memory, err error) {
	if err := t.walk(); err != nil {
		return m, err
	}
	for _, pid := range t.pids() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has just ended
		}
		m.Peak += statusValue(status, "VmHWM") << 10
		m.Used += proportional(pid, statusValue(status, "VmRSS")) << 10
	}
	if m.Used == 0 {
		return m, errors.New("no memory in /proc/PID/status")
	}
	return m, nil
}

// proportional returns the proportional set size of a process in KiB, or its
// resident memory where the kernel or our rights do not tell.
func proportional(pid int, resident int64) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return resident
	}
	if pss := statusValue(data, "Pss"); pss > 0 {
		return pss
	}
	return resident
}
