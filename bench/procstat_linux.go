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

// readUsage returns what the processes in pids have used together.
func readUsage(pids []int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		cpu, err := processCPU(pid)
		if err != nil {
			return usage{}, fmt.Errorf("read CPU clock of process %d: %w", pid, err)
		}
		sum.CPU += cpu
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return usage{}, err
		}
		st, err := parseStat(data)
		if err != nil {
			return usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
		sum.User += st.user
		sum.System += st.system
		vol, invol := contextSwitches(pid)
		sum.Voluntary += vol
		sum.Involuntary += invol
	}
	return sum, nil
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

// contextSwitches sums the switches of the threads that pid has now.
func contextSwitches(pid int) (voluntary, involuntary int64) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has just ended
		}
		voluntary += statusValue(data, "voluntary_ctxt_switches")
		involuntary += statusValue(data, "nonvoluntary_ctxt_switches")
	}
	return voluntary, involuntary
}

// residentMemory returns the resident memory of pids together, in bytes.
// Pages that processes share count once for each.
func residentMemory(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		sum += statusValue(data, "VmRSS") << 10
	}
	if sum == 0 {
		return 0, errors.New("no VmRSS in /proc/PID/status")
	}
	return sum, nil
}

// processTree returns root and its living descendants.
func processTree(root int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // the process has just ended
		}
		if st, err := parseStat(data); err == nil {
			children[st.parent] = append(children[st.parent], st.pid)
		}
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

// A procStat is what we need of /proc/PID/stat.
type procStat struct {
	pid, parent  int
	user, system time.Duration
}

// parseStat parses /proc/PID/stat; see proc_pid_stat(5). The second field is
// the program's name in parentheses and may itself contain any byte.
func parseStat(data []byte) (procStat, error) {
	bad := fmt.Errorf("malformed /proc/PID/stat: %q", clip(data))
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return procStat{}, bad
	}
	const parentField, userField, systemField = 1, 11, 12 // after the name
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= systemField {
		return procStat{}, bad
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(string(data[:open])))
	parent, err2 := strconv.Atoi(fields[parentField])
	user, err3 := strconv.ParseInt(fields[userField], 10, 64)
	system, err4 := strconv.ParseInt(fields[systemField], 10, 64)
	if errors.Join(err1, err2, err3, err4) != nil {
		return procStat{}, bad
	}
	return procStat{pid, parent, time.Duration(user) * clockTick, time.Duration(system) * clockTick}, nil
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
