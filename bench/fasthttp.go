// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// fasthttpPeer is the program in peers/fasthttp. It reads whole bodies before
// it passes them on unless they are large, as that is what costs it least.
func fasthttpPeer(ctx context.Context, w workshop) peer {
	root, err := findRoot()
	if err != nil {
		return peer{Skipped: err.Error()}
	}
	source, program := filepath.Join(root, "bench", "peers", "fasthttp"), filepath.Join(w.dir, "fasthttp")
	if err := goBuild(ctx, source, program, "GOWORK=off"); err != nil {
		return peer{Skipped: "not built: " + err.Error()}
	}
	return peer{
		Version: moduleVersion(program, "github.com/valyala/fasthttp"),
		Differs: []string{"holds back bodies below 1 MiB until they are complete"},
		lacks: func(a access) string {
			if a.H2 {
				return "it has no HTTP/2"
			}
			return ""
		},
		command: func(set setup) (*exec.Cmd, error) {
			args := []string{"-listen", set.listen, "-to", strings.Join(set.origins, ","), "-host", hostWanted, "-conns", strconv.Itoa(set.pool())}
			if set.access.TLS {
				args = append(args, "-cert", set.certs.cert, "-key", set.certs.key)
			}
			if set.body >= largeBody {
				args = append(args, "-stream")
			}
			cmd := exec.Command(program, args...)
			cmd.Env = goEnv(set.cores)
			return cmd, nil
		},
	}
}

// moduleVersion returns the version of a module in a program, "" if it cannot
// be told.
func moduleVersion(program, module string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version + ", " + info.GoVersion
		}
	}
	return ""
}
