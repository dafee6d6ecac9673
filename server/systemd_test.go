// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/pidfile"
	"github.com/belay-proxy/belay/internal/testtool"
)

// A manager is a fake service manager.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	seen []string // messages so far
}

// manager makes one that the server of the box reports to.
func (b *box) manager() *manager {
	b.t.Helper()
	path := b.path("notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	b.setenv("NOTIFY_SOCKET", path)
	return &manager{t: b.t, conn: c}
}

// wait returns the assignments of the next message that has one that begins so.
func (m *manager) wait(assignment string) []string {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 4096)
	for {
		n, err := m.conn.Read(b)
		if err != nil {
			m.t.Fatalf("no %s: %v; messages: %q", assignment, err, m.seen)
		}
		m.seen = append(m.seen, string(b[:n]))
		list := strings.Split(string(b[:n]), "\n")
		if slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, assignment) }) {
			return list
		}
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := b.manager()
	pid := b.daemon("-c", b.conf(hostConf))
	if got := m.wait("READY=1"); !slices.Contains(got, fmt.Sprintf("MAINPID=%d", pid)) || !slices.Contains(got, "STATUS=running, listeners: 1") {
		t.Errorf("ready: %q, want MAINPID=%d and a STATUS", got, pid)
	}
	syscall.Kill(pid, syscall.SIGHUP)
	got := m.wait("RELOADING=1")
	if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "MONOTONIC_USEC=") }) {
		t.Errorf("reloading: %q, want MONOTONIC_USEC", got)
	}
	m.wait("READY=1")
	b.conf("nonsense: 1\n")
	syscall.Kill(pid, syscall.SIGHUP)
	m.wait("RELOADING=1")
	m.wait("READY=1") // it goes on as it was
	syscall.Kill(pid, syscall.SIGTERM)
	m.wait("STOPPING=1")
	b.waitGone(pid)
}

// TestUpgradeOfDaemon checks what the rest of the system sees of an upgrade: the
// pid file and the service manager follow the new process, with rights given up
// and without.
func TestUpgradeOfDaemon(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, conf, user string }{
		{"same user", hostConf, ""},
		{"default paths", "error_log: ${}/log\n", ""},
		{"other user", hostConf, "65532"},
		{"other user, default paths", "error_log: ${}/log\n", "65532"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.user != "" && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			t.Parallel()
			b := newBox(t)
			if err := os.Chmod(b.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			m := b.manager()
			if err := os.Chmod(b.path("notify"), 0o777); err != nil {
				t.Fatal(err)
			}
			old := b.daemon("-c", b.conf(tt.conf+"user: "+tt.user+"\n"))
			m.wait("READY=1")
			syscall.Kill(old, syscall.SIGQUIT)
			pid := b.daemon("-u", "-c", b.path("conf.yaml"))
			if pid == old {
				t.Fatalf("the pid file still has process %d", old)
			}
			if got := m.wait("READY=1"); !slices.Contains(got, fmt.Sprintf("MAINPID=%d", pid)) {
				t.Errorf("ready: %q, want MAINPID=%d", got, pid)
			}
			b.waitGone(old)
			if now := b.pid(); now != pid {
				t.Errorf("after the end of the old process the pid file has %d, want %d", now, pid)
			}
			c := b.dial()
			send(t, c, "a")
			receive(t, c, 'a')
			c.Close()
			for _, text := range m.seen {
				if strings.Contains(text, "STOPPING=1") {
					t.Errorf("%q was sent by the old process", text)
				}
			}
			syscall.Kill(pid, syscall.SIGTERM)
			m.wait("STOPPING=1")
			b.waitGone(pid)
			for _, file := range []string{"pid", "run/" + hostProgram + ".pid"} {
				if _, err := pidfile.Read(b.path(file)); !errors.Is(err, pidfile.ErrNotRunning) {
					t.Errorf("pid file %s: %v, want that it is not running", file, err)
				}
			}
		})
	}
}

// TestWatchdog checks that signs of life come, but not while the program is not
// healthy, or hangs.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	m := b.manager()
	b.setenv("WATCHDOG_USEC", "40000")
	// The manager names the process that it has started: here the shell, then
	// the command that starts the daemon.
	cmd := b.command("-d", "-c", b.conf(hostConf))
	sh := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `WATCHDOG_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)...)
	sh.Env, sh.Dir = cmd.Env, cmd.Dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pid := b.pid()
	for range 3 {
		m.wait("WATCHDOG=1")
	}
	for text, logged := range map[string]string{"": "err=sick", "hang": "the process hangs"} {
		if err := os.WriteFile(b.path("sick"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it says that it is not well", func() bool { return strings.Count(b.log(), logged) >= 2 })
		// What was sent before that is still to be read; then nothing comes.
		m.drain()
		before := strings.Count(b.log(), logged)
		eventually(t, "it has been asked three times more", func() bool { return strings.Count(b.log(), logged) >= before+3 })
		if left := m.drain(); len(left) > 0 {
			t.Errorf("after %q: messages %q, want none", logged, left)
		}
		os.Remove(b.path("sick"))
		m.wait("WATCHDOG=1")
	}
	b.stop(pid)
}

// drain returns the messages that have come.
func (m *manager) drain() (list []string) {
	b := make([]byte, 4096)
	for {
		m.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := m.conn.Read(b)
		if err != nil {
			return list
		}
		list = append(list, string(b[:n]))
	}
}

// TestSocketActivation starts a server as a service manager does that has
// bound its sockets. A shell puts its own process id into the environment.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprintf("daemon=%t", background), func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			tcp := listenFile(t, "tcp", "127.0.0.1:0")
			unix := listenFile(t, "unix", b.path("s"))
			spare := listenFile(t, "tcp", "127.0.0.1:0")
			args := []string{"--listen", "web=127.0.0.1:0", "-c", b.conf(hostConf)}
			if background {
				args = append(args, "-d")
			}
			cmd := b.command(args...)
			sh := exec.CommandContext(t.Context(), "sh", append([]string{"-c",
				`LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=web:unknown:spare exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)...)
			sh.Env, sh.Dir, sh.ExtraFiles = cmd.Env, cmd.Dir, []*os.File{tcp.file, unix.file, spare.file}
			var out strings.Builder
			sh.Stdout, sh.Stderr = &out, &out
			if err := sh.Start(); err != nil {
				t.Fatal(err)
			}
			pid := sh.Process.Pid
			if background {
				if err := sh.Wait(); err != nil {
					t.Fatalf("%v: %s%s", err, out.String(), b.log())
				}
				pid = b.pid()
			}
			for _, l := range []passed{tcp, unix} {
				c, err := net.Dial(l.addr.Network(), l.addr.String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				send(t, c, "a")
				receive(t, c, 'a')
			}
			spare.file.Close()
			eventually(t, "a socket that nobody wants is closed", func() bool {
				c, err := net.Dial("tcp", spare.addr.String())
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			syscall.Kill(pid, syscall.SIGTERM)
			if background {
				b.waitGone(pid)
			} else {
				sh.Wait()
			}
			if _, err := os.Lstat(b.path("s")); err != nil {
				t.Errorf("the file of a socket of the service manager was removed: %v", err)
			}
		})
	}
}

// A passed socket is bound by the service manager.
type passed struct {
	addr net.Addr
	file *os.File
}

// listenFile binds a socket.
func listenFile(t *testing.T, network, addr string) passed {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if ul, ok := ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return passed{ln.Addr(), f}
}

// TestSystemdSocketActivate uses the real program.
func TestSystemdSocketActivate(t *testing.T) {
	activate := testtool.Look(t, "systemd-socket-activate")
	t.Parallel()
	b := newBox(t)
	cmd := b.command()
	args := append([]string{"--listen=" + b.path("s"), "--fdname=web"}, environment(b.env)...)
	sa := exec.CommandContext(t.Context(), activate, append(append(args, cmd.Path), cmd.Args[1:]...)...)
	sa.Env, sa.Dir = cmd.Env, cmd.Dir
	var out strings.Builder
	sa.Stdout, sa.Stderr = &out, &out
	if err := sa.Start(); err != nil {
		t.Fatal(err)
	}
	defer sa.Wait()
	defer sa.Process.Signal(syscall.SIGTERM) // by then it is the server
	eventually(t, "the socket is bound", func() bool {
		_, err := os.Lstat(b.path("s"))
		return err == nil
	})
	var c net.Conn
	eventually(t, "it can be connected to", func() bool {
		var err error
		c, err = net.Dial("unix", b.path("s"))
		return err == nil
	})
	defer c.Close()
	send(t, c, "a")
	receive(t, c, 'a')
	eventually(t, "it is the server that runs", func() bool {
		st, err := b.client(sa.Process.Pid).Status(t.Context())
		return err == nil && st.PID == sa.Process.Pid && len(st.Listeners) == 1
	})
}

// environment returns the options that pass variables on.
func environment(env []string) (options []string) {
	for _, v := range env {
		options = append(options, "--setenv="+v)
	}
	return options
}

// TestUnitFiles checks what is shipped: every unit is one that systemd
// understands, and the service is well confined.
func TestUnitFiles(t *testing.T) {
	files, err := filepath.Glob("../contrib/systemd/*.*")
	if err != nil || len(files) < 3 {
		t.Fatalf("unit files: %q, %v", files, err)
	}
	analyze := testtool.Look(t, "systemd-analyze")
	var services []string
	for _, f := range files {
		if strings.HasSuffix(f, ".service") {
			services = append(services, f)
		}
	}
	checkUnits(t, analyze, files)
	for _, f := range services {
		out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", f).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "exposure level") {
			t.Skipf("systemd-analyze does not work here: %v: %s", err, out)
		}
		_, after, _ := strings.Cut(string(out), "Overall exposure level for")
		_, after, _ = strings.Cut(after, ": ")
		score, err := strconv.ParseFloat(strings.Fields(after + " x")[0], 64)
		if err != nil || score > 2.0 {
			t.Errorf("%s: exposure %v, %v, want at most 2.0\n%s", f, score, err, out)
		}
	}
}

// checkUnits fails t unless systemd has nothing to say about units. Their programs
// are not installed here, so that another stands for them.
func checkUnits(t *testing.T, analyze string, files []string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"verify", "--man=no", "--no-pager"}
	program := regexp.MustCompile(`(?m)^(Exec\w+=)/\S+`)
	for _, f := range files {
		if strings.HasSuffix(f, ".md") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		unit := filepath.Join(dir, filepath.Base(f))
		if err := os.WriteFile(unit, program.ReplaceAll(text, []byte("${1}/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, unit)
	}
	out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "belay") { // else it is about units of this machine
			t.Errorf("systemd-analyze: %v: %s", err, line)
		}
	}
}
