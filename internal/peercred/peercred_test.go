// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package peercred

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// childEnv makes the test binary connect to the socket that it names, and print
// what it receives.
const childEnv = "BELAY_TEST_PEERCRED_CHILD"

func TestMain(m *testing.M) {
	path := os.Getenv(childEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		io.WriteString(os.Stdout, err.Error())
		os.Exit(1)
	}
	io.Copy(os.Stdout, c)
	os.Exit(0)
}

// listen makes a socket that everybody may connect to.
func listen(t *testing.T) (*net.UnixListener, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "peercred") // t.TempDir is for the owner only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	return ln.(*net.UnixListener), path
}

func TestUID(t *testing.T) {
	t.Parallel()
	ln, path := listen(t)
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for name, c := range map[string]*net.UnixConn{"client": client.(*net.UnixConn), "server": server} {
		if uid, err := UID(c); err != nil || uid != uint32(os.Geteuid()) {
			t.Errorf("%s: UID = %d, %v, want %d", name, uid, err, os.Geteuid())
		}
		if err := Check(c, uint32(os.Geteuid())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	server.Close()
	if uid, err := UID(server); err == nil {
		t.Errorf("UID of a closed connection = %d, want an error", uid)
	}
}

func TestListenerTurnsOthersAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	t.Parallel()
	ln, path := listen(t)
	const friend, stranger = 65531, 65532
	l := Listener(ln, friend)
	go func() { // ends with ln
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "welcome")
			c.Close()
		}
	}()
	exe := copyExecutable(t, filepath.Dir(path))
	for _, tt := range []struct {
		uid  uint32
		want string
	}{{0, "welcome"}, {friend, "welcome"}, {stranger, ""}} {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.uid}}
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != tt.want {
			t.Errorf("user %d received %q, %v, want %q", tt.uid, out, err, tt.want)
		}
	}
}

// copyExecutable puts a copy of the test binary where everybody may run it.
func copyExecutable(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "child")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
