// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A machine says where and when a report was made.
type machine struct {
	Date   string `json:"date"` // of the start, in UTC
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	OS     string `json:"os"`
	Go     string `json:"go"`
	Belay  string `json:"belay,omitempty"` // revision of the source tree, as git describes it
	Load   string `json:"load_average"`    // before the run; it should be near 0
}

func thisMachine() machine {
	m := machine{
		Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		CPU:  "unknown CPU", CPUs: runtime.NumCPU(),
		OS: "unknown system", Go: runtime.Version() + " " + runtime.GOARCH,
		Belay: describeTree(),
	}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = cpuModel(string(data), m.CPU)
	}
	if data, err := os.ReadFile("/etc/os-release"); err == nil {
		m.OS = osName(string(data), m.OS)
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = firstFields(string(data), 3)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// describeTree returns the revision of the source tree, "" if git does not know
// it.
func describeTree() string {
	root, err := findRoot()
	if err != nil {
		return ""
	}
	cmd := exec.Command("git", "describe", "--always", "--dirty", "--tags")
	cmd.Dir, cmd.Env = root, withoutGit(os.Environ())
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// cpuModel returns the first model name in the text of /proc/cpuinfo, or
// otherwise what is given: not every architecture names one.
func cpuModel(text, otherwise string) string {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

// osName returns the PRETTY_NAME in the text of /etc/os-release, or otherwise
// what is given.
func osName(text, otherwise string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return otherwise
}

// firstFields returns the first n words of text.
func firstFields(text string, n int) string {
	fields := strings.Fields(text)
	return strings.Join(fields[:min(n, len(fields))], " ")
}
