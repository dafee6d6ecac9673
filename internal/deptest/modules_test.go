// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed is one line of allow.txt.
type allowed struct {
	module    string
	importers []string // patterns as in layers; nil means nobody directly
	reason    string
}

// permits reports whether pkg may import packages of the module.
func (a allowed) permits(pkg string) bool {
	return slices.ContainsFunc(a.importers, func(p string) bool { return p == "*" || matches(p, pkg) })
}

// readAllowed reads allow.txt, whose head describes its format.
func readAllowed(t *testing.T) map[string]allowed {
	t.Helper()
	text, err := os.ReadFile("allow.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]allowed{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 3 {
			t.Fatalf("allow.txt: %q: want module, importers and a reason", line)
		}
		if _, ok := list[words[0]]; ok {
			t.Errorf("allow.txt: %s is there twice", words[0])
		}
		a := allowed{module: words[0], reason: strings.Join(words[2:], " ")}
		if words[1] != "-" {
			a.importers = strings.Split(words[1], ",")
		}
		list[a.module] = a
	}
	return list
}

// TestLinkedModules checks every module of which a package is linked into the
// framework, and who imports it.
func TestLinkedModules(t *testing.T) {
	t.Parallel()
	list := readAllowed(t)
	modules := map[string]string{} // import path to module
	reported := map[string]bool{}
	for _, p := range linkedPackages(t) {
		if p.Standard || p.ours() || p.Module == nil {
			continue
		}
		modules[p.ImportPath] = p.Module.Path
		if _, ok := list[p.Module.Path]; !ok && !reported[p.Module.Path] {
			reported[p.Module.Path] = true
			t.Errorf("module %s is linked into the framework but not in internal/deptest/allow.txt", p.Module.Path)
		}
	}
	for _, p := range rootPackages(t) {
		for _, path := range p.Imports {
			if a, ok := list[modules[path]]; ok && !a.permits(p.short()) {
				t.Errorf("%s imports %s; internal/deptest/allow.txt leaves that to %q", p.short(), path, a.importers)
			}
		}
	}
}

// TestRequiredModules checks every direct requirement in go.mod, those of
// tests included.
func TestRequiredModules(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command")
	}
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	list := readAllowed(t)
	for _, r := range mod.Require {
		if _, ok := list[r.Path]; !ok && !r.Indirect {
			t.Errorf("go.mod requires %s, which is not in internal/deptest/allow.txt", r.Path)
		}
	}
	for _, r := range mod.Replace {
		t.Errorf("go.mod replaces %s: a program that imports the framework would not get that", r.Old.Path)
	}
}

// TestWorkspace checks that go.work joins all modules of the repository and
// that they ask for one version of Go.
func TestWorkspace(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root(t), "go.work"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no go.work") // a module fetched by itself
	} else if err != nil {
		t.Fatal(err)
	}
	var used, found, versions []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && strings.HasPrefix(words[len(words)-1], ".") {
			used = append(used, path.Clean(words[len(words)-1]))
		} else if len(words) == 2 && words[0] == "go" {
			versions = append(versions, words[1])
		}
	}
	eachFile(t, func(name string, content []byte) {
		if path.Base(name) != "go.mod" || strings.Contains(name, "testdata/") {
			return
		}
		found = append(found, path.Dir(name))
		for line := range strings.Lines(string(content)) {
			if v, ok := strings.CutPrefix(line, "go "); ok {
				versions = append(versions, strings.TrimSpace(v))
			}
		}
	})
	slices.Sort(used)
	slices.Sort(found)
	if !slices.Equal(used, found) {
		t.Errorf("go.work uses %q, the repository has modules in %q", used, found)
	}
	slices.Sort(versions)
	if versions = slices.Compact(versions); len(versions) != 1 {
		t.Errorf("go.work and the go.mod files ask for different versions of Go: %q", versions)
	}
}
