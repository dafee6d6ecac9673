// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/internal/pidfile"
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

// TestUpgradeChangesPIDFile checks that the pid file of the old process goes
// when the new one has another.
func TestUpgradeChangesPIDFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	old := b.daemon("-c", b.conf(hostConf))
	b.conf(strings.ReplaceAll(hostConf, "${}/pid", "${}/pid2"))
	syscall.Kill(old, syscall.SIGQUIT)
	if code, out := b.run("-d", "-u", "-c", b.path("conf.yaml")); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, b.log())
	}
	b.waitGone(old)
	if _, err := os.Lstat(b.path("pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old pid file: %v, want none", err)
	}
	pid, err := pidfile.Read(b.path("pid2"))
	if err != nil {
		t.Fatal(err)
	}
	b.stop(pid)
}

// TestExecutableIsAsCalled checks that a program that is called by a symbolic
// link is known by that, so that an upgrade runs what the link leads to then.
func TestExecutableIsAsCalled(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		b := newBox(t)
		link := b.path(hostProgram)
		if err := os.Symlink(os.Args[0], link); err != nil {
			t.Fatal(err)
		}
		b.setenv("PATH", b.dir+":"+os.Getenv("PATH"))
		var pid int
		if background {
			pid = b.daemon("-c", b.conf(hostConf))
		} else {
			cmd, out := b.start("-c", b.conf(hostConf))
			out.waitFor(t, "running")
			pid = cmd.Process.Pid
		}
		if st, err := b.client(pid).Status(t.Context()); err != nil || st.Executable != link {
			t.Errorf("background %t: executable %s, %v, want %s", background, st.Executable, err, link)
		}
		syscall.Kill(pid, syscall.SIGTERM)
		b.waitGone(pid)
	}
}

// TestEarlyQuit checks that a new process survives the SIGQUIT that is meant for
// the old one, before it obeys signals.
func TestEarlyQuit(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setenv(hostEnv, "late")
	cmd, out := b.start("-u", "-c", b.conf(hostConf))
	out.waitFor(t, "made")
	cmd.Process.Signal(syscall.SIGQUIT)
	if err := os.WriteFile(b.path("go on"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out.waitFor(t, "waiting for the running process")
}

// TestNewMainProcessIsKnown checks that pid file and service manager know the
// new process before the old one can have ended: here the new one gets no
// further than that.
func TestNewMainProcessIsKnown(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := b.manager()
	old := b.daemon("-c", b.conf(hostConf))
	m.wait("READY=1")
	b.setenv(hostEnv, "holds")
	syscall.Kill(old, syscall.SIGQUIT)
	b.start("-d", "-u", "-c", b.path("conf.yaml"))
	b.waitGone(old)
	pid := b.pid()
	if pid == old {
		t.Errorf("the pid file has the old process, %d, which has ended", old)
	}
	if got := m.wait("READY=1"); !slices.Contains(got, fmt.Sprintf("MAINPID=%d", pid)) || !slices.Contains(got, "STATUS=running, listeners: 1") {
		t.Errorf("ready: %q, want MAINPID=%d and a STATUS", got, pid)
	}
	if err := os.WriteFile(b.path("go on"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new process runs", func() bool {
		st, err := b.client(pid).Status(t.Context())
		return err == nil && st.Phase == "running"
	})
	b.stop(pid)
	m.wait("STOPPING=1")
}

// TestFailedUpgradeSaysNothing checks that the service manager hears nothing of
// a new process that fails: it would take that for the service.
func TestFailedUpgradeSaysNothing(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := b.manager()
	old := b.daemon("-c", b.conf(hostConf))
	m.wait("READY=1")
	b.setenv(hostEnv, "fails")
	syscall.Kill(old, syscall.SIGQUIT)
	if code, out := b.run("-u", "-c", b.path("conf.yaml")); code != 1 || !strings.Contains(out, "the thing is missing") {
		t.Errorf("exit code %d, %q, want that it fails", code, out)
	}
	eventually(t, "the old process gives up", func() bool { return strings.Contains(b.log(), "upgrade failed") })
	syscall.Kill(old, syscall.SIGHUP)
	before := len(m.seen)
	m.wait("RELOADING=1")
	for _, text := range m.seen[before:] {
		if !strings.HasPrefix(text, "RELOADING=1") && text != fmt.Sprintf("MAINPID=%d", old) {
			t.Errorf("message %q, want none but that process %d is the main one", text, old)
		}
	}
	b.stop(old)
}

// TestNewDiesAfterDecision kills a new process when it has been told that it takes
// over, and has written the pid file, but has not confirmed it.
func TestNewDiesAfterDecision(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := b.manager()
	old := b.daemon("-c", b.conf(hostConf))
	m.wait("READY=1")
	b.setenv("NOTIFY_SOCKET", fullSocket(t, b.path("full"))) // there it waits
	syscall.Kill(old, syscall.SIGQUIT)
	b.start("-d", "-u", "-c", b.path("conf.yaml"))
	var pid int
	eventually(t, "the pid file has the new process", func() bool {
		text, _ := os.ReadFile(b.path("pid"))
		_, err := fmt.Sscan(string(text), &pid)
		return err == nil && pid != old
	})
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "the old process gives up", func() bool { return strings.Contains(b.log(), "upgrade failed") })
	m.wait(fmt.Sprintf("MAINPID=%d", old))
	if now := b.pid(); now != old {
		t.Errorf("the pid file has process %d, want %d", now, old)
	}
	c := b.dial()
	send(t, c, "a")
	receive(t, c, 'a')
	b.stop(old)
	if _, err := os.Lstat(b.path("pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pid file: %v, want none", err)
	}
}

// fullSocket makes a socket at path on which a message has to wait.
func fullSocket(t *testing.T, path string) string {
	t.Helper()
	addr := &net.UnixAddr{Name: path, Net: "unixgram"}
	ln, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	c, err := net.DialUnix("unixgram", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for err == nil {
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		_, err = c.Write([]byte("x"))
	}
	return path
}

// TestRestartWhileOldDrains checks that the service can be started again when
// the new process has died and the old one still has something in hand.
func TestRestartWhileOldDrains(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	old := b.daemon("-c", b.conf(hostConf+"grace_period_seconds: 60\n"))
	b.busy(old)
	syscall.Kill(old, syscall.SIGQUIT)
	pid := b.daemon("-u", "-c", b.path("conf.yaml"))
	syscall.Kill(pid, syscall.SIGKILL)
	b.waitGone(pid)
	if !b.isAlive(old) {
		t.Fatal("the old process has ended though it has something in hand")
	}
	target := control.Target{Program: hostProgram, PIDFile: b.path("pid")}
	if _, _, err := control.Find(t.Context(), target); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("Find = %v, want that process %d has ended", err, pid)
	}
	again := b.daemon("-c", b.path("conf.yaml"))
	c := b.dial()
	send(t, c, "a")
	receive(t, c, 'a')
	syscall.Kill(old, syscall.SIGINT)
	b.waitGone(old)
	if now := b.pid(); now != again {
		t.Errorf("the pid file has process %d, want %d", now, again)
	}
	b.stop(again)
}
