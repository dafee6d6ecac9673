// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/app/apptest"
	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/internal/testnet"
)

// A place is where processes have their files that only each other should find.
type place struct {
	t   *testing.T
	dir string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "belay") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &place{t, dir}
}

func (p *place) env() []string {
	return []string{"RUNTIME_DIRECTORY=" + p.dir, "XDG_RUNTIME_DIR=/nonexistent", "TMPDIR=" + p.dir, "NOTIFY_SOCKET="}
}

// belay runs belay to its end and returns the exit code and what it printed.
func (p *place) belay(args ...string) (code int, output string) {
	p.t.Helper()
	b := apptest.StartEnv(p.t, "belay", p.env(), args...)
	code = b.Wait()
	return code, b.Output()
}

// proxy starts belay proxy in the background and returns its address. It is
// killed when the test ends.
func (p *place) proxy(args ...string) (addr string) {
	p.t.Helper()
	b := apptest.StartEnv(p.t, "belay", p.env(), append([]string{"proxy", "--listen", "127.0.0.1:0", "-d"}, args...)...)
	if code := b.Wait(); code != 0 {
		p.t.Fatalf("exit code %d: %s", code, b.Output())
	}
	p.t.Cleanup(p.killAll)
	return b.Find(`belay listens on http://(\S+) for`)
}

// killAll kills what still has a control socket.
func (p *place) killAll() {
	sockets, _ := filepath.Glob(filepath.Join(p.dir, "control.*.sock"))
	for _, s := range sockets {
		// The context of the test has ended by now.
		if st, err := control.NewClient(s).Status(context.Background()); err == nil && st.PID > 1 {
			syscall.Kill(st.PID, syscall.SIGKILL)
		}
	}
}

// status returns what belay status --json prints.
func (p *place) status(args ...string) (st control.Status) {
	p.t.Helper()
	code, out := p.belay(append([]string{"status", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &st); err != nil || code != 0 {
		p.t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	return st
}

// check fails t unless belay ends with the code and prints text.
func (p *place) check(code int, text string, args ...string) {
	p.t.Helper()
	if got, out := p.belay(args...); got != code || !strings.Contains(out, text) {
		p.t.Errorf("belay %s: exit code %d, want %d; printed %q, want %q", strings.Join(args, " "), got, code, out, text)
	}
}

func TestNothingRuns(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	missing := filepath.Join(p.dir, "none.pid")
	for _, args := range [][]string{{"status"}, {"stop"}, {"stop", "--now"}, {"reload"}, {"upgrade"}} {
		p.check(exitNotRunning, "not running: no process of belay", append(args, "--name", "belay")...)
		p.check(exitNotRunning, "not running: there is no pid file "+missing, append(args, "--pid-file", missing)...)
		p.check(exitNotRunning, "not running: no process 4194304", append(args, "--pid", "4194304")...)
		p.check(exitFailed, "want one of them", append(args, "--pid", "1", "--pid-file", missing)...)
	}
}

func TestStatusAndStop(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	addr := p.proxy("--to", origin)
	if res, err := http.Get("http://" + addr); err != nil {
		t.Fatal(err)
	} else {
		res.Body.Close()
	}
	reject(t, addr)
	st := p.status()
	if st.Requests.Rejected != 1 || !maps.Equal(st.Requests.RejectedBy, map[string]int64{"malformed": 1}) {
		t.Errorf("status has requests %+v, want one that was malformed", st.Requests)
	}
	p.check(0, "rejected     1: 1 malformed\n", "status")
	if st.Phase != "running" || st.Requests.Total != 1 || len(st.Listeners) != 1 || st.Listeners[0].Addr != addr || !st.Daemon {
		t.Errorf("status = %+v, want that it runs on %s and had one request", st, addr)
	}
	p.check(0, fmt.Sprintf("process %d, running", st.PID), "status", "--ready")
	p.check(0, "listener     tcp "+addr, "status", "--pid-file", st.PIDFile)
	p.check(exitFailed, "no configuration file", "reload")
	p.check(0, fmt.Sprintf("process %d has ended", st.PID), "stop")
	p.check(exitNotRunning, "not running", "status")
}

// TestWithoutControlSocket checks what can be done with a process that has lost
// its socket, and what is said about the rest.
func TestWithoutControlSocket(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	p.proxy("--to", origin)
	st := p.status()
	t.Cleanup(func() {
		if t.Failed() {
			syscall.Kill(st.PID, syscall.SIGKILL)
		}
	})
	if err := os.Remove(filepath.Join(p.dir, control.SocketName(st.PID))); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"status", "reload", "upgrade"} {
		p.check(exitFailed, "no control socket here: it can only be told by signals", command, "--pid-file", st.PIDFile)
	}
	p.check(0, fmt.Sprintf("process %d has ended", st.PID), "stop", "--pid-file", st.PIDFile)
	p.check(exitNotRunning, "not running", "stop", "--pid-file", st.PIDFile)
}

// reject has a request refused.
func reject(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
		t.Fatalf("a request without Host was answered with %q, want 400", got)
	}
}

func TestSeveralRun(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	for i := range 2 {
		conf := filepath.Join(p.dir, fmt.Sprintf("conf%d.yaml", i))
		text := fmt.Sprintf("pid_file: %s/%d.pid\nupgrade_sock: %s/%d.sock\n", p.dir, i, p.dir, i)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.proxy("--to", origin, "-c", conf)
	}
	p.check(exitFailed, "several are running", "status")
	for i := range 2 {
		conf := filepath.Join(p.dir, fmt.Sprintf("conf%d.yaml", i))
		st := p.status("-c", conf)
		if st.ConfFile != conf {
			t.Errorf("status -c %s is of %s", conf, st.ConfFile)
		}
		p.check(0, "process "+strconv.Itoa(st.PID), "status", "--pid", strconv.Itoa(st.PID))
		p.check(0, "has ended", "stop", "--now", "-c", conf)
	}
}

func TestReloadFile(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	conf := filepath.Join(p.dir, "conf.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("threads: 1\n")
	p.proxy("--to", origin, "-c", conf, "--grace-period", "3s")
	p.check(0, "has not changed anything", "reload")
	write("threads: 2\ngrace_period_seconds: 9\nmax_retries: 7\n") // the flag has the grace period
	p.check(0, "applied: threads; what needs an upgrade: max_retries", "reload")
	write("threads: many\nthread: 1\n")
	p.check(exitFailed, "conf.yaml:1:10: threads is wrong", "reload")
	p.check(exitFailed, `conf.yaml:2:1: thread is not a known key, did you mean "threads"?`, "reload")
	p.check(0, "running", "status", "--ready")
	p.check(0, "has ended", "stop")
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	addr := p.proxy("--to", origin)
	l := startLoad(t, addr)
	l.waitFor(t, 100, "one")
	for range 2 {
		old := p.status()
		p.check(0, fmt.Sprintf("process %d has been replaced", old.PID), "upgrade")
		now := p.status()
		if now.PID == old.PID || now.Listeners[0].Addr != addr {
			t.Errorf("after the upgrade: process %d on %v, want another than %d on %s", now.PID, now.Listeners, old.PID, addr)
		}
		l.waitFor(t, 100, "one")
	}
	l.end(t)
	p.check(0, "has ended", "stop")
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the old ones end, too
		if left, _ := filepath.Glob(filepath.Join(p.dir, "*.sock")); len(left) == 0 {
			break
		} else if time.Now().After(late) {
			t.Fatalf("left: %q", left)
		}
	}
}

func TestWithOptions(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"belay proxy --to a", "belay proxy --to a -u -d"},
		{"belay proxy -d --to a", "belay proxy -d --to a -u"},
		{"belay proxy --to a -u -d", "belay proxy --to a -u -d"},
		{"lb -c f -- x -d", "lb -c f -u -d -- x -d"},
	}
	for _, tt := range tests {
		if got := strings.Join(withOptions(strings.Fields(tt.in), "-u", "-d"), " "); got != tt.want {
			t.Errorf("withOptions(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestUpgradeWithoutWaiting checks that belay upgrade knows what has become of
// the new process, though the settings say that a start does not wait.
func TestUpgradeWithoutWaiting(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	conf := filepath.Join(p.dir, "conf.yaml")
	if err := os.WriteFile(conf, []byte("daemon_wait_for_ready: false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := testnet.FreeAddr(t)
	if code, out := p.belay("proxy", "-d", "-c", conf, "--listen", addr, "--to", origin); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	t.Cleanup(p.killAll)
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if code, out := p.belay("status", "--ready"); code == 0 {
			break
		} else if time.Now().After(late) {
			t.Fatalf("it is not ready: %s", out)
		}
	}
	old := p.status()
	p.check(0, fmt.Sprintf("process %d has been replaced", old.PID), "upgrade")
	if now := p.status(); now.PID == old.PID {
		t.Errorf("process %d still runs", old.PID)
	}
	p.check(exitFailed, "serves on", "upgrade", "--", "proxy", "-c", conf, "--listen", "192.0.2.1:1", "--to", origin)
	p.check(0, "has ended", "stop")
}

// TestUpgradeUnderServiceManager runs belay upgrade as ExecReload= does: the
// manager hears of the new process, and gets signs of life from it, though it
// has told only the first one that it wants them.
func TestUpgradeUnderServiceManager(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	path := filepath.Join(p.dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	wait := func(want string) {
		t.Helper()
		var seen []string
		manager.SetReadDeadline(time.Now().Add(20 * time.Second))
		for buf := make([]byte, 4096); ; {
			n, err := manager.Read(buf)
			if err != nil {
				t.Fatalf("no %s: %v; messages %q", want, err, seen)
			}
			if strings.Contains("\n"+string(buf[:n])+"\n", "\n"+want+"\n") {
				return
			}
			seen = append(seen, string(buf[:n]))
		}
	}
	env := append(p.env(), "NOTIFY_SOCKET="+path)
	first := apptest.StartEnv(t, "belay", append(env, "WATCHDOG_USEC=200000", "WATCHDOG_PID="), "proxy", "--listen", testnet.FreeAddr(t), "--to", origin)
	t.Cleanup(p.killAll)
	wait("READY=1")
	wait("WATCHDOG=1")
	reload := apptest.StartEnv(t, "belay", append(env, "WATCHDOG_USEC=", "WATCHDOG_PID="), "upgrade")
	if code := reload.Wait(); code != 0 {
		t.Fatalf("exit code %d: %s", code, reload.Output())
	}
	if code := first.Wait(); code != 0 {
		t.Errorf("the old process: exit code %d", code)
	}
	wait(fmt.Sprintf("MAINPID=%d", p.status().PID))
	for range 3 { // nobody but the new process is left to send them
		wait("WATCHDOG=1")
	}
	p.check(0, "has ended", "stop")
	wait("STOPPING=1")
}

// TestUpgradeOfLink does what a package manager does: what a symbolic link leads
// to is replaced.
func TestUpgradeOfLink(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	link := filepath.Join(p.dir, "belay")
	if err := os.Symlink(os.Args[0], link); err != nil {
		t.Fatal(err)
	}
	b := apptest.StartPath(t, link, "belay", p.env(), "proxy", "-d", "--listen", testnet.FreeAddr(t), "--to", origin)
	if code := b.Wait(); code != 0 {
		t.Fatalf("exit code %d: %s", code, b.Output())
	}
	t.Cleanup(p.killAll)
	p.check(0, "has been replaced", "upgrade")
	next := filepath.Join(p.dir, "next")
	if err := os.WriteFile(next, []byte("#!/bin/sh\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(next, link); err != nil {
		t.Fatal(err)
	}
	p.check(exitFailed, "exit status 7", "upgrade") // the new version, which is not a good one
	p.check(0, "has ended", "stop")
}

// TestFailedUpgradeIsQuiet checks that the line for those who wait for the start
// does not come again when an upgrade fails.
func TestFailedUpgradeIsQuiet(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	conf := filepath.Join(p.dir, "conf.yaml")
	if err := os.WriteFile(conf, []byte("upgrade_sock_connect_accept_max_retries: -1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := apptest.StartEnv(t, "belay", p.env(), "proxy", "-c", conf, "--listen", "127.0.0.1:0", "--to", origin)
	const line = "belay listens on"
	b.Find(line)
	b.Signal(syscall.SIGQUIT)
	b.Find("no upgrade: no new process appeared")
	b.Signal(syscall.SIGTERM)
	if code := b.Wait(); code != 0 || strings.Count(b.Output(), line) != 1 {
		t.Errorf("exit code %d, printed %d times that it listens:\n%s", code, strings.Count(b.Output(), line), b.Output())
	}
}

// TestErrorIsPrintedOnce checks that of a daemon and the command that starts it
// only one says why it cannot be.
func TestErrorIsPrintedOnce(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	code, out := p.belay("proxy", "-d", "--listen", "192.0.2.1:1", "--to", origin)
	if n := strings.Count(out, "cannot assign requested address"); code != exitFailed || n != 1 {
		t.Errorf("exit code %d, printed %d times why: %s", code, n, out)
	}

	// With a log it is in there, too, unless that cannot be opened.
	log := filepath.Join(t.TempDir(), "log")
	for conf, wantLog := range map[string]int{
		"error_log: " + log: 1,
		"error_log: " + log + "\npid_file: /nonexistent/pid": 0,
		"error_log: /nonexistent/log":                        0,
	} {
		os.Remove(log)
		file := filepath.Join(t.TempDir(), "conf.yaml")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := p.belay("proxy", "-d", "-c", file, "--listen", "192.0.2.1:1", "--to", origin)
		if n := strings.Count(out, "belay: "); code != exitFailed || n != 1 {
			t.Errorf("%s: exit code %d, printed %d times why: %s", conf, code, n, out)
		}
		written, err := os.ReadFile(log)
		if n := strings.Count(string(written), "belay: "); n != wantLog || wantLog > 0 && err != nil {
			t.Errorf("%s: %d times in the log (%v), want %d: %s", conf, n, err, wantLog, written)
		}
	}
}

// TestUpgradeOfProcess1 checks that a container is not left without the process
// that it ends with.
func TestUpgradeOfProcess1(t *testing.T) {
	t.Parallel()
	err := upgrade(t.Context(), control.Status{PID: 1, Phase: "running"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "replace the container") {
		t.Errorf("upgrade = %v, want a refusal", err)
	}
}

// TestUpgradeFails checks that the old process serves on if the new one cannot.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p := newPlace(t)
	addr := p.proxy("--to", origin)
	st := p.status()
	serves := fmt.Sprintf("process %d serves on", st.PID)
	p.check(exitFailed, serves, "upgrade", "--binary", "/nonexistent/belay")
	p.check(exitFailed, serves, "upgrade", "--binary", "/bin/false")
	p.check(exitFailed, serves, "upgrade", "--", "proxy", "--to", "nonsense")
	p.check(exitFailed, serves, "upgrade", "--", "proxy", "--listen", "192.0.2.1:1", "--to", origin)
	if now := p.status(); now.PID != st.PID || now.Phase != "running" {
		t.Errorf("status = %+v, want that process %d runs", now, st.PID)
	}
	res, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	p.check(0, "has ended", "stop")
}

// TestDeployPage runs the commands of belay in the guide.
func TestDeployPage(t *testing.T) {
	t.Parallel()
	const page = "../../docs/guide/deploy.md"
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	_, other := startOrigin(t, "127.0.0.1:0", "two")
	sh := apptest.NewShell(t, map[string]string{"belay": "belay"})
	adapt := strings.NewReplacer("127.0.0.1:8080", "unix:"+filepath.Join(sh.Dir, "http"),
		"127.0.0.1:3001", origin, "127.0.0.1:3002", other).Replace

	blocks := apptest.Blocks(t, page, "sh belay")
	if len(blocks) != 1 {
		t.Fatalf("%d blocks, want 1: adapt the test", len(blocks))
	}
	sh.Write("belay.yaml", "threads: 2\n")
	out := sh.Run(adapt(blocks[0]))
	for _, want := range []string{"belay listens on", "running for", "has not changed anything", "has been replaced", "has ended"} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands printed %q, want %q", out, want)
		}
	}
	sh.WaitEnded()

	// What controls a program of another name, which is belay here, too.
	blocks = apptest.Blocks(t, page, "sh load_balancer")
	ask := blocks[len(blocks)-1]
	sh.Write("conf.yaml", "pid_file: "+filepath.Join(sh.Dir, "load_balancer.pid")+"\n")
	out = sh.Run(adapt("belay proxy -d -c conf.yaml --listen 127.0.0.1:8080 --to 127.0.0.1:3001\n" + ask))
	if !strings.Contains(out, "has ended") {
		t.Errorf("the commands printed %q", out)
	}
	sh.WaitEnded()
}
