// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/internal/pidfile"
	"github.com/belay-proxy/belay/listener"
)

// hostEnv makes the test binary a server that may go into the background. The
// value is what it does beside that.
const hostEnv = "BELAY_TEST_HOST"

// hostProgram is what the child is called, so that its files are its own.
const hostProgram = "belayhost"

// A hostSection is a section of its configuration.
type hostSection struct {
	Word string `yaml:"word" default:"none"`
	Size int    `yaml:"size" min:"1"`
}

// hostChild is such a program. It does not return, and lives no longer than a
// minute.
func hostChild() {
	time.AfterFunc(time.Minute, func() { os.Exit(9) })
	var listen []listener.Config
	maxConns := 0
	opts := ParseOrExit(func(fs *flag.FlagSet) {
		fs.Func("listen", "`[name=]address`", func(s string) error {
			name, addr, ok := strings.Cut(s, "=")
			if !ok {
				name, addr = "", s
			}
			listen = append(listen, listener.Config{Name: name, Addr: addr})
			return nil
		})
		fs.IntVar(&maxConns, "max-conns", 0, "")
	})
	var section hostSection
	srv, err := New(Config{
		Options:  opts,
		Sections: []config.Section{{Key: "mine", Value: &section}},
		Healthy: func() error {
			for {
				text, err := os.ReadFile(os.Getenv("SICK_FILE"))
				switch {
				case err != nil:
					return nil
				case string(text) != "hang":
					return errors.New("sick")
				}
				time.Sleep(5 * time.Millisecond)
			}
		},
		OnPhase: holdPhase,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(hostEnv) == "late" {
		fmt.Println("made")
		holdPhase(PhaseRunning)
	}
	if os.Getenv(hostEnv) == "reloads" {
		srv.OnReload("word", func(_ context.Context, r *Reload) error {
			word := r.Section("mine").(*hostSection).Word
			if word == "refused" {
				return errors.New("this word is refused")
			}
			r.Applied("mine")
			return nil
		})
	}
	for i := range listen {
		listen[i].MaxConns = maxConns
	}
	srv.Listen("echo", newEcho(), listen...)
	if os.Getenv(hostEnv) == "fails" {
		srv.Background("failing", failing{})
	}
	if os.Getenv(hostEnv) == "never" {
		srv.Background("never ready", neverReady{})
	}
	go func() {
		<-srv.Ready()
		fmt.Println("threads", srv.Settings().Threads, "memory", debug.SetMemoryLimit(-1))
	}()
	srv.RunForever()
}

// holdPhase keeps a server that holds from going on when it runs, and one that
// is late from running, until there is a file.
func holdPhase(p Phase) {
	for (os.Getenv(hostEnv) == "holds" || os.Getenv(hostEnv) == "late") && p == PhaseRunning {
		if _, err := os.Stat("go on"); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// failing is a service that fails before it is ready.
type failing struct{ neverReady }

func (failing) Run(context.Context) error { return errors.New("the thing is missing") }

// neverReady is a service that never becomes ready.
type neverReady struct{}

func (neverReady) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (neverReady) Ready() <-chan struct{}        { return nil }

// A box is a directory with what one server needs.
type box struct {
	dir  string
	t    *testing.T
	env  []string
	addr string
}

// newBox makes a directory that is short enough for sockets, with an address on
// which nobody listens.
func newBox(t *testing.T) *box {
	t.Helper()
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := &box{dir: dir, t: t, addr: "unix:" + filepath.Join(dir, "s")}
	b.setenv(hostEnv, "1")
	b.setenv("RUNTIME_DIRECTORY", b.path("run"))
	b.setenv("NOTIFY_SOCKET", "")
	b.setenv("SICK_FILE", b.path("sick"))
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) setenv(name, value string) { b.env = append(b.env, name+"="+value) }

// conf writes a configuration file. ${} stands for the directory.
func (b *box) conf(text string) string {
	b.t.Helper()
	file := b.path("conf.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "${}", b.dir)), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return file
}

// command returns the command that starts the server on the address of the box.
func (b *box) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.t.Context(), os.Args[0], append([]string{"--listen", b.addr}, args...)...)
	cmd.Args[0] = hostProgram
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), b.env...)
	return cmd
}

// run runs a command to its end and returns its exit code and all it printed.
func (b *box) run(args ...string) (code int, output string) {
	b.t.Helper()
	cmd := b.command(args...)
	out, err := cmd.CombinedOutput()
	if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit {
		b.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// daemon starts a daemon, and returns its process id. It is killed, if it still
// runs, when the test ends.
func (b *box) daemon(args ...string) int {
	b.t.Helper()
	code, out := b.run(append([]string{"-d"}, args...)...)
	if code != 0 {
		b.t.Fatalf("exit code %d, want 0: %s\n%s", code, out, b.log())
	}
	return b.pid()
}

// pid returns the process id in the pid file.
func (b *box) pid() int {
	b.t.Helper()
	for _, file := range []string{b.path("pid"), b.path("run/" + hostProgram + ".pid")} {
		if pid, err := pidfile.Read(file); err == nil {
			b.t.Cleanup(func() { b.kill(file, pid) })
			return pid
		}
	}
	b.t.Fatalf("there is no pid file: %s", b.log())
	return 0
}

// kill kills the process of a pid file, if that still is the same.
func (b *box) kill(file string, pid int) {
	if now, err := pidfile.Read(file); err == nil && now == pid {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func (b *box) log() string {
	text, _ := os.ReadFile(b.path("log"))
	return string(text)
}

// dial connects to the server of the box.
func (b *box) dial() net.Conn {
	b.t.Helper()
	c, err := net.Dial("unix", strings.TrimPrefix(b.addr, "unix:"))
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.log())
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

// stop ends the daemon and waits for that.
func (b *box) stop(pid int) {
	b.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	b.waitGone(pid)
}

// waitGone waits until the process has ended. It is no child of ours.
func (b *box) waitGone(pid int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("process %d ends", pid), func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, fs.ErrNotExist) {
			return !alive(pid)
		}
		return strings.Contains(string(text), ") Z ") // nobody may have waited for it
	})
}

// alive reports whether there is a process with this id.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// client returns a client of the only process of the box.
func (b *box) client(pid int) *control.Client {
	return control.NewClient(b.path("run/" + control.SocketName(pid)))
}

const hostConf = `
pid_file: ${}/pid
error_log: ${}/log
upgrade_sock: ${}/up
`

func TestDaemon(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	pid := b.daemon("-c", b.conf(hostConf))
	c := b.dial() // at once: it accepts
	send(t, c, "a")
	receive(t, c, 'a')
	c.Close()
	if sid, err := unix.Getsid(pid); err == nil && sid != pid {
		t.Errorf("session %d, want its own, %d", sid, pid)
	}
	if text := b.log(); !strings.Contains(text, "running") {
		t.Errorf("error_log has %q, want the log", text)
	}
	if info, err := os.Stat(b.path("log")); err != nil || info.Mode().Perm()&0o027 != 0 {
		t.Errorf("error_log has mode %v, %v, want nothing for others", info.Mode(), err)
	}
	for fd := 0; fd <= 2; fd++ {
		want := b.path("log")
		if fd == 0 {
			want = os.DevNull
		}
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err == nil && got != want {
			t.Errorf("descriptor %d is %s, want %s", fd, got, want)
		}
	}
	code, out := b.run("-d", "-c", b.path("conf.yaml"))
	if code != 1 || !strings.Contains(out, fmt.Sprintf("another instance is running as process %d", pid)) {
		t.Errorf("second daemon: exit code %d, %q, want that process %d runs", code, out, pid)
	}
	b.dial() // the first one has not been hurt
	b.stop(pid)
	if _, err := os.Lstat(b.path("pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pid file after the end: %v, want none", err)
	}
	if left, _ := filepath.Glob(b.path("run/*")); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
	if pid := b.daemon("-c", b.path("conf.yaml")); pid == 0 {
		t.Error("it cannot be started again")
	}
}

// TestDaemonOutputEnds checks that whoever reads what the command prints sees
// the end of it: the daemon does not hold it open. It runs without error_log.
func TestDaemonOutputEnds(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	pid := b.daemon() // returns when the output has ended
	for fd := 0; fd <= 2; fd++ {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err == nil && got != os.DevNull {
			t.Errorf("descriptor %d is %s, want the null device", fd, got)
		}
	}
	b.stop(pid)
}

// TestDaemonFails checks that the command returns 1 and says why, if the daemon
// does not become ready, and that none is left.
func TestDaemonFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  string
		conf string
		args []string
		want string
	}{
		{"address taken", "1", "", []string{"--listen", "unix:/nonexistent/s"}, "no such file or directory"},
		{"service", "fails", "", nil, "the thing is missing"},
		{"configuration", "1", "threads: many", nil, "conf.yaml:"},
		{"not ready in time", "never", "daemon_ready_timeout_seconds: 300ms", nil, "it was not ready after 300ms"},
		{"directory", "1", "working_directory: /nonexistent", nil, "working_directory: chdir /nonexistent"},
		{"user", "1", "user: nobody-of-this-name", nil, "unknown user nobody-of-this-name"},
		{"log is a link", "1", "error_log: ${}/link", nil, "is a symbolic link"},
		{"pid file is a link", "1", "pid_file: ${}/link", nil, "is a symbolic link"},
		{"too many connections", "1", "", []string{"--max-conns", "1000000000"}, "the hard limit is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.setenv(hostEnv, tt.env)
			if err := os.Symlink(b.path("target"), b.path("link")); err != nil {
				t.Fatal(err)
			}
			code, out := b.run(append([]string{"-d", "-c", b.conf(hostConf[:0] + tt.conf)}, tt.args...)...)
			if code != 1 || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, %q, want 1, %q", code, out, tt.want)
			}
			if _, err := os.Lstat(b.path("target")); err == nil {
				t.Error("the link was followed")
			}
			if _, err := os.Lstat(b.path("run/" + hostProgram + ".pid")); err == nil {
				t.Error("a pid file is left")
			}
			if _, err := net.Dial("unix", b.path("s")); err == nil {
				t.Error("a daemon is left")
			}
		})
	}
}

func TestDaemonWithoutWaiting(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	code, out := b.run("-c", b.conf(hostConf+"daemon: true\ndaemon_wait_for_ready: false\n"))
	if code != 0 {
		t.Fatalf("exit code %d, %q", code, out)
	}
	eventually(t, "the daemon runs", func() bool {
		_, err := pidfile.Read(b.path("pid"))
		return err == nil && strings.Contains(b.log(), "running")
	})
	b.stop(b.pid())
}

// TestInterrupt checks that an interrupt of the command that waits for the
// daemon ends both.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setenv(hostEnv, "never")
	cmd := b.command("-d", "-c", b.conf(hostConf))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon starts", func() bool {
		_, err := pidfile.Read(b.path("pid"))
		return err == nil && strings.Contains(b.log(), "listening")
	})
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "the daemon was stopped") {
		t.Errorf("exit code %d, %q, want 1, that it was stopped", code, out.String())
	}
	if pid, err := pidfile.Read(b.path("pid")); err == nil {
		t.Errorf("process %d is left", pid)
	}
}

// TestLogReopened does what logrotate does.
func TestLogReopened(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	pid := b.daemon("-c", b.conf(hostConf))
	if err := os.Rename(b.path("log"), b.path("log.1")); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGUSR1)
	eventually(t, "there is a new log", func() bool { return strings.Contains(b.log(), "log opened again") })
	if err := os.Rename(b.path("log"), b.path("log.2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(b.path("target"), b.path("log")); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGUSR1)
	eventually(t, "the old log says why it goes on", func() bool {
		text, _ := os.ReadFile(b.path("log.2"))
		return strings.Contains(string(text), "could not be opened again")
	})
	b.stop(pid)
}

func TestWorkingDirectoryAndRelativePaths(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if err := os.Mkdir(b.path("work"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.conf("pid_file: pid\nerror_log: log\nupgrade_sock: up\nworking_directory: ${}/work\n")
	pid := b.daemon("-c", "conf.yaml")
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && got != b.path("work") {
		t.Errorf("working directory %s, want %s", got, b.path("work"))
	}
	st, err := b.client(pid).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Directory != b.dir || st.ConfFile != b.path("conf.yaml") || st.UpgradeSock != b.path("up") || st.PIDFile != b.path("pid") {
		t.Errorf("Status = %+v, want paths from %s", st, b.dir)
	}
	if r, err := b.client(pid).Reload(t.Context()); err != nil {
		t.Errorf("Reload = %v, %v", r, err)
	}
	b.stop(pid)
}

// TestUser checks that all threads continue as another user, and that the
// process can still be found and ended.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Parallel()
	b := newBox(t)
	if err := os.Chmod(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pid := b.daemon("-c", b.conf(hostConf+"user: 65532\ngroup: 65533\n"))
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Skip("there is no /proc")
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for _, want := range []string{"\nUid:\t65532\t65532\t65532\t65532\n", "\nGid:\t65533\t65533\t65533\t65533\n", "\nGroups:\t65533 \n", "\nCapEff:\t0000000000000000\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %q:\n%s", task, want, text)
			}
		}
	}
	syscall.Kill(pid, syscall.SIGUSR1) // the log is its own
	eventually(t, "the log is opened again", func() bool { return strings.Contains(b.log(), "log opened again") })
	if st, err := b.client(pid).Status(t.Context()); err != nil || st.UID != 0 {
		t.Errorf("Status = %+v, %v, want that root has started it", st, err)
	}
	b.stop(pid)
	if _, err := pidfile.Read(b.path("pid")); !errors.Is(err, pidfile.ErrNotRunning) {
		t.Errorf("pid file: %v, want that it is not running", err)
	}
	b.stop(b.daemon("-c", b.path("conf.yaml"))) // over what it could not remove
}

func TestUserInForeground(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("needs somebody who is not root")
	}
	t.Parallel()
	b := newBox(t)
	if code, out := b.run("-c", b.conf("user: root\n")); code != 1 || !strings.Contains(out, "only root can") {
		t.Errorf("exit code %d, %q, want that only root can do that", code, out)
	}
}

// TestFileLimit checks that the soft limit is raised.
func TestFileLimit(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cmd := b.command("-d", "-c", b.conf(hostConf))
	sh := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -Sn 64 && exec "$0" "$@"`, cmd.Path, "-d", "-c", b.path("conf.yaml"), "--listen", b.addr)
	sh.Env, sh.Dir = cmd.Env, cmd.Dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pid := b.pid()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Skip("there is no /proc")
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(strings.TrimPrefix(line, "Max open files")); strings.HasPrefix(line, "Max open files") && f[0] != f[1] {
			t.Errorf("soft limit %s, want the hard one, %s", f[0], f[1])
		}
	}
	b.stop(pid)
}

// get asks the admin listener of the box.
func (b *box) get(path, host string) (int, error) {
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", b.path("admin"))
		},
	}}
	req, err := http.NewRequest(http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return 0, err
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return res.StatusCode, nil
}
