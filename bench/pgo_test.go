// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
)

// What is committed names functions, and no file of the machine that made it.
func TestMergeProfiles(t *testing.T) {
	dir := t.TempDir()
	one, merged := filepath.Join(dir, "one"), filepath.Join(dir, "merged")
	f, err := os.Create(one)
	if err != nil {
		t.Fatal(err)
	}
	if err := pprof.Lookup("goroutine").WriteTo(f, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := mergeProfiles(merged, []string{one, one}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{merged, "../cmd/belay/default.pgo"} {
		p, err := readProfile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Sample) == 0 || len(p.Function) == 0 {
			t.Errorf("%s: %d samples, %d functions, want some", file, len(p.Sample), len(p.Function))
		}
		for _, fn := range p.Function {
			if fn.Filename != "" || strings.HasPrefix(fn.Name, "/") {
				t.Errorf("%s: function %q of file %q, want no file", file, fn.Name, fn.Filename)
				break
			}
		}
		for _, m := range p.Mapping {
			if m.File != "" || m.BuildID != "" {
				t.Errorf("%s: mapping of %q %q, want no file", file, m.File, m.BuildID)
			}
		}
	}
	if err := mergeProfiles(merged, []string{filepath.Join(dir, "none")}); err == nil {
		t.Error("a profile that is not there: no error")
	}
}
