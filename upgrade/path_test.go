// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// testLogger returns a logger that writes to b.
func testLogger(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// TestUpgradeSocket checks what becomes of what is at the path already, and
// the permissions of the socket.
func TestUpgradeSocket(t *testing.T) {
	root := os.Geteuid() == 0
	chown := func(t *testing.T, path string) {
		if !root {
			t.Skip("needs root")
		}
		if err := os.Lchown(path, 65534, -1); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		make func(t *testing.T, path string) // makes something at path
		want string                          // in the error; "" if the socket is bound
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"stale socket", staleSocket, ""},
		{"file", func(t *testing.T, path string) { os.WriteFile(path, nil, 0o600) }, "is not a socket"},
		{"directory", func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, "is not a socket"},
		{"link to a stale socket", func(t *testing.T, path string) {
			staleSocket(t, path+"x")
			os.Symlink(path+"x", path)
		}, "is not a socket"},
		{"foreign stale socket", func(t *testing.T, path string) { staleSocket(t, path); chown(t, path) }, "is a socket of user 65534"},
		{"socket of a listed user", func(t *testing.T, path string) {
			staleSocket(t, path)
			if root {
				os.Lchown(path, 65533, -1)
			}
		}, ""},
		{"socket in use", func(t *testing.T, path string) {
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
		}, "another upgrade is under way"},
		{"no directory", func(t *testing.T, path string) { os.RemoveAll(filepath.Dir(path)) }, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := socketPath(t)
			tt.make(t, path)
			before, _ := os.Lstat(path)
			cfg := testConfig(path)
			cfg.Users = []uint32{65533}
			if !root {
				cfg.Users = nil
			}
			m, err := meet(t.Context(), cfg)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("meet = %v, want %q", err, tt.want)
				}
				if after, err := os.Lstat(path); before != nil && (err != nil || !os.SameFile(before, after)) {
					t.Errorf("what was at the path has been removed: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != fs.ModeSocket {
				t.Errorf("%v, %v, want a socket with mode 0600", info.Mode(), err)
			}
			if owner, _ := ownerOf(info); root && owner != 65533 {
				t.Errorf("it belongs to user %d, want %d", owner, 65533)
			}
			m.close()
			checkGone(t, path)
		})
	}
}

// staleSocket leaves a socket at path on which nobody listens.
func staleSocket(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
}

// TestOthersSocketStays checks that close removes nothing that has taken the
// place of the socket.
func TestOthersSocketStays(t *testing.T) {
	path := socketPath(t)
	m, err := meet(t.Context(), testConfig(path))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestRuntimeDir(t *testing.T) {
	uid := os.Geteuid()
	dir := func(mode fs.FileMode) func(string) {
		return func(path string) {
			os.MkdirAll(path, 0o700)
			os.Chmod(path, mode)
		}
	}
	tests := []struct {
		name          string
		uid           int // as which it is asked for
		run, xdg, tmp func(string)
		want          string // below the test's directory, or in the error
	}{
		{"run is there", 1, nil, nil, nil, "belongs to user"}, // of another user, in a fake world where we are user 1
		{"ours in run", uid, dir(0o755), nil, nil, "run/prog"},
		{"run too open", uid, dir(0o777), dir(0o700), nil, "xdg/prog"},
		{"xdg", uid, dir(0o775), dir(0o700), nil, "xdg/prog"},
		{"temporary", uid, dir(0o775), nil, nil, "tmp/prog-"},
		{"temporary there", uid, dir(0o775), nil, dir(0o700), "tmp/prog-"},
		{"temporary too open", uid, dir(0o775), nil, dir(0o770), "can be written to by others"},
		{"temporary is a file", uid, dir(0o775), nil, func(p string) { os.WriteFile(p, nil, 0o600) }, "is not a directory"},
		{"temporary is a link", uid, dir(0o775), nil, func(p string) { os.Symlink("/", p) }, "is not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := t.TempDir()
			for _, d := range []string{"run", "xdg", "tmp"} {
				os.Mkdir(filepath.Join(base, d), 0o700)
			}
			xdg := filepath.Join(base, "nowhere")
			if tt.run != nil {
				tt.run(filepath.Join(base, "run", "prog"))
			}
			if tt.xdg != nil {
				xdg = filepath.Join(base, "xdg")
				tt.xdg(xdg)
			}
			if tt.tmp != nil {
				tt.tmp(filepath.Join(base, "tmp", "prog-"+strconv.Itoa(uid)))
			}
			got, err := runtimeDir("prog", tt.uid, filepath.Join(base, "run"), xdg, filepath.Join(base, "tmp"))
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if rel, _ := filepath.Rel(base, got); !strings.HasPrefix(rel, tt.want) {
				t.Errorf("directory %s, want %s", rel, tt.want)
			}
			if err := private(got, tt.uid); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"", ".", "..", "a/b", "/"} {
		if _, err := RuntimeDir(name); err == nil {
			t.Errorf("RuntimeDir(%q) works", name)
		}
	}
}

// TestProbeIsNoOldProcess checks that somebody who connects and leaves, or says
// nothing, does not end the wait for the old process.
func TestProbeIsNoOldProcess(t *testing.T) {
	cfg := testConfig(socketPath(t))
	m, err := meet(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &Predecessor{cfg: cfg.withDefaults(), meeting: m}
	defer p.close()
	for range 3 {
		c, err := net.Dial("unix", cfg.Path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	old := handOver(t, context.Background(), cfg, Cargo{})
	if err := p.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Confirm(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	if err := within(t, old).err; err != nil {
		t.Error(err)
	}
}
