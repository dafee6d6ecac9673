// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/internal/testtool"
)

func TestControlStatus(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	pid := b.daemon("-c", b.conf(hostConf))
	c := b.dial()
	send(t, c, "a")
	receive(t, c, 'a')
	st, err := b.client(pid).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.PID != pid || st.Program != hostProgram || st.Phase != "running" || !st.Daemon || st.Uptime <= 0 || st.Drain != nil {
		t.Errorf("Status = %+v", st)
	}
	if len(st.Listeners) != 1 || st.Listeners[0].Connections != 1 || st.Connections != 1 || st.Listeners[0].Network != "unix" {
		t.Errorf("Listeners = %+v, want one with one connection", st.Listeners)
	}
	if text := st.Text(); !strings.Contains(text, fmt.Sprintf("process %d, running", pid)) {
		t.Errorf("Text = %q", text)
	}
	if info, err := os.Stat(b.path("run/" + control.SocketName(pid))); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v, %v, want mode 0600", info, err)
	}
	b.stop(pid)
	if _, err := b.client(pid).Status(t.Context()); err == nil {
		t.Error("Status of a process that has ended works")
	}
}

// TestControlStop checks that Stop waits for what is in hand and tells how far
// it has come, and that it does not wait with now.
func TestControlStop(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		t.Run(fmt.Sprintf("now=%t", now), func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			pid := b.daemon("-c", b.conf(hostConf+"grace_period_seconds: 2s\n"))
			c := b.dial()
			send(t, c, "w") // it will wait
			eventually(t, "the connection counts", func() bool {
				st, err := b.client(pid).Status(t.Context())
				return err == nil && st.Connections == 1
			})
			var progress []control.Drain
			if err := b.client(pid).Stop(t.Context(), pid, now, func(d control.Drain) { progress = append(progress, d) }); err != nil {
				t.Fatal(err)
			}
			if alive := b.isAlive(pid); alive {
				t.Error("the process is still there after Stop")
			}
			if now != (len(progress) == 0) {
				t.Errorf("progress = %+v, want some unless now", progress)
			}
			for _, d := range progress {
				if d.Connections > 1 || d.SecondsLeft < 0 || d.SecondsLeft > 2 {
					t.Errorf("progress = %+v, want at most 1 connection and 0 to 2 s left", d)
				}
			}
		})
	}
}

// isAlive reports whether a process does anything yet.
func (b *box) isAlive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return alive(pid)
	}
	return !strings.Contains(string(text), ") Z ") && !strings.Contains(string(text), ") X ")
}

func TestReload(t *testing.T) {
	t.Parallel()
	const start = hostConf + "threads: 2\nmine: {word: a, size: 1}\n"
	tests := []struct {
		name    string
		mode    string // hostEnv
		text    string
		applied []string
		later   []string
		problem string
	}{
		{"the same", "1", start, nil, nil, ""},
		{"settings", "1", strings.ReplaceAll(start, "threads: 2", "threads: 3\ngrace_period_seconds: 7"), []string{"threads", "grace_period_seconds"}, nil, ""},
		{"needs an upgrade", "1", start + "max_retries: 9\nuser: root\n", nil, []string{"user", "max_retries"}, ""},
		{"section", "1", strings.ReplaceAll(start, "word: a", "word: b"), nil, []string{"mine"}, ""},
		{"section with hook", "reloads", strings.ReplaceAll(start, "word: a", "word: b"), []string{"mine"}, nil, ""},
		{"refused by hook", "reloads", strings.ReplaceAll(start, "word: a", "word: refused") + "threads: 4", nil, nil, ""},
		{"bad", "1", start + "uesr: me\nmine: 3\n", nil, nil, "conf.yaml:"},
		{"refused", "reloads", strings.ReplaceAll(start, "word: a", "word: refused"), nil, nil, "word: this word is refused"},
		{"log", "1", strings.ReplaceAll(start, "${}/log", "${}/other.log"), []string{"error_log"}, nil, ""},
		{"bad log", "1", strings.ReplaceAll(start, "${}/log", "/nonexistent/log"), nil, nil, "error_log: open /nonexistent/log"},
	}
	for _, tt := range tests {
		if tt.name == "refused by hook" {
			tt.problem = "conf.yaml:"
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.setenv(hostEnv, tt.mode)
			pid := b.daemon("-c", b.conf(start))
			b.conf(tt.text)
			r, err := b.client(pid).Reload(t.Context())
			if tt.problem != "" {
				f, ok := errors.AsType[*control.Failure](err)
				if !ok || !strings.Contains(f.Error(), tt.problem) {
					t.Errorf("Reload = %v, want %q", err, tt.problem)
				}
			} else if err != nil || fmt.Sprint(r.Applied) != fmt.Sprint(tt.applied) || fmt.Sprint(r.NeedUpgrade) != fmt.Sprint(tt.later) {
				if !sameSet(r.Applied, tt.applied) || !sameSet(r.NeedUpgrade, tt.later) || err != nil {
					t.Errorf("Reload = %+v, %v, want applied %q, later %q", r, err, tt.applied, tt.later)
				}
			}
			// A signal does the same.
			syscall.Kill(pid, syscall.SIGHUP)
			want := "configuration reloaded"
			if tt.problem != "" {
				want = "configuration not reloaded"
			}
			eventually(t, want, func() bool {
				other, _ := os.ReadFile(b.path("other.log"))
				return strings.Contains(b.log()+string(other), want)
			})
			b.stop(pid)
		})
	}
}

// sameSet reports whether two lists have the same words in them.
func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	have := make(map[string]bool)
	for _, s := range a {
		have[s] = true
	}
	for _, s := range b {
		if !have[s] {
			return false
		}
	}
	return true
}

func TestReloadWithoutFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	pid := b.daemon()
	if _, err := b.client(pid).Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "no configuration file") {
		t.Errorf("Reload = %v, want that there is no configuration file", err)
	}
	b.stop(pid)
}

// A part of the program that takes part in reloads needs no file for that.
func TestReloadOfProgramWithoutFile(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setenv(hostEnv, "reloads")
	pid := b.daemon()
	r, err := b.client(pid).Reload(t.Context())
	if err != nil || r.File != "" || !sameSet(r.Applied, []string{"mine"}) || len(r.NeedUpgrade) != 0 {
		t.Errorf("Reload = %+v, %v, want that mine is applied", r, err)
	}
	b.stop(pid)
}

// TestControlRefusesOthers checks that no other user gets an answer, not even
// one who can open the socket.
func TestControlRefusesOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	curl := testtool.Look(t, "curl")
	t.Parallel()
	b := newBox(t)
	pid := b.daemon("-c", b.conf(hostConf))
	socket := b.path("run/" + control.SocketName(pid))
	for _, f := range []string{b.dir, b.path("run"), socket} {
		if err := os.Chmod(f, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for uid, ok := range map[uint32]bool{0: true, 65532: false} {
		cmd := exec.CommandContext(t.Context(), curl, "-s", "--unix-socket", socket, "http://x/status")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.Output(); (err == nil && len(out) > 0) != ok {
			t.Errorf("user %d: answer %q, %v", uid, out, err)
		}
	}
	b.stop(pid)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	pid := b.daemon("-c", b.conf(hostConf+"admin_listen: unix:${}/admin\n"))
	check := func(path string, want int) {
		t.Helper()
		if got, err := b.get(path, "localhost"); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", path, got, err, want)
		}
	}
	check("/healthz", 200)
	check("/readyz", 200)
	check("/status", 200)
	check("/stop", 404)
	if err := os.WriteFile(b.path("sick"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("/healthz", 503)
	check("/readyz", 503)
	os.Remove(b.path("sick"))

	c := b.dial()
	send(t, c, "w")
	eventually(t, "the connection counts", func() bool {
		st, err := b.client(pid).Status(t.Context())
		return err == nil && st.Connections == 1
	})
	syscall.Kill(pid, syscall.SIGTERM)
	eventually(t, "it is not ready any more", func() bool {
		got, err := b.get("/readyz", "localhost")
		return err == nil && got == 503
	})
	check("/healthz", 200)
	if st, err := b.client(pid).Status(t.Context()); err != nil || st.Drain == nil || st.Drain.Connections != 1 {
		t.Errorf("Status = %+v, %v, want the progress of the drain", st, err)
	}
	syscall.Kill(pid, syscall.SIGTERM) // hastens
	b.waitGone(pid)
}

// TestAdminHosts checks that pages of other sites cannot ask by way of a
// browser on this machine.
func TestAdminHosts(t *testing.T) {
	t.Parallel()
	h := localHosts(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv := httptest.NewServer(h)
	defer srv.Close()
	tests := []struct {
		host string
		want int
	}{
		{"localhost", 200}, {"localhost:9901", 200}, {"127.0.0.1:1", 200}, {"[::1]:1", 200}, {"[::1]", 200},
		{"example.com", 421}, {"127.0.0.1.example.com", 421}, {"10.0.0.1", 421}, {"[2001:db8::1]:80", 421},
	}
	for _, tt := range tests {
		req, err := http.NewRequest(http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("Host %s: %d, want %d", tt.host, res.StatusCode, tt.want)
		}
	}
}

// TestPID1 runs a server as the first process of a PID name space, as in a
// container.
func TestPID1(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	unshare := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.SysProcAttr = cloneNewPID()
		return cmd
	}
	if cloneNewPID() == nil || unshare(exec.CommandContext(t.Context(), "true")).Run() != nil {
		t.Skip("a PID name space cannot be made here")
	}
	if out, err := unshare(b.command("-d")).CombinedOutput(); err == nil || !strings.Contains(string(out), "process 1") {
		t.Errorf("-d: %v, %s, want that it makes no sense", err, out)
	}
	cmd := unshare(b.command("-c", b.conf("error_log: /dev/stdout\n")))
	var stdout strings.Builder
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it accepts", func() bool {
		c, err := net.DialTimeout("unix", b.path("s"), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	eventually(t, "it runs", func() bool {
		st, err := b.client(1).Status(t.Context())
		return err == nil && st.Phase == "running"
	})
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(stdout.String(), "msg=stopped") {
		t.Errorf("exit code %d, standard output %q, want 0 and the log", code, stdout.String())
	}
}
