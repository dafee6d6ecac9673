// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// TestReadme keeps the program in the README the same as this one.
func TestReadme(t *testing.T) {
	t.Parallel()
	program := read(t, "main.go")
	_, program, _ = strings.Cut(program, "\npackage main\n") // without licence and comment
	readme := read(t, "../../README.md")
	_, block, ok := strings.Cut(readme, "```go\npackage main\n")
	block, _, closed := strings.Cut(block, "\n```\n")
	if !ok || !closed {
		t.Fatal("README.md has no block that begins with \"package main\"")
	}
	if want := strings.TrimSuffix(program, "\n"); block != want {
		t.Errorf("the program in README.md differs from examples/loadbalancer/main.go: copy it anew.\nREADME has:\n%s", block)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
