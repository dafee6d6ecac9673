// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockSlack allows for the whole seconds in which Linux tells when it was
// started.
const clockSlack = 2 * time.Second

// startTime returns when a process was started. ok is false where there is no
// /proc to tell.
func startTime(pid int) (at time.Time, ok bool) {
	const ticksPerSecond = 100 // USER_HZ, on all platforms that Go runs on
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return time.Time{}, false
	}
	// The name of the program, in parentheses, may have spaces in it. After it
	// come the fields from the third on; the start time is the 22nd.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const startField = 22 - 3
	if len(fields) <= startField {
		return time.Time{}, false
	}
	ticks, err := strconv.ParseInt(fields[startField], 10, 64)
	boot, known := bootTime()
	if err != nil || !known {
		return time.Time{}, false
	}
	return boot.Add(time.Duration(ticks) * (time.Second / ticksPerSecond)), true
}

// bootTime returns when the system was started.
func bootTime() (at time.Time, ok bool) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, false
	}
	for line := range strings.Lines(string(text)) {
		if v, found := strings.CutPrefix(line, "btime "); found {
			seconds, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Unix(seconds, 0), err == nil
		}
	}
	return time.Time{}, false
}
