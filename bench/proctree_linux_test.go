// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	ours := procStat{procID: procID{pid: 1, start: 1}, group: 1, session: 9}
	root := procID{10, 100}
	proc := func(pid, parent, group, session int) procStat {
		return procStat{procID: procID{pid, 100}, parent: parent, group: group, session: session}
	}
	all := []procStat{
		ours,
		proc(10, 1, 10, 9),
		proc(11, 10, 10, 9),  // worker
		proc(12, 11, 12, 12), // child of a child, with its own group
		proc(13, 1, 10, 9),   // new main process, orphaned
		proc(14, 1, 14, 14),  // daemon, orphaned
		proc(15, 14, 14, 14), // its child
		proc(16, 99, 16, 99), // seen before, elsewhere now
		proc(20, 1, 20, 9),   // started by us
		proc(21, 20, 20, 9),  // its child
		proc(22, 1, 1, 9),    // started by us in our group
		{procID: procID{23, 99}, parent: 1, group: 23, session: 23}, // older than the root
		proc(24, 99, 24, 99), // of somebody else
	}
	isOrphan := func(st procStat) bool { return st.isOrphanOf(ours) }
	var got []int
	for _, id := range members(all, root, isOrphan, map[procID]bool{{16, 100}: true, {24, 99}: true}) {
		got = append(got, id.pid)
	}
	slices.Sort(got)
	if want := []int{10, 11, 12, 13, 14, 15, 16}; !slices.Equal(got, want) {
		t.Errorf("members = %v, want %v", got, want)
	}
}

func TestSwitchesOfThreads(t *testing.T) {
	u := &procUse{threads: make(map[int]switches)}
	u.thread(1, switches{5, 1})
	u.thread(2, switches{10, 2})
	u.thread(1, switches{7, 1})
	u.thread(2, switches{3, 0}) // another thread has got the number
	if got := u.total(); got.Voluntary != 20 || got.Involuntary != 3 {
		t.Errorf("total = %+v, want 20 and 3", got)
	}
}

func TestReadOwnTree(t *testing.T) {
	tree, err := newProcTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used, err := tree.usage()
	if err != nil || used.CPU <= 0 || used.Voluntary+used.Involuntary <= 0 {
		t.Errorf("usage = %+v, %v; want CPU time and switches", used, err)
	}
	if m, err := tree.memory(); err != nil || m.Used < 1<<20 || m.Peak < 1<<20 {
		t.Errorf("memory = %+v, %v; want at least 1 MiB", m, err)
	}
	if _, err := newProcTree(1 << 30); err == nil {
		t.Error("the tree of no process exists")
	}
}

// What a process has used counts after it has ended, and a child that outlives
// it belongs to its tree.
func TestTreeOfEndedProcess(t *testing.T) {
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000 >/dev/null & echo $!; read line")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := allowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("sh", cmd, cpus)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	sleep, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	before, err := p.tree.usage()
	if err != nil || before.CPU <= 0 {
		t.Fatalf("usage = %+v, %v; want CPU time", before, err)
	}
	_ = in.Close()
	<-p.ended
	after, err := p.tree.usage()
	if err != nil || after.CPU < before.CPU {
		t.Errorf("usage after the end = %+v, %v; want at least %v", after, err, before.CPU)
	}
	if !slices.Contains(p.tree.pids(), sleep) {
		t.Errorf("processes %v, want the child %d among them", p.tree.pids(), sleep)
	}
	p.stop()
	if st, err := readStat(sleep); err == nil && !st.zombie {
		t.Errorf("the child %d is still there", sleep)
	}
}

func TestListens(t *testing.T) {
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := newProcTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("another program has taken the port: %v", err)
	}
	if ok, err := tree.listens(addr); !ok || err != nil {
		t.Errorf("listens = %t, %v; want true", ok, err)
	}
	_ = ln.Close()
	if ok, err := tree.listens(addr); ok || err != nil {
		t.Errorf("listens after close = %t, %v; want false", ok, err)
	}
}

func TestListenInodes(t *testing.T) {
	host, any := "0100007F", "00000000"
	if a, ok := parseProcAddr(host + ":1F90"); !ok || a.Addr() != netip.MustParseAddr("127.0.0.1") {
		host = "7F000001" // big-endian machine
	}
	text := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: " + host + ":1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0\n" +
		"   1: " + any + ":1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0\n" +
		"   2: " + host + ":1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0\n" +
		"   3: " + host + ":1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0\n"
	got := listenInodes(text, netip.MustParseAddrPort("127.0.0.1:8080"))
	if want := []string{"socket:[11]", "socket:[12]"}; !slices.Equal(got, want) {
		t.Errorf("inodes = %v, want %v", got, want)
	}
}
