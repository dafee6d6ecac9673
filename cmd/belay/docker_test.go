// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestDockerBuild runs what the Dockerfile runs to build the program, and checks
// that the result needs nothing else in its image.
func TestDockerBuild(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("builds the program as for an image of Linux")
	}
	t.Parallel()
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "contrib/docker/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lines := regexp.MustCompile(`(?m)^RUN (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(lines) == 0 {
		t.Fatal("the Dockerfile runs nothing: adapt the test")
	}
	for _, line := range lines {
		sh := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(line[1], "/out", dir))
		sh.Dir = root
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line[1], err, out)
		}
	}
	program := filepath.Join(dir, "belay")
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it needs libraries: %q, %v", libraries, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it needs a dynamic linker")
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "version")
	cmd.Env = []string{} // as in the image
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "belay ") {
		t.Errorf("version: %v: %s", err, out)
	}
	info, err := os.Stat(filepath.Join(dir, "run/belay"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory for sockets: %v, %v, want mode 0700", info, err)
	}
}
