// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// rootModule is the line that identifies the repository's root.
const rootModule = "module github.com/belay-proxy/belay\n"

// belayPeer builds the belay of this source tree into dir. If that cannot be
// done the peer is skipped, with the reason.
func belayPeer(ctx context.Context, dir string) peer {
	root, err := findRoot()
	if err != nil {
		return peer{Name: belayName, Skipped: err.Error()}
	}
	program := filepath.Join(dir, "belay")
	if err := buildBelay(ctx, filepath.Join(root, "cmd", "belay"), program); err != nil {
		return peer{Name: belayName, Skipped: "not built: " + err.Error()}
	}
	return binaryPeer(belayName, "this source tree", program)
}

// buildBelay builds the program whose source is in source.
func buildBelay(ctx context.Context, source, program string) error {
	if _, err := os.Stat(source); err != nil {
		return errors.New("there is no cmd/belay")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, clip([]byte(strings.Join(strings.Fields(string(out)), " "))))
	}
	return nil
}

// findRoot returns the directory of the repository, which is the current one
// or one above it.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), rootModule) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not run inside the belay repository")
		}
		dir = parent
	}
}

// otherBelay returns the peer for one --belay flag: PATH, or NAME=PATH to
// choose what the report calls it.
func otherBelay(value string) (peer, error) {
	name, file, named := strings.Cut(value, "=")
	if !named {
		name, file = filepath.Base(value), value
	}
	program, err := filepath.Abs(file)
	if err != nil {
		return peer{}, err
	}
	info, err := os.Stat(program)
	if err != nil {
		return peer{}, fmt.Errorf("--belay: %w", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return peer{}, fmt.Errorf("--belay: %s is not a program", file)
	}
	return binaryPeer(belayName+":"+name, file, program), nil
}

// binaryPeer is the belay in the file program, run from the command line alone.
func binaryPeer(name, version, program string) peer {
	return peer{
		Name:    name,
		Version: version,
		lacks:   belayLacks(program),
		command: func(set setup) (*exec.Cmd, error) {
			cmd := exec.Command(program, belayArgs(set)...)
			cmd.Dir = set.dir
			cmd.Env = goEnv(set.cores)
			return cmd, nil
		},
	}
}

// belayArgs returns the command line of belay.
func belayArgs(set setup) []string {
	args := []string{"proxy"}
	switch {
	case set.access.TLS:
		args = append(args, "--https", set.listen, "--cert", set.certs.cert, "--key", set.certs.key)
	case set.access.H2:
		args = append(args, "--h2c", "--listen", set.listen)
	default:
		args = append(args, "--listen", set.listen)
	}
	for _, origin := range set.origins {
		args = append(args, "--to", origin)
	}
	return append(args, "--host", hostWanted, "--health-check=false")
}

// belayLacks returns peer.lacks for a binary, as its help says: an older one
// has not all of the flags.
func belayLacks(program string) func(access) string {
	help, _ := exec.Command(program, "proxy", "--help").CombinedOutput() // what fails here fails at the start, too
	return func(a access) string {
		flag := ""
		switch {
		case a.TLS:
			flag = "--https"
		case a.H2:
			flag = "--h2c"
		}
		if strings.Contains(string(help), flag) {
			return ""
		}
		return "this binary has no " + flag
	}
}
