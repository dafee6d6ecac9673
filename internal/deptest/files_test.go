// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const licenceHeader = `// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

`

// eachFile calls visit for every file of the repository that we have written,
// with its slash-separated path below the root.
func eachFile(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	dir := root(t)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		} else if err != nil {
			return err
		}
		switch d.Name() {
		case ".git", "vendor", "node_modules":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // a worktree's .git is a file
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > 4<<20 {
			return nil // gone too, or a program built in place
		}
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err == nil {
			visit(name, content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eachGoFile calls visit for every Go file outside testdata.
func eachGoFile(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	eachFile(t, func(name string, content []byte) {
		if path.Ext(name) == ".go" && !strings.Contains("/"+name, "/testdata/") {
			visit(name, content)
		}
	})
}

func TestLicenceHeader(t *testing.T) {
	t.Parallel()
	eachGoFile(t, func(name string, content []byte) {
		if !bytes.HasPrefix(content, []byte(licenceHeader)) {
			t.Errorf("%s does not begin with the two lines of the licence header and a blank line", name)
		}
	})
}

func TestPackageDoc(t *testing.T) {
	t.Parallel()
	type pkg struct {
		name string   // from the package clause
		docs []string // files with a package comment
	}
	pkgs := map[string]*pkg{}
	eachGoFile(t, func(name string, content []byte) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		dir := path.Dir(name)
		if pkgs[dir] == nil {
			pkgs[dir] = &pkg{name: file.Name.Name}
		}
		if file.Doc != nil {
			pkgs[dir].docs = append(pkgs[dir].docs, name)
			checkDoc(t, name, file)
		}
	})
	for dir, p := range pkgs {
		if len(p.docs) != 1 {
			t.Errorf("package %s in %s has %d package comments %q, want one", p.name, dir, len(p.docs), p.docs)
		}
	}
}

// checkDoc checks how the package comment of file begins: "Package name", or
// for a program "Command name" or the name itself.
func checkDoc(t *testing.T, name string, file *ast.File) {
	t.Helper()
	doc, pkg := file.Doc.Text(), file.Name.Name
	ok := strings.HasPrefix(doc, "Package "+pkg+" ")
	if pkg == "main" {
		first, _, _ := strings.Cut(doc, " ")
		ok = first == "Command" || strings.EqualFold(first, path.Base(path.Dir(name)))
	}
	if !ok {
		line, _, _ := strings.Cut(doc, "\n")
		t.Errorf("%s: the package comment begins %q, want \"Package %s …\", or for a program \"Command …\"", name, line, pkg)
	}
}

// homes matches paths below somebody's home directory.
var homes = regexp.MustCompile(`(/home|/Users|\\Users)[/\\][A-Za-z0-9._-]+[/\\](go|src|work|projects?|\.cache|Library|Documents)[/\\]`)

// TestNoMachinePaths finds what was copied from a terminal or left by a tool.
func TestNoMachinePaths(t *testing.T) {
	t.Parallel()
	paths := machinePaths(t)
	eachFile(t, func(name string, content []byte) {
		if bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0 {
			return // not text
		}
		if m := homes.Find(content); m != nil {
			t.Errorf("%s mentions %s, a path of a build machine", name, m)
		}
		for _, p := range paths {
			if m := p.Find(content); m != nil {
				t.Errorf("%s mentions %s, a path of this machine", name, bytes.TrimSpace(m))
			}
		}
	})
}

// machinePaths returns patterns for the paths of the machine that the test
// runs on: the repository, the caches of Go, hidden files of the user. A path
// of a single element, such as "/src", says too little and is left out.
func machinePaths(t *testing.T) []*regexp.Regexp {
	t.Helper()
	dirs := []string{root(t), os.Getenv("GOPATH"), os.Getenv("GOCACHE"), os.Getenv("GOMODCACHE"), os.Getenv("GOTMPDIR")}
	home, _ := os.UserHomeDir()
	if cache, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, cache, filepath.Join(home, "go"))
	}
	const start, end = `(^|[^A-Za-z0-9_./-])`, `([^A-Za-z0-9_-]|$)`
	var found []*regexp.Regexp
	for _, dir := range dirs {
		if strings.Count(filepath.ToSlash(dir), "/") >= 2 {
			found = append(found, regexp.MustCompile(start+regexp.QuoteMeta(filepath.Clean(dir))+end))
		}
	}
	if len(home) > 1 {
		found = append(found, regexp.MustCompile(start+regexp.QuoteMeta(home)+`[/\\]\.[A-Za-z]+`))
	}
	return found
}

func TestMachinePathsAreFound(t *testing.T) {
	t.Parallel()
	dir := root(t)
	if strings.Count(filepath.ToSlash(dir), "/") < 2 {
		t.Skip("the repository is at " + dir)
	}
	text := "logs are in " + filepath.Join(dir, "log.txt")
	for _, p := range machinePaths(t) {
		if p.MatchString(text) {
			return
		}
	}
	t.Errorf("no pattern finds the path in %q", text)
}

// mdLink matches the target of a link in Markdown.
var mdLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestMarkdownLinks(t *testing.T) {
	t.Parallel()
	dir := root(t)
	eachFile(t, func(name string, content []byte) {
		if path.Ext(name) != ".md" {
			return
		}
		for _, m := range mdLink.FindAllSubmatch(content, -1) {
			target, _, _ := strings.Cut(string(m[1]), "#")
			if target == "" || strings.Contains(target, ":") {
				continue // within the page, or on the network
			}
			file := path.Join(path.Dir(name), target)
			if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(file))); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, target)
			}
		}
	})
}
