// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A usage is what a process tree has used since its start, or the difference
// of two such readings.
type usage struct {
	CPU         time.Duration // user and system, to the nanosecond
	User        time.Duration // the user part, to clockTick
	System      time.Duration // the system part, to clockTick
	Voluntary   int64         // context switches because a thread waited
	Involuntary int64         // context switches because a thread was displaced
}

// sub returns u less v.
func (u usage) sub(v usage) usage {
	return usage{
		CPU:         u.CPU - v.CPU,
		User:        u.User - v.User,
		System:      u.System - v.System,
		Voluntary:   u.Voluntary - v.Voluntary,
		Involuntary: u.Involuntary - v.Involuntary,
	}
}

// clockTick is the unit of the times in /proc/PID/stat and /proc/stat; Linux
// uses 100 a second for user space on all architectures.
const clockTick = 10 * time.Millisecond

// add returns u and v together.
func (u usage) add(v usage) usage {
	return u.sub(usage{-v.CPU, -v.User, -v.System, -v.Voluntary, -v.Involuntary})
}

// processCPU returns the CPU time of all threads that pid has or had. It
// reads the process's CPU clock, whose number is made from the process id as
// clock_getcpuclockid(3) does.
func processCPU(pid int) (time.Duration, error) {
	const perProcessSched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|perProcessSched), &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}

// A procStat is what we need of /proc/PID/stat.
type procStat struct {
	procID
	parent, group, session int
	zombie                 bool // ended, but not waited for
	user, system           time.Duration
}

// A procID is a process id and when the process started, in clock ticks since
// boot: together they are not used again.
type procID struct {
	pid   int
	start uint64
}

// readStat reads /proc/PID/stat.
func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(data)
}

// allStats returns the stat of every process that there is.
func allStats() ([]procStat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var all []procStat
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // the process has just ended
		}
		if st, err := parseStat(data); err == nil {
			all = append(all, st)
		}
	}
	return all, nil
}

// parseStat parses /proc/PID/stat; see proc_pid_stat(5). The second field is
// the program's name in parentheses and may itself contain any byte.
func parseStat(data []byte) (st procStat, err error) {
	bad := fmt.Errorf("malformed /proc/PID/stat: %q", clip(data))
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return procStat{}, bad
	}
	// Positions after the name.
	const stateField, parentField, groupField, sessionField, userField, systemField, startField = 0, 1, 2, 3, 11, 12, 19
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= startField {
		return procStat{}, bad
	}
	number := func(field string) int64 {
		n, e := strconv.ParseInt(field, 10, 64)
		err = errors.Join(err, e)
		return n
	}
	st.pid = int(number(strings.TrimSpace(string(data[:open]))))
	st.zombie = fields[stateField] == "Z"
	st.parent, st.group, st.session = int(number(fields[parentField])), int(number(fields[groupField])), int(number(fields[sessionField]))
	st.user, st.system = time.Duration(number(fields[userField]))*clockTick, time.Duration(number(fields[systemField]))*clockTick
	st.start = uint64(number(fields[startField]))
	if err != nil {
		return procStat{}, bad
	}
	return st, nil
}

// statusValue returns the number after "name:" in a file of the form of
// /proc/PID/status, 0 if there is none.
func statusValue(data []byte, name string) int64 {
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte(name+":"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			return 0
		}
		n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
		return n
	}
	return 0
}

// readBusy returns how long cpus together have not been idle, to clockTick.
func readBusy(cpus []int) (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(data, cpus), nil
}

// parseBusy sums the time that cpus have not been idle over the lines of
// /proc/stat; see proc_stat(5). Time in interrupts counts, time waiting for
// disks and time taken by a hypervisor do not.
func parseBusy(data []byte, cpus []int) time.Duration {
	const idle, iowait, steal = 3, 4, 7
	var sum int64
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) <= steal || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		number, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || !slices.Contains(cpus, number) {
			continue
		}
		for i, field := range fields[1 : steal+1] {
			if i == idle || i == iowait || i == steal {
				continue
			}
			ticks, _ := strconv.ParseInt(field, 10, 64)
			sum += ticks
		}
	}
	return time.Duration(sum) * clockTick
}
