// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package pidfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test binary a process that keeps the pid file that it
// names, until its standard input ends.
const childEnv = "BELAY_TEST_PIDFILE_CHILD"

func TestMain(m *testing.M) {
	path := os.Getenv(childEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	f, err := Create(path, -1)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	f.Remove()
	os.Exit(0)
}

// startChild starts a process that keeps the file, and returns its id, how to
// end it in good order, and how to kill it.
func startChild(t *testing.T, path string) (pid int, end, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child: %s", line)
	}
	return cmd.Process.Pid, func() { in.Close(); cmd.Wait() }, func() { cmd.Process.Kill(); cmd.Wait() }
}

// checkRead fails t unless Read returns pid and err.
func checkRead(t *testing.T, path string, pid int, err error) {
	t.Helper()
	got, gotErr := Read(path)
	// A process that another test is just starting has a copy of each descriptor,
	// and so of the lock, for a moment.
	for end := time.Now().Add(20 * time.Second); err == ErrNotRunning && gotErr == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		got, gotErr = Read(path)
	}
	if got != pid || !errors.Is(gotErr, err) || err == nil && gotErr != nil {
		t.Errorf("Read = %d, %v, want %d, %v", got, gotErr, pid, err)
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	checkRead(t, path, 0, ErrNotRunning)
	f, err := Create(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	checkRead(t, path, os.Getpid(), nil)
	if info, err := os.Stat(path); err != nil || info.Mode() != mode {
		t.Errorf("Stat = %v, %v, want mode %v", info, err, fs.FileMode(mode))
	}
	if text, _ := os.ReadFile(path); string(text) != strconv.Itoa(os.Getpid())+"\n" {
		t.Errorf("the file has %q in it", text)
	}
	for range 2 {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
	}
	checkRead(t, path, 0, ErrNotRunning)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
	if err := (*File)(nil).Remove(); err != nil {
		t.Error(err)
	}
}

func TestRefusedWhileOtherRuns(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	pid, end, _ := startChild(t, path)
	checkRead(t, path, pid, nil)
	_, err := Create(path, -1)
	running, ok := errors.AsType[*RunningError](err)
	if !ok || running.PID != pid || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
		t.Errorf("Create = %v, want that process %d runs", err, pid)
	}
	end()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end of the process: %v, want no file", err)
	}
}

func TestLeftBehindIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	pid, _, kill := startChild(t, path)
	kill()
	checkRead(t, path, pid, ErrNotRunning)
	// A number that is in use by another process means nothing without lock.
	if err := os.WriteFile(path, fmt.Append(nil, os.Getppid()), 0o600); err != nil {
		t.Fatal(err)
	}
	checkRead(t, path, os.Getppid(), ErrNotRunning)
	f, err := Create(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	checkRead(t, path, os.Getpid(), nil)
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	pid, end, _ := startChild(t, path)
	failed, err := TakeOver(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := failed.Remove(); err != nil { // an upgrade that fails
		t.Error(err)
	}
	checkRead(t, path, pid, nil)

	f, err := TakeOver(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	checkRead(t, path, os.Getpid(), nil)
	end() // the old one must leave the file alone
	checkRead(t, path, os.Getpid(), nil)
	if err := f.Remove(); err != nil {
		t.Error(err)
	}
	checkRead(t, path, 0, ErrNotRunning)
}

// TestGiveBack checks what an upgrade does that fails at the last moment.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	pid, end, _ := startChild(t, path)
	f, err := TakeOver(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Commit(), f.GiveBack(pid), f.Remove()); err != nil {
		t.Error(err)
	}
	checkRead(t, path, pid, nil)
	end()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end of the process: %v, want no file", err)
	}
}

// TestLockChangesHands checks that nobody takes the file of a running process that
// has not got the lock yet.
func TestLockChangesHands(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	pid, _, _ := startChild(t, path)
	f, err := TakeOver(path, -1) // makes another description of the file
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if f.WaitLocked(20 * time.Millisecond) {
		t.Errorf("locked, though process %d has the lock", pid)
	}
	f.Remove()

	// The process of the file runs, and gets the lock a moment later.
	if err := os.WriteFile(path, fmt.Appendln(nil, os.Getppid()), 0o600); err != nil {
		t.Fatal(err)
	}
	late := &File{path: path, stop: make(chan struct{}), locked: make(chan struct{})}
	if late.f, err = open(path, os.O_RDWR, -1); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(pause, func() { late.waiting.Go(late.waitForLock) })
	_, err = Create(path, -1)
	if running, ok := errors.AsType[*RunningError](err); !ok || running.PID != os.Getppid() {
		t.Errorf("Create = %v, want that process %d runs", err, os.Getppid())
	}
	if !late.WaitLocked(20 * time.Second) {
		t.Error("the lock was not taken")
	}
	late.Remove()
}

// TestReclaim checks what the old process does about a new one that has died
// after it has written the file.
func TestReclaim(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	f, err := Create(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{false, true, false} {
		if changed, err := f.Reclaim(); err != nil || changed != want {
			t.Errorf("Reclaim = %t, %v, want %t", changed, err, want)
		}
		checkRead(t, path, os.Getpid(), nil)
		if !want {
			err = os.WriteFile(path, []byte("99999999\n"), 0o600) // as Commit of another does, in place
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := f.Reclaim(); err != nil || !changed {
		t.Errorf("Reclaim = %t, %v, want true", changed, err)
	}
	f.Remove()
}

// TestTakeOverOfLeft checks the case that the old process has ended between the
// decision and Commit.
func TestTakeOverOfLeft(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	old, err := Create(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := TakeOver(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.f.Close(); err != nil { // as the system does for a process that dies
		t.Fatal(err)
	}
	checkRead(t, path, os.Getpid(), ErrNotRunning)
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	checkRead(t, path, os.Getpid(), nil)
	f.Remove()
}

func TestTakeOverOfNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	f, err := TakeOver(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	checkRead(t, path, os.Getpid(), nil)
}

func TestUnsafeFiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		make func(path string) error
		want string
	}{
		{"link", func(p string) error { return os.Symlink(p+".target", p) }, "symbolic link"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "directory"},
		{"FIFO", func(p string) error { return syscall.Mkfifo(p, 0o600) }, "not a plain file"},
		{"missing directory", func(p string) error { return os.Remove(filepath.Dir(p)) }, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d", "p.pid")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := Create(path, -1)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("Create = %v, want %q", err, tt.want)
			}
			if _, err := os.Lstat(path + ".target"); err == nil {
				t.Error("the link has been followed")
			}
		})
	}
}

func TestForeignFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := filepath.Join(t.TempDir(), "p.pid")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, -1); err == nil || !strings.Contains(err.Error(), "belongs to user 65532") {
		t.Errorf("Create = %v, want that the file belongs to user 65532", err)
	}
	f, err := Create(path, 65532) // who the process will be
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Chown(65532, 65532); err != nil {
		t.Error(err)
	}
	f.Remove()
}

func TestReadContent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		pid  int
		want string // in the error
	}{
		{"", 0, "not running"},
		{"\n", 0, "not running"},
		{"0\n", 0, "want a process id"},
		{"1\n", 0, "want a process id"},
		{"-1\n", 0, "want a process id"},
		{"12x\n", 0, "want a process id"},
		{"999999999999999999999\n", 0, "want a process id"},
		{" 4194304 \nrest", 4194304, "not running"},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "p.pid")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		pid, err := Read(path)
		if pid != tt.pid || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Read of %q = %d, %v, want %d, %q", tt.text, pid, err, tt.pid, tt.want)
		}
	}
}

// TestOneWins checks that of many that create the file at the same time, one
// succeeds. Locks are of the open file, so goroutines stand for processes.
func TestOneWins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.pid")
	var won, lost atomic.Int32
	var files [8]*File
	var all sync.WaitGroup
	for i := range files {
		all.Go(func() {
			f, err := Create(path, -1)
			if _, ok := errors.AsType[*RunningError](err); ok {
				lost.Add(1)
			} else if err == nil {
				won.Add(1)
				files[i] = f
			} else {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != int32(len(files)-1) {
		t.Errorf("%d won and %d lost, want 1 and %d", won.Load(), lost.Load(), len(files)-1)
	}
	for _, f := range files {
		f.Remove()
	}
}

func ExampleCreate() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "example.pid")

	f, err := Create(path, -1)
	if err != nil {
		fmt.Println(err)
		return
	}
	pid, err := Read(path)
	fmt.Println(pid == os.Getpid(), err)
	f.Remove()
	_, err = Read(path)
	fmt.Println(err)
	// Output:
	// true <nil>
	// not running
}
