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
	"slices"
	"strings"
	"time"
)

// rootModule is the line that identifies the repository's root.
const rootModule = "module github.com/belay-proxy/belay\n"

// belayPeer builds the belay of this source tree. If that cannot be done the
// peer is skipped, with the reason.
func belayPeer(ctx context.Context, w workshop) peer {
	root, err := findRoot()
	if err != nil {
		return peer{Skipped: err.Error()}
	}
	program := filepath.Join(w.dir, "belay")
	if err := buildBelay(ctx, filepath.Join(root, "cmd", "belay"), program); err != nil {
		return peer{Skipped: "not built: " + err.Error()}
	}
	return binaryPeer("this source tree", program)
}

// buildBelay builds the program whose source is in source.
func buildBelay(ctx context.Context, source, program string) error {
	if _, err := os.Stat(source); err != nil {
		return errors.New("there is no cmd/belay")
	}
	return goBuild(ctx, source, program)
}

// goBuild builds the program of the package in the directory source. Settings
// beyond our environment are in env.
func goBuild(ctx context.Context, source, program string, env ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	cmd.Dir, cmd.Env = source, append(os.Environ(), env...)
	return runQuietly(cmd)
}

// runQuietly runs cmd and returns an error with what it printed, on one line
// and shortened, if it fails.
func runQuietly(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, lastWords(out))
	}
	return nil
}

// lastWords returns the end of what a program printed, where most say what is
// wrong, on one line.
func lastWords(out []byte) string {
	const most = 300
	text := strings.Join(strings.Fields(string(out)), " ")
	if len(text) > most {
		text = "… " + text[len(text)-most:]
	}
	return text
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

// otherBelay returns the candidate for one --belay flag: PATH, or NAME=PATH to
// choose what the report calls it, or NAME@REV for a revision of this
// repository.
func otherBelay(value string) (candidate, error) {
	if name, rev, ok := strings.Cut(value, "@"); ok && !strings.ContainsAny(name, "=/") {
		if name == "" || rev == "" || strings.HasPrefix(rev, "-") {
			return candidate{}, fmt.Errorf("--belay: %q is not NAME@REV", value)
		}
		return candidate{name: belayName + ":" + name, find: func(ctx context.Context, w workshop) peer {
			return belayRevision(ctx, w, name, rev)
		}}, nil
	}
	name, file, named := strings.Cut(value, "=")
	if !named {
		name, file = filepath.Base(value), value
	}
	program, err := filepath.Abs(file)
	if err != nil {
		return candidate{}, err
	}
	info, err := os.Stat(program)
	if err != nil {
		return candidate{}, fmt.Errorf("--belay: %w", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return candidate{}, fmt.Errorf("--belay: %s is not a program", file)
	}
	return candidate{name: belayName + ":" + name, find: func(context.Context, workshop) peer {
		return binaryPeer(file, program)
	}}, nil
}

// belayRevision builds the belay of a revision of this repository.
func belayRevision(ctx context.Context, w workshop, name, rev string) peer {
	root, err := findRoot()
	if err != nil {
		return peer{Skipped: err.Error()}
	}
	fmt.Fprintf(w.progress, "building belay at %s\n", rev)
	tree, err := os.MkdirTemp(w.dir, "tree-")
	if err != nil {
		return peer{Skipped: err.Error()}
	}
	commit, err := checkOut(ctx, root, rev, tree)
	if err != nil {
		return peer{Skipped: err.Error()}
	}
	program := filepath.Join(w.dir, "belay-"+name)
	if err := buildBelay(ctx, filepath.Join(tree, "cmd", "belay"), program); err != nil {
		return peer{Skipped: "not built: " + err.Error()}
	}
	return binaryPeer(rev+", commit "+commit, program)
}

// checkOut writes the files of revision rev of the repository at root into the
// directory tree and returns the short name of the commit. It is no worktree:
// the repository does not learn of it.
func checkOut(ctx context.Context, root, rev, tree string) (commit string, err error) {
	git := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir, cmd.Env = root, append(withoutGit(os.Environ()), "GIT_INDEX_FILE="+tree+".index")
		return cmd
	}
	out, err := git("rev-parse", "--verify", "--short", rev+"^{commit}").Output()
	if err != nil {
		return "", fmt.Errorf("git knows no revision %q: %w", rev, err)
	}
	commit = strings.TrimSpace(string(out))
	if err := runQuietly(git("read-tree", commit)); err != nil {
		return "", err
	}
	return commit, runQuietly(git("checkout-index", "--all", "--prefix="+tree+"/"))
}

// withoutGit leaves out of an environment what would make git work on another
// repository than that of its directory, as it is set inside a hook.
func withoutGit(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool { return strings.HasPrefix(e, "GIT_") })
}

// binaryPeer is the belay in the file program, run from the command line alone,
// but for upgrades and reloads.
func binaryPeer(version, program string) peer {
	help, _ := exec.Command(program, "proxy", "--help").CombinedOutput() // what fails here fails at the start, too
	return peer{
		Version:  version,
		lacks:    belayLacks(string(help)),
		features: belayFeatures(string(help)),
		happen:   belayHappen(program),
		command: func(set setup) (*exec.Cmd, error) {
			if set.event != noEvent {
				if err := writeBelayConf(set); err != nil {
					return nil, err
				}
			}
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
	scheme := ""
	if set.upstream == toH2 || set.upstream == toGRPC {
		scheme = "h2c://"
	}
	for _, origin := range set.origins {
		args = append(args, "--to", scheme+origin)
	}
	if set.log {
		args = append(args, "--access-log", set.logFile())
	}
	if set.event != noEvent {
		args = append(args, "--daemon", "--conf", belayConf(set)) // only then is there a pid file
	}
	return append(args, "--host", hostWanted, "--health-check=false")
}

// belayFeatures returns the features of a binary, as its help says: an older
// one has not all of the flags.
func belayFeatures(help string) map[feature]bool {
	features := featureSet(webSocket)
	features[accessLog] = strings.Contains(help, "--access-log")
	features[h2Upstream] = strings.Contains(help, "h2c://")
	features[gRPC] = features[h2Upstream]
	features[reloading] = strings.Contains(help, "--conf")
	features[upgrading] = strings.Contains(help, "--upgrade")
	return features
}

// belayLacks returns peer.lacks for a binary with this help.
func belayLacks(help string) func(access) string {
	return func(a access) string {
		flag := ""
		switch {
		case a.TLS:
			flag = "--https"
		case a.H2:
			flag = "--h2c"
		}
		if strings.Contains(help, flag) {
			return ""
		}
		return "this binary has no " + flag
	}
}
