// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// modulePath is the path of the root module.
const modulePath = "github.com/belay-proxy/belay"

// systems are those whose files are looked at: an import may hide behind a
// build constraint.
var systems = []string{"linux", "darwin", "freebsd"}

// listed is what "go list -json" tells of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct {
		Path string
		Main bool
	}
	Error *struct{ Err string }
}

// short returns the path of p below the root module, "." for the root.
func (p listed) short() string {
	s, _ := shortPath(p.ImportPath)
	return s
}

// ours reports whether p belongs to the root module.
func (p listed) ours() bool { return p.Module != nil && p.Module.Main }

// shortPath returns an import path without the root module's own path, "."
// for the root, and whether it lies below that.
func shortPath(path string) (short string, ours bool) {
	if path == modulePath {
		return ".", true
	}
	return strings.CutPrefix(path, modulePath+"/")
}

// root returns the root directory of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// linked returns what every system links into the packages of the root module,
// those packages and the standard library included, without tests. The result
// of the first call is kept.
var linked = sync.OnceValues(func() ([]listed, error) {
	var all []listed
	for _, system := range systems {
		cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports,Standard,Module,Error", "./...")
		cmd.Dir = filepath.Join("..", "..")
		// GOWORK=off: what a program that imports the framework would get.
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS="+system)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, err
		}
		for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p listed
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
})

// linkedPackages returns linked, and fails the test if a package has errors.
func linkedPackages(t *testing.T) []listed {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command")
	}
	all, err := linked()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, p := range all {
		if p.Error != nil {
			t.Errorf("go list %s: %s", p.ImportPath, p.Error.Err)
		}
	}
	return all
}

// rootPackages returns the packages of the root module, each with what it
// imports on any system.
func rootPackages(t *testing.T) []listed {
	t.Helper()
	var pkgs []listed
	index := map[string]int{}
	for _, p := range linkedPackages(t) {
		if !p.ours() {
			continue
		}
		i, ok := index[p.ImportPath]
		if !ok {
			index[p.ImportPath] = len(pkgs)
			pkgs = append(pkgs, p)
			continue
		}
		merged := slices.Concat(pkgs[i].Imports, p.Imports)
		slices.Sort(merged)
		pkgs[i].Imports = slices.Compact(merged)
	}
	if len(pkgs) == 0 {
		t.Error("go list found no packages of the root module")
	}
	return pkgs
}
