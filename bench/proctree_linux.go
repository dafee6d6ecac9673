// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A procTree follows the processes of a peer while they come and go, as they do
// when the peer is upgraded. What a process had used when it was last read
// still counts after it has ended.
//
// A process belongs to the tree if it is the root, in the root's process
// group, the child of one that belongs, or, if the tree adopts, an orphan of
// ours: adoptOrphans makes us the parent of those whose parents end.
type procTree struct {
	root   procID
	adopts bool                // at most one tree at a time
	procs  map[procID]*procUse // all that ever belonged
	alive  []procID            // at the last reading
}

// A procUse is what one process has used when it was last read.
type procUse struct {
	usage   usage // without switches
	threads map[int]switches
	ended   switches // of threads whose number has been used again
}

// switches are context switches, voluntary and involuntary.
type switches struct{ voluntary, involuntary int64 }

// newProcTree returns the tree of a running process.
func newProcTree(root int) (*procTree, error) {
	st, err := readStat(root)
	if err != nil {
		return nil, err
	}
	t := &procTree{root: st.procID, procs: make(map[procID]*procUse)}
	return t, t.walk()
}

// adoptOrphans makes this process the parent of those below it whose own
// parents end.
func adoptOrphans() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// walk finds the processes that belong to the tree now.
func (t *procTree) walk() error {
	all, err := allStats()
	if err != nil {
		return err
	}
	t.alive = nil
	isOrphan := func(procStat) bool { return false }
	if t.adopts {
		ours, err := readStat(os.Getpid())
		if err != nil {
			return err
		}
		isOrphan = func(st procStat) bool { return st.isOrphanOf(ours) }
	}
	for _, id := range members(all, t.root, isOrphan, t.procs) {
		if t.procs[id] == nil {
			t.procs[id] = &procUse{threads: make(map[int]switches)}
		}
		t.alive = append(t.alive, id)
	}
	return nil
}

// members returns those of all that belong to the tree of root, given those
// that did before.
func members[V any](all []procStat, root procID, isOrphan func(procStat) bool, before map[procID]V) []procID {
	children := make(map[int][]procStat)
	in := make(map[procID]bool)
	var list []procID
	add := func(st procStat) {
		if !in[st.procID] {
			in[st.procID] = true
			list = append(list, st.procID)
		}
	}
	for _, st := range all {
		children[st.parent] = append(children[st.parent], st)
		_, known := before[st.procID]
		if known || st.procID == root || st.start >= root.start && (st.group == root.pid || isOrphan(st)) {
			add(st)
		}
	}
	for i := 0; i < len(list); i++ {
		for _, st := range children[list[i].pid] {
			add(st)
		}
	}
	return list
}

// isOrphanOf reports whether st is a child of ours that we have not started
// ourselves: those lead a group of their own in our session, or are in our own
// group.
func (st *procStat) isOrphanOf(ours procStat) bool {
	started := st.session == ours.session && (st.group == st.pid || st.group == ours.group)
	return st.parent == ours.pid && !started
}

// usage returns what all processes of the tree have used together.
func (t *procTree) usage() (usage, error) {
	if err := t.walk(); err != nil {
		return usage{}, err
	}
	if len(t.alive) == 0 {
		return usage{}, errors.New("no process of the proxy is left")
	}
	for _, id := range t.alive {
		t.procs[id].read(id)
	}
	var sum usage
	for _, use := range t.procs {
		sum = sum.add(use.total())
	}
	t.reap()
	return sum, nil
}

// read reads the counters of a process. What cannot be read, as the process
// has just ended, stays as it was.
func (u *procUse) read(id procID) {
	st, err := readStat(id.pid)
	if err != nil || st.procID != id {
		return
	}
	if cpu, err := processCPU(id.pid); err == nil {
		u.usage.CPU = cpu
	}
	u.usage.User, u.usage.System = st.user, st.system
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", id.pid))
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has just ended
		}
		tid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		u.thread(tid, switches{statusValue(data, "voluntary_ctxt_switches"), statusValue(data, "nonvoluntary_ctxt_switches")})
	}
}

// thread notes the switches of a thread.
func (u *procUse) thread(tid int, now switches) {
	if last := u.threads[tid]; now.voluntary < last.voluntary || now.involuntary < last.involuntary {
		u.ended.voluntary += last.voluntary
		u.ended.involuntary += last.involuntary
	}
	u.threads[tid] = now
}

// total returns what the process has used.
func (u *procUse) total() usage {
	sum := u.usage
	sum.Voluntary, sum.Involuntary = u.ended.voluntary, u.ended.involuntary
	for _, s := range u.threads {
		sum.Voluntary += s.voluntary
		sum.Involuntary += s.involuntary
	}
	return sum
}

// reap waits for orphans that have ended, since nobody else does.
func (t *procTree) reap() {
	for _, id := range t.alive {
		if st, err := readStat(id.pid); err == nil && st.procID == id && st.zombie && st.parent == os.Getpid() && id != t.root {
			_, _ = unix.Wait4(id.pid, nil, unix.WNOHANG, nil)
		}
	}
}

// pids returns the processes of the tree that were alive at the last walk.
func (t *procTree) pids() []int {
	var list []int
	for _, id := range t.alive {
		list = append(list, id.pid)
	}
	return list
}

// kill ends what is left of the tree, except the root, which its parent's
// waiting has to see to.
func (t *procTree) kill() {
	for range 100 { // a process may start another while we look
		if t.walk() != nil {
			return
		}
		left := 0
		for _, id := range t.alive {
			if st, err := readStat(id.pid); err == nil && st.procID == id && !st.zombie {
				left++
				_ = unix.Kill(id.pid, unix.SIGKILL)
			}
		}
		t.reap()
		if left == 0 {
			return
		}
	}
}
