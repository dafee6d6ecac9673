// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/pidfile"
)

// A fake is a process that can be controlled.
type fake struct {
	dir    string
	status Status
}

// newFakes makes a runtime directory and a control socket in it for each
// status. $RUNTIME_DIRECTORY leads to it.
func newFakes(t *testing.T, list ...Status) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("RUNTIME_DIRECTORY", dir)
	for _, st := range list {
		f := &fake{dir, st}
		ln, err := net.Listen("unix", filepath.Join(dir, SocketName(st.PID)))
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: f}
		go srv.Serve(ln) // ends with Close
		t.Cleanup(func() { srv.Close() })
	}
	return dir
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /status":
		json.NewEncoder(w).Encode(f.status)
	case "POST /reload":
		w.WriteHeader(http.StatusUnprocessableEntity)
		json.NewEncoder(w).Encode(Failure{Problems: []string{"a:1:1: b", "a:2:1: c"}})
	case "POST /stop":
		json.NewEncoder(w).Encode(Drain{Connections: 1, SecondsLeft: 3})
	default:
		http.NotFound(w, r)
	}
}

func TestFind(t *testing.T) {
	own := os.Getpid()
	serving, draining := Status{PID: own, Phase: "running"}, Status{PID: 999999998, Phase: "draining"}
	tests := []struct {
		name   string
		there  []Status
		target Target
		want   string // pid, or in the error
	}{
		{"nobody", nil, Target{Program: "prog"}, "not running: no process of prog"},
		{"one", []Status{serving}, Target{Program: "prog"}, fmt.Sprint(own)},
		{"one drains", []Status{draining}, Target{Program: "prog"}, "999999998"},
		{"old and new", []Status{serving, draining}, Target{Program: "prog"}, fmt.Sprint(own)},
		{"during an upgrade", []Status{{PID: own, Phase: "upgrading"}, {PID: 999999999, Phase: "starting"}}, Target{Program: "prog"}, fmt.Sprint(own)},
		{"the old one", []Status{serving, draining}, Target{Program: "prog", PID: 999999998}, "999999998"},
		{"two", []Status{serving, {PID: 999999999, Phase: "running"}}, Target{Program: "prog"}, "several are running: processes "},
		{"another", []Status{serving}, Target{Program: "prog", PID: 999999999}, "not running: no process 999999999"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			newFakes(t, tt.there...)
			_, st, err := Find(t.Context(), tt.target)
			if got := fmt.Sprint(st.PID, err); !strings.Contains(got, tt.want) {
				t.Errorf("Find = %s, want %s", got, tt.want)
			}
			if strings.HasPrefix(tt.want, "not running") != errors.Is(err, ErrNotRunning) {
				t.Errorf("Find = %v, is ErrNotRunning: %t", err, errors.Is(err, ErrNotRunning))
			}
		})
	}
}

func TestFindByPIDFile(t *testing.T) {
	dir := newFakes(t, Status{PID: os.Getpid(), Phase: "running"})
	path := filepath.Join(dir, "p.pid")
	if _, _, err := Find(t.Context(), Target{Program: "prog", PIDFile: path}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without file: %v, want not running", err)
	}
	f, err := pidfile.Create(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	c, st, err := Find(t.Context(), Target{Program: "prog", PIDFile: path})
	if err != nil || st.PID != os.Getpid() || c.Socket() != filepath.Join(dir, SocketName(os.Getpid())) {
		t.Errorf("Find = %v, %+v, %v, want this process", c, st, err)
	}
	os.Remove(filepath.Join(dir, SocketName(os.Getpid())))
	_, _, err = Find(t.Context(), Target{Program: "prog", PIDFile: path})
	if no, ok := errors.AsType[*NoSocketError](err); !ok || no.PID != os.Getpid() {
		t.Errorf("without socket: %v, want a NoSocketError", err)
	}
}

// TestSignal checks that a process gets no signal because it has got the number
// of one that has ended.
func TestSignal(t *testing.T) {
	t.Parallel()
	if _, ok := startTime(os.Getpid()); !ok {
		t.Skip("this system does not tell when a process was started")
	}
	path := filepath.Join(t.TempDir(), "p.pid")
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	no := &NoSocketError{cmd.Process.Pid, path}
	for _, tt := range []struct {
		age   time.Duration // of the pid file
		ended bool
	}{{time.Hour, true}, {0, false}} {
		err := os.WriteFile(path, nil, 0o600)
		if err == nil {
			at := time.Now().Add(-tt.age)
			err = os.Chtimes(path, at, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := no.Signal(syscall.SIGTERM); errors.Is(err, ErrNotRunning) != tt.ended {
			t.Errorf("with a file of %v ago: %v, want ErrNotRunning: %t", tt.age, err, tt.ended)
		}
	}
	cmd.Wait()
	if st := cmd.ProcessState.Sys().(syscall.WaitStatus); st.Signal() != syscall.SIGTERM {
		t.Errorf("the process ended by %v, want SIGTERM", cmd.ProcessState)
	}
	if err := no.Signal(syscall.SIGTERM); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after its end: %v, want ErrNotRunning", err)
	}
}

func TestReloadFailure(t *testing.T) {
	newFakes(t, Status{PID: os.Getpid()})
	c, _, err := Find(t.Context(), Target{Program: "prog"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Reload(t.Context())
	if f, ok := errors.AsType[*Failure](err); !ok || f.Error() != "a:1:1: b\na:2:1: c" {
		t.Errorf("Reload = %v, want both problems", err)
	}
}

// TestStopWaits checks that Stop returns when the process has ended, and not
// before.
func TestStopWaits(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	newFakes(t, Status{PID: cmd.Process.Pid})
	c, st, err := Find(t.Context(), Target{Program: "prog"})
	if err != nil {
		t.Fatal(err)
	}
	var seen []Drain
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Stop(ctx, st.PID, false, func(d Drain) { seen = append(seen, d) }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop of a process that goes on = %v, want a timeout", err)
	}
	if len(seen) != 1 || seen[0].Connections != 1 {
		t.Errorf("progress = %+v, want one", seen)
	}
	cmd.Process.Kill() // nobody waits for it yet
	if err := c.Stop(t.Context(), st.PID, false, nil); err != nil {
		t.Errorf("Stop of a process that has ended = %v", err)
	}
	cmd.Wait()
}

func TestRemoveStale(t *testing.T) {
	dir := newFakes(t, Status{PID: os.Getpid()})
	ln, err := net.Listen("unix", filepath.Join(dir, SocketName(999999999)))
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	if err := os.WriteFile(filepath.Join(dir, SocketName(999999998)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	RemoveStale(dir)
	for pid, want := range map[int]bool{os.Getpid(): true, 999999999: false, 999999998: true} {
		if _, err := os.Lstat(filepath.Join(dir, SocketName(pid))); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", SocketName(pid), err == nil, want)
		}
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		got  fmt.Stringer
		want string
	}{
		{Drain{12, 3, 41.2}, "draining: 12 connections, 3 requests, 41 s left"},
		{Drain{1, 1, -1}, "draining: 1 connection, 1 request"},
		{Reload{File: "f"}, "f has not changed anything"},
		{Reload{}, "reload has not changed anything"},
		{Reload{Applied: []string{"certificates"}}, "reload applied: certificates"},
		{Reload{File: "f", Applied: []string{"a", "b"}}, "f applied: a, b"},
		{Reload{File: "f", NeedUpgrade: []string{"c"}}, "f has changes that need an upgrade: c"},
		{Reload{File: "f", Applied: []string{"a"}, NeedUpgrade: []string{"c"}}, "f applied: a; what needs an upgrade: c"},
	}
	for _, tt := range tests {
		if got := tt.got.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	for _, tt := range []struct {
		requests Requests
		want     string // behind the line of the requests
	}{
		{Requests{}, "\n"},
		{Requests{Rejected: 3}, "\n  rejected     3\n"},
		{Requests{Rejected: 1, RejectedBy: map[string]int64{"late": 1}}, "\n  rejected     1: 1 late\n"},
		{
			Requests{Rejected: 30, RejectedBy: map[string]int64{"flood": 2, "late": 10, "malformed": 16, "too_large": 2}},
			"\n  rejected     30: 16 malformed, 10 late, 2 flood, 2 too large\n",
		},
	} {
		if text := (Status{Requests: tt.requests}).Text(); !strings.HasSuffix(text, "since the start"+tt.want) {
			t.Errorf("Text = %q, want %q at its end", text, tt.want)
		}
	}
	if text, want := (Status{Program: "p", PID: 7, Phase: "running", Uptime: 75}).Text(), "p: process 7, running for 1m15s\n"; !strings.HasPrefix(text, want) {
		t.Errorf("Text = %q, want %q", text, want)
	}
	st := Status{
		Program: "p", PID: 7, Phase: "draining", Error: "sick", Uptime: 3.14, ConfFile: "/c", Drain: &Drain{Connections: 2},
		Listeners: []Listener{{Service: "s", Network: "tcp", Addr: "a:1", Connections: 2}},
	}
	for _, want := range []string{"p: process 7, draining, not healthy: sick, started 3.1s ago\n", `tcp a:1, service "s": 2 connections`, "/c\n", "draining: 2"} {
		if text := st.Text(); !strings.Contains(text, want) {
			t.Errorf("Text = %q, want %q", text, want)
		}
	}
}

func ExampleFind() {
	_, _, err := Find(context.Background(), Target{Program: "a-program-that-does-not-run"})
	fmt.Println(errors.Is(err, ErrNotRunning))
	// Output: true
}
