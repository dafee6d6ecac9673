// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckOut(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "elsewhere")) // as in a hook
	root, file := t.TempDir(), "a b.txt"
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Dir, cmd.Env = root, withoutGit(os.Environ())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q")
	for _, text := range []string{"first", "second"} {
		write(text)
		git("add", ".")
		git("commit", "-q", "-m", text)
	}
	write("not committed")

	tree := filepath.Join(t.TempDir(), "tree")
	commit, err := checkOut(t.Context(), root, "HEAD~1", tree)
	if err != nil || len(commit) < 4 {
		t.Fatalf("checkOut = %q, %v", commit, err)
	}
	if got, err := os.ReadFile(filepath.Join(tree, file)); string(got) != "first" {
		t.Errorf("file is %q (%v), want that of the revision", got, err)
	}
	if got, _ := os.ReadFile(filepath.Join(root, file)); string(got) != "not committed" {
		t.Errorf("file in the repository is now %q", got)
	}
	status := exec.Command("git", "-C", root, "status", "--porcelain")
	status.Env = withoutGit(os.Environ())
	out, err := status.Output()
	if want := " M \"a b.txt\"\n"; string(out) != want {
		t.Errorf("status is %q (%v), want %q: the repository is to stay as it was", out, err, want)
	}
	if _, err := checkOut(t.Context(), root, "nonsense", tree); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("unknown revision: error %v", err)
	}
}

func TestLastWords(t *testing.T) {
	if got := lastWords([]byte(" a\n\tb ")); got != "a b" {
		t.Errorf("lastWords = %q, want one line", got)
	}
	got := lastWords([]byte(strings.Repeat("x", 400) + " end"))
	if !strings.HasPrefix(got, "… ") || !strings.HasSuffix(got, " end") || len(got) > 310 {
		t.Errorf("lastWords = %q, want the end of it", got)
	}
}
