// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package cgroup reads the memory limit of the control group that the process
// is in, so that the garbage collector can keep below it.
//
//	if limit, ok := cgroup.MemoryLimit(); ok {
//		debug.SetMemoryLimit(limit / 10 * 9)
//	}
//
// It knows both versions of control groups. The processor quota is not here:
// since Go 1.25 the runtime sets GOMAXPROCS by it.
package cgroup

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// MemoryLimit returns how many bytes of memory the control groups of this
// process allow. ok is false if there is no limit, or none can be found out.
func MemoryLimit() (bytes int64, ok bool) { return memoryLimit(os.DirFS("/")) }

// A version of control groups: what its memory controller is called.
type version struct {
	fsType     string // in /proc/self/mountinfo
	controller string // in /proc/self/cgroup, and among the mount options
	file       string // in the directory of a group
}

var versions = []version{
	{"cgroup2", "", "memory.max"},
	{"cgroup", "memory", "memory.limit_in_bytes"},
}

// memoryLimit is MemoryLimit in a file system.
func memoryLimit(root fs.FS) (int64, bool) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return 0, false
	}
	var lowest int64
	for _, v := range versions {
		group, ok := v.group(string(groups))
		if !ok {
			continue
		}
		top, dir, ok := v.directory(string(mounts), group)
		if !ok {
			continue
		}
		if n, ok := v.lowest(root, top, dir); ok && (lowest == 0 || n < lowest) {
			lowest = n
		}
	}
	return lowest, lowest > 0
}

// group returns the path of our group, from lines such as "4:memory:/a/b" or
// "0::/a/b".
func (v version) group(text string) (string, bool) {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 && has(parts[1], v.controller) && (v.controller != "" || parts[0] == "0") {
			return parts[2], true
		}
	}
	return "", false
}

// has reports whether word is in a list separated by commas. The list "" has
// only the word "".
func has(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// directory returns where the file system of the groups is mounted, and the
// directory of a group in it, from lines such as
//
//	36 35 0:31 /in/fs /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
func (v version) directory(text, group string) (top, dir string, ok bool) {
	for line := range strings.Lines(text) {
		left, right, found := strings.Cut(line, " - ")
		mount, kind := strings.Fields(left), strings.Fields(right)
		if !found || len(mount) < 5 || len(kind) < 3 || kind[0] != v.fsType {
			continue
		}
		if v.controller != "" && !has(kind[2], v.controller) {
			continue
		}
		// In a container, the group may be mounted as the top of all, with
		// or without its path being seen as that.
		inside, ok := strings.CutPrefix(group, strings.TrimSuffix(mount[3], "/"))
		if !ok || strings.Contains(inside, "..") {
			inside = ""
		}
		top = strings.TrimPrefix(path.Clean(mount[4]), "/")
		return top, path.Join(top, inside), true
	}
	return "", "", false
}

// lowest returns the lowest limit of dir and the directories above it, up to
// top.
func (v version) lowest(root fs.FS, top, dir string) (int64, bool) {
	var lowest int64
	for {
		if n, ok := v.limit(root, dir); ok && (lowest == 0 || n < lowest) {
			lowest = n
		}
		if dir == top || len(dir) <= len(top) {
			return lowest, lowest > 0
		}
		dir = path.Dir(dir)
	}
}

// limit returns the limit of one group.
func (v version) limit(root fs.FS, dir string) (int64, bool) {
	text, err := fs.ReadFile(root, path.Join(dir, v.file))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	const none = 1 << 60 // version 1 has a very large number for no limit
	return n, err == nil && n > 0 && n < none
}
