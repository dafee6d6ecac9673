// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// probes is how often a test asks where one of two processes may answer: often
// enough that both would, if both took turns.
const probes = 40

// checkReady fails t unless /readyz says each time that the box is ready.
func (b *box) checkReady() {
	b.t.Helper()
	var wrong []string
	for range probes {
		if code, err := b.get("/readyz", "localhost"); err != nil || code != 200 {
			wrong = append(wrong, fmt.Sprintf("%d, %v", code, err))
		}
	}
	if len(wrong) > 0 {
		b.t.Errorf("/readyz is wrong %d times out of %d, first %s", len(wrong), probes, wrong[0])
	}
}

// busy holds a connection to the process pid on which something is in hand.
func (b *box) busy(pid int) {
	b.t.Helper()
	c := b.dial()
	send(b.t, c, "w")
	eventually(b.t, "the connection counts", func() bool {
		st, err := b.client(pid).Status(b.t.Context())
		return err == nil && st.Connections >= 1
	})
}

// start starts the server in the foreground, as a process that is killed when
// the test ends, and returns what it prints.
func (b *box) start(args ...string) (*exec.Cmd, *safeBuffer) {
	b.t.Helper()
	cmd := b.command(args...)
	out := new(safeBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, out
}

const adminConf = hostConf + "admin_listen: unix:${}/admin\ngrace_period_seconds: 60\n"

// TestReadyDuringUpgrade checks that the admin listener says all the time that
// there is a process that is ready: while a new one hangs, and while an old one
// drains.
func TestReadyDuringUpgrade(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	old := b.daemon("-c", b.conf(adminConf))
	b.busy(old)

	b.setenv(hostEnv, "never")
	slow, out := b.start("-u", "-c", b.path("conf.yaml"))
	out.waitFor(t, "waiting for the running process")
	syscall.Kill(old, syscall.SIGQUIT)
	eventually(t, "the new process has all its sockets", func() bool {
		st, err := b.client(slow.Process.Pid).Status(t.Context())
		return err == nil && len(st.Listeners) == 1
	})
	b.checkReady()
	slow.Process.Kill()
	eventually(t, "the old process gives up", func() bool { return strings.Contains(b.log(), "upgrade failed") })
	b.checkReady()

	b.setenv(hostEnv, "1")
	syscall.Kill(old, syscall.SIGQUIT)
	pid := b.daemon("-u", "-c", b.path("conf.yaml"))
	b.checkReady()
	if !b.isAlive(old) {
		t.Error("the old process has ended though it has something in hand")
	}
	syscall.Kill(old, syscall.SIGINT)
	b.waitGone(old)
	b.checkReady() // the socket is still there
	b.stop(pid)
}
