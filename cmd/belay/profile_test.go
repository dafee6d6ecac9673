// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Not parallel: a process has one CPU profile at a time.
func TestWithCPUProfile(t *testing.T) {
	ended := errors.New("ended")
	file := filepath.Join(t.TempDir(), "cpu.pprof")
	if err := withCPUProfile(file, func() error { return ended }); !errors.Is(err, ended) {
		t.Errorf("withCPUProfile = %v, want the error of run", err)
	}
	got, err := os.ReadFile(file)
	if gzip := []byte{0x1f, 0x8b}; err != nil || !bytes.HasPrefix(got, gzip) {
		t.Errorf("profile has %d bytes, %v, want gzip", len(got), err)
	}
	if err := withCPUProfile("", func() error { return ended }); !errors.Is(err, ended) {
		t.Errorf("withCPUProfile without a file = %v, want the error of run", err)
	}
	run := false
	if err := withCPUProfile(filepath.Join(file, "no"), func() error { run = true; return nil }); err == nil || run {
		t.Errorf("withCPUProfile of a file that cannot be = %v, run called: %t, want an error and false", err, run)
	}
}
