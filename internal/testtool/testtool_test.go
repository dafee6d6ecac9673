// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package testtool

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// recorder is a test that notes how Look ends it.
type recorder struct {
	testing.TB
	skipped, failed bool
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(string, ...any) {
	r.skipped = true
	runtime.Goexit()
}

func (r *recorder) Fatalf(string, ...any) {
	r.failed = true
	runtime.Goexit()
}

// look runs Look as a test of its own.
func look(names ...string) (path string, r *recorder) {
	r = new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Look(r, names...)
	}()
	<-done
	return path, r
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "there")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("GOBIN", "")
	if path, _ := look("not-there", "there"); path != program {
		t.Errorf("Look = %q, want %q", path, program)
	}
	if _, r := look("not-there"); !r.skipped || r.failed {
		t.Errorf("Look for a program that is not there: skipped %v, failed %v, want skipped", r.skipped, r.failed)
	}
	t.Setenv(Required, "there not-there")
	if _, r := look("nor-there", "not-there"); r.skipped || !r.failed {
		t.Errorf("Look for a required one: skipped %v, failed %v, want failed", r.skipped, r.failed)
	}
	if path, _ := look("there"); path != program {
		t.Errorf("Look = %q, want %q", path, program)
	}
	t.Setenv("PATH", "")
	t.Setenv("GOBIN", dir)
	if path, _ := look("there"); path != program {
		t.Errorf("Look where go install puts it = %q, want %q", path, program)
	}
}
