// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
)

// Names of the peers, for --peers and in the report.
const (
	nginxName         = "nginx"
	haproxyName       = "haproxy"
	stdlibName        = "httputil"
	stdlibGC400Name   = "httputil-gogc400"
	belayName         = "belay"
	envoyName         = "envoy"
	caddyName         = "caddy"
	traefikName       = "traefik"
	trafficServerName = "trafficserver"
	h2oName           = "h2o"
	varnishName       = "varnish"
	fasthttpName      = "fasthttp"
	pingoraName       = "pingora"
)

// quickPeers are those that --quick measures unless --peers says otherwise:
// what is compared in the gate.
var quickPeers = []string{nginxName, belayName}

// A candidate is a peer that has not been looked for.
type candidate struct {
	name     string
	optional bool // measured only if --peers names it
	find     func(ctx context.Context, w workshop) peer
}

// A workshop is where peers are built.
type workshop struct {
	dir      string    // for programs, removed at the end
	progress io.Writer // told of what takes long
}

// candidates are all peers but the belays of --belay, in the order of the
// report.
var candidates = []candidate{
	{name: nginxName, find: nginxPeer},
	{name: haproxyName, find: haproxyPeer},
	{name: envoyName, find: envoyPeer},
	{name: caddyName, find: caddyPeer},
	{name: traefikName, find: traefikPeer},
	{name: trafficServerName, find: trafficServerPeer},
	{name: h2oName, find: h2oPeer},
	{name: varnishName, find: varnishPeer},
	{name: stdlibName, find: stdlibPeer},
	{name: stdlibGC400Name, find: stdlibGC400Peer, optional: true},
	{name: fasthttpName, find: fasthttpPeer},
	{name: pingoraName, find: pingoraPeer},
	{name: belayName, find: belayPeer},
}

// findPeers returns all peers that --peers selects, also those that cannot be
// measured.
func findPeers(ctx context.Context, opts options, w workshop) ([]peer, error) {
	chosen, err := selectCandidates(opts)
	if err != nil {
		return nil, err
	}
	var peers []peer
	for _, c := range chosen {
		p := c.find(ctx, w)
		p.Name = c.name
		peers = append(peers, p)
	}
	return peers, ctx.Err()
}

// selectCandidates returns the candidates and the belays of --belay that the
// globs of --peers match; without a glob, those that are not optional.
func selectCandidates(opts options) ([]candidate, error) {
	all := candidates[:len(candidates):len(candidates)]
	seen := make(map[string]bool)
	for _, value := range opts.belays {
		c, err := otherBelay(value)
		if err != nil {
			return nil, err
		}
		if seen[c.name] {
			return nil, fmt.Errorf("two peers are called %s; name them: --belay NAME=PATH", c.name)
		}
		seen[c.name] = true
		all = append(all, c)
	}
	var list []string
	for _, c := range all {
		list = append(list, c.name)
	}
	matched, err := matchNames("peer", list, opts.peers)
	if err != nil {
		return nil, err
	}
	var chosen []candidate
	for i, c := range all {
		if matched[i] && !(c.optional && len(opts.peers) == 0) {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// installed returns the peer for a program found in PATH or where
// distributions put servers. versionArg makes the program print its version,
// of which pattern matches the interesting part.
func installed(program, versionArg, pattern string, command func(program string, set setup) (*exec.Cmd, error)) peer {
	file, err := findProgram(program)
	if err != nil {
		return peer{Skipped: "not installed"}
	}
	out, err := exec.Command(file, versionArg).CombinedOutput()
	if err != nil {
		return peer{Skipped: fmt.Sprintf("%s %s: %v", file, versionArg, err)}
	}
	return peer{
		Version: string(regexp.MustCompile(pattern).Find(out)),
		command: func(set setup) (*exec.Cmd, error) { return command(file, set) },
	}
}

// findProgram is exec.LookPath with the directories that hold servers but are
// not in every user's PATH.
func findProgram(name string) (string, error) {
	if program, err := exec.LookPath(name); err == nil {
		return program, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin"} {
		if program, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return program, nil
		}
	}
	return "", exec.ErrNotFound
}
