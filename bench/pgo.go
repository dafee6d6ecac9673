// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/google/pprof/profile"
)

// pgoScenarios are what --pgo profiles if no scenario is named: what a proxy
// does all day, in equal shares.
var pgoScenarios = []string{"h1-64-100B", "h1-64-4KiB", "h1-post-64", "h2c-16x32", "tls-h1-64", "h2-16x32"}

// writeProfile runs belay in each of the scenarios that it can do, and merges
// the CPU profiles of all into file, for the compiler (go help build, -pgo).
func (b *bench) writeProfile(ctx context.Context, file string, chosen []scenario, peers []peer) error {
	i := slices.IndexFunc(peers, func(p peer) bool { return p.Name == belayName })
	if i < 0 {
		return errors.New("--pgo needs belay")
	}
	belay := peers[i]
	var profiles []string
	for _, s := range chosen {
		if why := belay.cannot(s); why != "" {
			fmt.Fprintf(b.progress, "%s: skipped: %s\n", s.Name, why)
			continue
		}
		output := filepath.Join(b.dir, s.Name+".pprof")
		profiled := profiledPeer(belay, output)
		got, err := b.measure(ctx, s, &profiled)
		if err == nil && got.Errors > 0 {
			err = errors.New(got.Error)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		fmt.Fprintf(b.progress, "%s: %s\n", s.Name, got.brief(s.idle))
		profiles = append(profiles, output)
	}
	if len(profiles) == 0 {
		return errors.New("--pgo: belay can do none of the scenarios")
	}
	return mergeProfiles(file, profiles)
}

// profiledPeer returns p, made to write a CPU profile to file.
func profiledPeer(p peer, file string) peer {
	command := p.command
	p.command = func(set setup) (*exec.Cmd, error) {
		cmd, err := command(set)
		if err == nil {
			cmd.Args = append(cmd.Args, "--cpu-profile", file)
		}
		return cmd, err
	}
	return p
}

// mergeProfiles writes the sum of profiles to file, without the names of files:
// the compiler goes by functions, and the paths are those of this machine.
func mergeProfiles(file string, profiles []string) error {
	var all []*profile.Profile
	for _, name := range profiles {
		p, err := readProfile(name)
		if err != nil {
			return fmt.Errorf("profile %s: %w", name, err)
		}
		all = append(all, p)
	}
	sum, err := profile.Merge(all)
	if err != nil {
		return fmt.Errorf("merge profiles: %w", err)
	}
	for _, f := range sum.Function {
		f.Filename = ""
	}
	for _, m := range sum.Mapping {
		m.File, m.BuildID = "", ""
	}
	var b bytes.Buffer
	if err := sum.Write(&b); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

func readProfile(name string) (*profile.Profile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return profile.Parse(f)
}
