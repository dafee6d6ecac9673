// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// CheckLeaks fails t if, when t ends, goroutines or file descriptors are left
// that were not there when CheckLeaks was called. It gives them some seconds
// to end. Descriptors are only checked where /proc/self/fd exists, and pipes are
// not counted, because the runtime keeps some for splicing.
//
// Call it first: what is started after it is stopped before it looks. A test
// that uses it must not run in parallel with others.
func CheckLeaks(t testing.TB) {
	t.Helper()
	checkLeaks(t, patience/5)
}

// checkLeaks is CheckLeaks with a limit on the longest pause between two
// looks; together they last no longer than twice that.
func checkLeaks(t testing.TB, limit time.Duration) {
	before := takeInventory()
	t.Cleanup(func() {
		var leaked []string
		for pause := time.Millisecond; pause < limit; pause *= 2 {
			if leaked = takeInventory().minus(before); len(leaked) == 0 {
				return
			}
			time.Sleep(pause)
		}
		t.Errorf("proxytest: %d leaked:\n%s", len(leaked), strings.Join(leaked, "\n\n"))
	})
}

// An inventory has what is alive at one moment: a description of each
// goroutine and descriptor, by a name that is its own.
type inventory map[string]string

func takeInventory() inventory {
	inv := make(inventory)
	for _, stack := range stacks() {
		if id, _, ok := strings.Cut(stack, " ["); ok && !harmless(stack) {
			inv[id] = stack
		}
	}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		to, err := os.Readlink(link)
		if err == nil && !keptByRuntime(to) {
			inv[link+" "+to] = fmt.Sprintf("descriptor %s: %s", filepath.Base(link), to)
		}
	}
	return inv
}

// keptByRuntime reports whether a descriptor may belong to the runtime: its
// poller, the pipes it keeps for splicing, and the directory that was read to
// find the descriptor.
func keptByRuntime(to string) bool {
	return strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "pipe:") || strings.HasSuffix(to, "/fd")
}

// minus returns the descriptions of what inv has and other has not.
func (inv inventory) minus(other inventory) []string {
	var left []string
	for name, description := range inv {
		if _, ok := other[name]; !ok {
			left = append(left, description)
		}
	}
	return left
}

// stacks returns the stack of each goroutine but this one.
func stacks() []string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Split(string(buf[:n]), "\n\n")[1:]
		}
		buf = make([]byte, 2*len(buf))
	}
}

// harmless reports whether a goroutine belongs to the runtime or to package
// testing and not to the code under test.
func harmless(stack string) bool {
	_, frames, _ := strings.Cut(stack, "\n")
	for _, prefix := range []string{"testing.", "runtime.", "os/signal.", "runtime/pprof.", "internal/fuzz."} {
		if strings.HasPrefix(frames, prefix) {
			return true
		}
	}
	return strings.Contains(stack, "created by runtime") || strings.Contains(stack, "created by testing.")
}
