// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/sdnotify"
)

// childEnv makes the test binary a daemon; its value says which.
const childEnv = "BELAY_TEST_DAEMON_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childEnv); mode != "" {
		time.AfterFunc(30*time.Second, func() { os.Exit(9) })
		os.Exit(child(mode))
	}
	os.Exit(m.Run())
}

// child is a daemon.
func child(mode string) int {
	c, err := Claim()
	if again, againErr := Claim(); err != nil || c == nil || again != nil || againErr != nil {
		return 8
	}
	switch mode {
	case "ready":
		return exitCode(c.Ready())
	case "ready twice":
		c.Failed(nil)
		err := errors.Join(c.Ready(), c.Ready())
		c.Failed(errors.New("too late"))
		return exitCode(err)
	case "fails":
		c.Failed(errors.New("first line\nsecond line"))
		return 1
	case "fails and stays":
		c.Failed(errors.New("it is stuck"))
		time.Sleep(time.Hour)
	case "exits":
		return 5
	case "hangs":
		time.Sleep(time.Hour)
	case "passes":
		return passes(c)
	}
	return 7
}

// passes writes to the file that was passed, and then is ready.
func passes(c *Child) int {
	if len(c.Sockets) != 1 || c.Sockets[0].Name != "file" {
		return 6
	}
	_, err := io.WriteString(c.Sockets[0].File, "it came through")
	return exitCode(errors.Join(err, c.Ready()))
}

func exitCode(err error) int {
	if err != nil {
		return 4
	}
	return 0
}

// config returns what starts the child.
func config(mode string) Config {
	return Config{Path: os.Args[0], Args: os.Args[:1], Env: append(os.Environ(), childEnv+"="+mode)}
}

func TestStart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode    string
		timeout time.Duration
		noWait  bool
		want    string // in the error; "" means success
	}{
		{"ready", 0, false, ""},
		{"ready twice", time.Minute, false, ""},
		{"fails", 0, false, "first line\nsecond line"},
		{"exits", 0, false, "the daemon ended before it was ready: exit status 5"},
		{"exits", 0, true, ""},
		{"hangs", 50 * time.Millisecond, false, "the daemon was stopped: it was not ready after 50ms"},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			cfg := config(tt.mode)
			cfg.Timeout, cfg.NoWait = tt.timeout, tt.noWait
			pid, err := Start(t.Context(), cfg)
			if tt.want == "" && (err != nil || pid <= 1) {
				t.Errorf("Start = %d, %v, want a process", pid, err)
			}
			if tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("Start = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestStartIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("somebody changed his mind"))
	if _, err := Start(ctx, config("hangs")); err == nil || !strings.Contains(err.Error(), "changed his mind") {
		t.Errorf("Start = %v, want the reason", err)
	}
}

func TestStartNothing(t *testing.T) {
	t.Parallel()
	cfg := config("ready")
	cfg.Path = "/nonexistent/program"
	if _, err := Start(t.Context(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start = %v, want that it does not exist", err)
	}
}

func TestFilesArePassed(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cfg := config("passes")
	cfg.Sockets = []sdnotify.Socket{{Name: "file", File: f}}
	if _, err := Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(f.Name()); string(text) != "it came through" {
		t.Errorf("the file has %q in it", text)
	}
}

func TestClaimNonsense(t *testing.T) {
	for _, text := range []string{"", "x", `{"status":0}`, `{"status":9999}`, `{"status":-1}`} {
		t.Setenv(env, text)
		if c, err := Claim(); err == nil {
			t.Errorf("Claim with %q = %v, want an error", text, c)
		}
	}
	if c, err := Claim(); c != nil || err != nil {
		t.Errorf("Claim without the variable = %v, %v", c, err)
	}
	var none *Child
	if err := none.Ready(); err != nil || none.Failed(errors.New("x")) {
		t.Errorf("a nil Child does something")
	}
}

func TestOpenLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Symlink(path("target"), path("link")), syscall.Mkfifo(path("fifo"), 0o600), os.Mkdir(path("dir"), 0o700)); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{path("new"), ""},
		{path("new"), ""}, // the second time it is there
		{path("fifo"), ""},
		{"/dev/stdout", ""},
		{"/dev/stderr", ""},
		{path("link"), "is a symbolic link, which is not followed"},
		{path("dir"), "is a directory"},
		{path("none/new"), "no such file"},
	}
	for _, tt := range tests {
		f, err := OpenLog(tt.path)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("OpenLog(%s) = %v, want %q", tt.path, err, tt.want)
		}
		if strings.HasSuffix(tt.path, "new") && err == nil {
			io.WriteString(f, "line\n")
		}
		f.Close()
	}
	if text, _ := os.ReadFile(path("new")); string(text) != "line\nline\n" {
		t.Errorf("the log has %q in it, want both lines", text)
	}
	if info, err := os.Stat(path("new")); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("the log has mode %v, %v, want at most 0640", info.Mode(), err)
	}
}

func TestLookUp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		user, group string
		uid, gid    int
		want        string // in the error
	}{
		{"4294967", "", 4294967, 4294967, ""}, // nobody knows it
		{"4294967", "12345", 4294967, 12345, ""},
		{"", "12345", -1, 12345, ""},
		{"root", "", 0, 0, ""},
		{"0", "", 0, 0, ""},
		{"root", "12345", 0, 12345, ""},
		{"no-such-user", "", 0, 0, `user "no-such-user"`},
		{"", "no-such-group", 0, 0, `group "no-such-group"`},
		{"-1", "", 0, 0, `user "-1"`},
	}
	for _, tt := range tests {
		id, err := LookUp(tt.user, tt.group)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("LookUp(%q, %q) = %v, want %q", tt.user, tt.group, err, tt.want)
			}
			continue
		}
		if err != nil || id.UID != tt.uid || id.GID != tt.gid || !slices.Contains(id.Groups, tt.gid) {
			t.Errorf("LookUp(%q, %q) = %+v, %v, want %d, %d", tt.user, tt.group, id, err, tt.uid, tt.gid)
		}
	}
	if id, err := LookUp("", ""); id != nil || err != nil {
		t.Errorf("LookUp of nobody = %+v, %v", id, err)
	}
	if err := (*Identity)(nil).Become(); err != nil {
		t.Errorf("Become of nobody = %v", err)
	}
	if _, err := LookUp("no-such-user", "no-such-group"); err == nil || !strings.Contains(err.Error(), "no-such-user") || !strings.Contains(err.Error(), "no-such-group") {
		t.Errorf("LookUp = %v, want both problems", err)
	}
}

func ExampleStart() {
	c, err := Claim()
	if err != nil || c != nil {
		fmt.Println(c, err) // a daemon would do its work here, and call c.Ready
		return
	}
	pid, err := Start(context.Background(), config("ready"))
	fmt.Println(pid > 1, err)
	// Output: true <nil>
}
