// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// pingoraPeer is the program in peers/pingora, built when cargo is there.
func pingoraPeer(ctx context.Context, w workshop) peer {
	cargo, err := findCargo()
	if err != nil {
		return peer{Skipped: "needs cargo, which is not installed"}
	}
	root, err := findRoot()
	if err != nil {
		return peer{Skipped: err.Error()}
	}
	source := filepath.Join(root, "bench", "peers", "pingora")
	program, err := buildPingora(ctx, w, cargo, source)
	if err != nil {
		return peer{Skipped: "not built: " + err.Error()}
	}
	return peer{
		Version: pingoraVersion(filepath.Join(source, "Cargo.toml")),
		command: func(set setup) (*exec.Cmd, error) { return exec.Command(program, pingoraArgs(set)...), nil },
	}
}

// findCargo finds cargo in PATH or where rustup puts it.
func findCargo() (string, error) {
	if program, err := exec.LookPath("cargo"); err == nil {
		return program, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return exec.LookPath(filepath.Join(home, ".cargo", "bin", "cargo"))
}

// buildPingora builds the program in the directory source and returns its
// file. What has been built stays in the user's cache: the first time takes
// minutes.
func buildPingora(ctx context.Context, w workshop, cargo, source string) (program string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	target := filepath.Join(cache, "belay-bench", "pingora")
	program = filepath.Join(target, "release", "pingora-peer")
	fmt.Fprintf(w.progress, "building Pingora with cargo in %s, which takes minutes the first time\n", target)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, cargo, "build", "--release", "--quiet", "--target-dir", target)
	cmd.Dir = source
	return program, runQuietly(cmd)
}

// pingoraVersion returns the version of the crate that the manifest asks for.
func pingoraVersion(manifest string) string {
	text, err := os.ReadFile(manifest)
	if err != nil {
		return ""
	}
	found := regexp.MustCompile(`(?m)^pingora *=.*"=([0-9.]+)"`).FindSubmatch(text)
	if found == nil {
		return ""
	}
	return string(found[1])
}

// pingoraArgs returns the command line of the program.
func pingoraArgs(set setup) []string {
	args := []string{"--listen", set.listen, "--host", hostWanted, "--threads", strconv.Itoa(set.cores), "--pool", strconv.Itoa(len(set.origins) * set.pool())}
	for _, origin := range set.origins {
		args = append(args, "--to", origin)
	}
	switch {
	case set.access.TLS:
		args = append(args, "--cert", set.certs.cert, "--key", set.certs.key)
	case set.access.H2:
		args = append(args, "--h2c")
	}
	return args
}
