// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"slices"
	"strings"
	"testing"
)

// layers lists the packages of the root module, lowest first. A package may
// import its own layer and those below. "x/..." stands for x and every package
// under it. docs/decisions/0006-layers.md says why.
//
// A new package is added here, in the layer of the lowest package that will
// import it, or one below.
var layers = []layer{
	{"1 words and bytes", []string{
		"header", "proxyerr", "proxyproto", "config/...",
		"internal/bytebuf", "internal/ketama", "internal/lru", "internal/sketch", "internal/timer",
	}},
	{"2 protocols, motion", []string{"http1/...", "http2/...", "internal/netio/..."}},
	{"3 policy parts", []string{"upstream", "balancer/...", "health", "discovery/...", "ratelimit", "cache/..."}},
	{"4 the proxy", []string{"proxy"}},
	{"5 around the proxy", []string{
		"filter/...", "metrics", "cert", "accesslog", "admin", "listener", "upgrade", "server", "internal/logging",
		"internal/cgroup", "internal/control", "internal/daemon", "internal/peercred", "internal/pidfile", "internal/sdnotify",
	}},
	{"6 programs", []string{"internal/app/...", "examples/..."}},
}

// beside lists the packages that stand beside the layers: they may import
// anything, and only tests may import them.
var beside = []string{".", "proxytest/...", "internal/deptest", "internal/testnet/...", "internal/testtool"}

// A layer is a named row of the table.
type layer struct {
	name     string
	packages []string
}

// besideLayer is above all layers, so that none may import it.
const besideLayer = 1000

// layerOf returns the place in layers of a package, named by its path below
// the root module, or besideLayer. ok is false if the package is in no table.
func layerOf(pkg string) (place int, ok bool) {
	for i, l := range layers {
		if slices.ContainsFunc(l.packages, func(pattern string) bool { return matches(pattern, pkg) }) {
			return i, true
		}
	}
	return besideLayer, slices.ContainsFunc(beside, func(pattern string) bool { return matches(pattern, pkg) })
}

// matches reports whether pkg is pattern, or below it if it ends in "/...".
func matches(pattern, pkg string) bool {
	tree, ok := strings.CutSuffix(pattern, "/...")
	return pkg == tree || ok && strings.HasPrefix(pkg, tree+"/")
}

// layerName returns the name of a place that layerOf returned.
func layerName(place int) string {
	if place == besideLayer {
		return "beside the layers, for tests only"
	}
	return layers[place].name
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, p := range rootPackages(t) {
		pkg := p.short()
		from, ok := layerOf(pkg)
		if !ok {
			t.Errorf("package %s is in no layer: add it to the table in internal/deptest/layers_test.go", pkg)
			continue
		}
		for _, path := range p.Imports {
			imported, ours := shortPath(path)
			if to, ok := layerOf(imported); ours && ok && to > from {
				t.Errorf("%s (%s) imports %s (%s): imports go down or sideways, never up",
					pkg, layerName(from), imported, layerName(to))
			}
		}
	}
}

func TestLayersTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	all := [][]string{beside}
	for _, l := range layers {
		all = append(all, l.packages)
	}
	for _, p := range slices.Concat(all...) {
		if seen[p] {
			t.Errorf("%s is in the tables twice", p)
		}
		seen[p] = true
	}
	tests := []struct {
		pkg  string
		want int
		ok   bool
	}{
		{"header", 0, true},
		{"header/x", 0, false},
		{"http1", 1, true},
		{"http1/frame", 1, true},
		{"http12", 0, false},
		{"proxy", 3, true},
		{"proxytest", besideLayer, true},
		{".", besideLayer, true},
	}
	for _, tt := range tests {
		if got, ok := layerOf(tt.pkg); ok != tt.ok || ok && got != tt.want {
			t.Errorf("layerOf(%q) = %d, %v, want %d, %v", tt.pkg, got, ok, tt.want, tt.ok)
		}
	}
}
