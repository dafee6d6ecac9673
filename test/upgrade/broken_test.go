// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBrokenUpgrades runs new versions that do not work, under load. No
// request may fail, the old process has to say what happened, and the next
// upgrade has to work.
func TestBrokenUpgrades(t *testing.T) {
	t.Parallel()
	b := newBelay(t, "upgrade_sock_connect_accept_max_retries: 2\n")
	bad := b.path("bad.yaml")
	b.must(os.WriteFile(bad, []byte("version: 1\nthreds: 2\n"), 0o600))
	load := StartLoad(b.addrs, 2, b.admin)
	defer load.Stop()

	tests := []struct {
		name  string
		fault string
		args  []string
		code  int    // of the new process; -1 if it was killed
		new   string // what the new process prints
		old   string // what the old one logs
	}{
		{"exits at once", "exit", nil, 3, "", "no upgrade: no new process appeared in time"},
		{"bad configuration", "", []string{"-c", bad}, 1, "threds is not a known key", "no upgrade: no new process appeared in time"},
		{"address taken", "", []string{"--listen", b.current.takenAddr(t)}, 1, "address already in use", "address already in use"},
		{"hangs before it appears", "hang", nil, -1, "", "no upgrade: no new process appeared in time"},
		{"hangs before it is ready", "hang-ready", nil, -1, "taking over", "it was not ready after 3s"},
		{"is killed with the sockets", "die-taken", nil, -1, "taking over", "it ended before it was ready"},
		{"is killed while it starts", "die-starting", nil, -1, "taking over", "it ended before it was ready"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(logLines(b.current, tt.old))
			b.must(b.current.Signal(syscall.SIGQUIT))
			next := b.start(tt.fault, append(tt.args, "-u")...)
			b.waitLogged(tt.old, before)
			if strings.HasPrefix(tt.name, "hangs") {
				next.Kill()
			}
			if code, err := next.Wait(patience); err != nil || code != tt.code {
				t.Errorf("exit code %d, %v, want %d", code, err, tt.code)
			}
			if !strings.Contains(next.Output(), tt.new) {
				t.Errorf("the new process printed no %q:\n%s", tt.new, next.Output())
			}
			if b.current.HasEnded() {
				t.Fatal("the old process has ended")
			}
			b.checkServes()
		})
	}
	t.Run("is killed while it waits", func(t *testing.T) {
		next := b.start("", "-u")
		b.must(next.WaitFor("waiting for the running process"))
		b.must(waitUntil("the socket is there", func() bool { // it says so before
			_, err := os.Lstat(b.path("upgrade.sock"))
			return err == nil
		}))
		next.Kill()
		if _, err := os.Lstat(b.path("upgrade.sock")); err != nil { // is left behind
			t.Error(err)
		}
	})
	t.Run("is killed when it is ready", func(t *testing.T) {
		before := b.failures()
		next := b.start("late", "-u")
		b.must(next.WaitFor("waiting for the running process"))
		b.must(b.current.Signal(syscall.SIGQUIT))
		b.must(next.WaitFor("taking over"))
		b.must(b.current.Stop()) // it does not read that the new one is ready
		b.must(os.WriteFile(b.path("go on"), nil, 0o600))
		err := next.WaitFor("ready; the old process decides")
		next.Kill()
		b.must(errors.Join(err, b.current.Signal(syscall.SIGCONT), os.Remove(b.path("go on"))))
		b.waitFailed(before)
		b.checkServes()
	})
	t.Run("is killed after the decision", func(t *testing.T) {
		before := b.failures()
		cmd := b.command("", "-u")
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+fullSocket(t, b.path("full"))) // there it waits before it confirms
		b.must(b.current.Signal(syscall.SIGQUIT))
		next := b.startCommand(cmd)
		err := next.WaitFor("the old process has decided: this one takes over")
		next.Kill()
		b.must(err)
		b.waitFailed(before)
		b.checkServes()
	})
	t.Run("upgrade during an upgrade", func(t *testing.T) {
		slow := b.start("hang-ready", "-u")
		b.must(slow.WaitFor("waiting for the running process"))
		b.must(b.current.Signal(syscall.SIGQUIT))
		b.must(slow.WaitFor("taking over"))
		b.must(b.current.Signal(syscall.SIGQUIT))
		b.must(b.current.WaitFor("SIGQUIT refused: an upgrade is under way"))
		second := b.start("", "-u")
		if code, err := second.Wait(patience); err != nil || code != 1 || !strings.Contains(second.Output(), "another upgrade is under way: process") {
			t.Errorf("second new process: code %d, %v\n%s", code, err, second.Output())
		}
		before := len(logLines(b.current, "upgrade failed"))
		slow.Kill()
		b.waitLogged("upgrade failed", before)
	})
	t.Run("foreign user", func(t *testing.T) { b.checkForeignUser(t) })
	if t.Failed() {
		return
	}
	b.waitGone(patience, b.upgrade(true), b.upgrade(false))
	b.checkServes()
	load.Stop()
	checkTally(t, load)
	t.Logf("%d requests, %d failed", load.OK(), load.Failed())
}

// upgradeFailed is what the old process logs when the new one is gone.
const upgradeFailed = "upgrade failed; this process serves on"

// waitLogged waits until the current process has logged text more than before
// times.
func (b *belay) waitLogged(text string, before int) {
	b.t.Helper()
	b.must(waitUntil(fmt.Sprintf("the process logs %q once more", text), func() bool { return len(logLines(b.current, text)) > before }))
}

// failures returns how many upgrades of the current process have failed.
func (b *belay) failures() int {
	return len(logLines(b.current, upgradeFailed))
}

// waitFailed waits until one more has.
func (b *belay) waitFailed(before int) {
	b.t.Helper()
	b.waitLogged(upgradeFailed, before)
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

// TestOldDies kills the old process during an upgrade. What it had in hand is
// lost, but the new one goes on alone.
func TestOldDies(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"while the new one starts", "when it is to decide"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			b := newBelay(t, "")
			old := b.current
			next := b.start("late", "-u")
			b.must(next.WaitFor("waiting for the running process"))
			b.must(old.Signal(syscall.SIGQUIT))
			b.must(next.WaitFor("taking over"))
			if when == "while the new one starts" {
				old.Kill()
				b.must(os.WriteFile(b.path("go on"), nil, 0o600))
			} else {
				b.must(old.Stop())
				b.must(os.WriteFile(b.path("go on"), nil, 0o600))
				b.must(next.WaitFor("ready; the old process decides"))
				old.cmd.Process.Kill() // without a moment to go on
				<-old.ended
			}
			b.must(next.WaitFor("this one serves alone now"))
			b.must(next.WaitFor("READY"))
			b.current = next
			b.checkServes()
			b.waitGone(patience, b.upgrade(true)) // and can be replaced
			b.checkServes()
		})
	}
}

// takenAddr returns an address on which another process listens.
func (*Process) takenAddr(t *testing.T) string {
	origin, err := NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Close)
	return origin.Addr()
}

// checkForeignUser has a process of another user wait for the sockets.
func (b *belay) checkForeignUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	const nobody = 65534
	b.must(os.Chmod(b.dir, 0o777)) // where nobody may put a socket, and run the program
	defer os.Chmod(b.dir, 0o700)
	b.must(copyFile(b.path("program"), b.binary, 0o755))
	args := []string{"-u", "-c", b.path("nobody.yaml"), "--listen", "127.0.0.1:0", "--backend", "127.0.0.1:1"}
	b.must(os.WriteFile(b.path("nobody.yaml"), []byte("upgrade_sock: "+b.path("upgrade.sock")+"\n"), 0o644))
	os.Remove(b.path("upgrade.sock"))

	cmd := b.command("")
	cmd.Path, cmd.Args = b.path("program"), append([]string{"program"}, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	thief := b.startCommand(cmd)
	b.must(thief.WaitFor("waiting for the running process"))
	b.must(b.current.Signal(syscall.SIGQUIT))
	b.must(b.current.WaitFor("belongs to user 65534, which may not take over"))

	// The socket of a foreign process is not removed, be it used or not.
	next := b.start("", "-u")
	if code, err := next.Wait(patience); err != nil || code != 1 || !strings.Contains(next.Output(), "is a socket of user 65534; it is left alone") {
		t.Errorf("new process: code %d, %v\n%s", code, err, next.Output())
	}
	thief.Kill()
	if err := os.Remove(b.path("upgrade.sock")); err != nil {
		t.Errorf("the foreign socket has been removed: %v", err)
	}
	b.checkServes()
}

func copyFile(to, from string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Clean(to), os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}
