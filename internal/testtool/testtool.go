// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package testtool finds the programs that tests drive: curl, for example, as a
// client that is not ours.
//
//	curl := testtool.Look(t, "curl")
//	out, err := exec.CommandContext(t.Context(), curl, "-s", url).Output()
package testtool

import (
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Required names the environment variable with the names of programs, separated
// by spaces, without which a test fails instead of being skipped.
const Required = "BELAY_TEST_TOOLS"

// Look returns the path of a program that goes by one of the names, on the
// search path or where "go install" puts it. If there is none, it skips t, or
// ends it as failed if one of the names is Required.
func Look(t testing.TB, names ...string) (path string) {
	t.Helper()
	for _, name := range names {
		if path := find(name); path != "" {
			return path
		}
	}
	required := strings.Fields(os.Getenv(Required))
	if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(required, name) }) {
		t.Fatalf("%s is not installed, and %s wants it", names[0], Required)
	}
	t.Skipf("%s is not installed", names[0])
	return ""
}

func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	dirs := []string{os.Getenv("GOBIN")}
	for _, dir := range filepath.SplitList(build.Default.GOPATH) {
		dirs = append(dirs, filepath.Join(dir, "bin"))
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}
