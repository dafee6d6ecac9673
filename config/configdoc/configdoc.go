// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package configdoc writes the reference of a configuration from the Go source
// of the struct that it is bound to (see package config): key, type and
// default from the fields and their tags, the description from their comments.
//
// It needs the source, so it is for tests and generators:
//
//	err := configdoc.Write(w, ".", "Config")
package configdoc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// Write writes a Markdown table with a line for each key of the struct type
// name, which must be declared in the Go files of dir, tests excepted. Keys of
// structs inside it that are declared there, too, follow theirs as
// "key.inner", "key[].inner" or "key.<name>.inner".
func Write(w io.Writer, dir, name string) error {
	types, err := parse(dir)
	if err != nil {
		return err
	}
	d := &doc{types: types}
	if err := d.addStruct("", name); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "| Key | Type | Default | Meaning |\n|---|---|---|---|\n%s", strings.Join(d.rows, ""))
	return err
}

// parse returns the struct types declared in the Go files of dir.
func parse(dir string) (map[string]*ast.StructType, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	types := make(map[string]*ast.StructType)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f.Name()), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if st, ok := spec.Type.(*ast.StructType); ok {
					types[spec.Name.Name] = st
				}
			}
			return true
		})
	}
	return types, nil
}

// A doc gathers the rows of a table.
type doc struct {
	types map[string]*ast.StructType
	rows  []string
	open  []string // types that are being added, to end recursion
}

// addStruct adds the keys of a type, with prefix in front of each.
func (d *doc) addStruct(prefix, name string) error {
	st, ok := d.types[name]
	if !ok {
		return fmt.Errorf("configdoc: no struct type %s", name)
	}
	for _, o := range d.open {
		if o == name {
			return nil
		}
	}
	d.open = append(d.open, name)
	defer func() { d.open = d.open[:len(d.open)-1] }()

	keys := keysOf(st)
	for _, f := range st.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		key, opts, _ := strings.Cut(tag.Get("yaml"), ",")
		suffix, inner := typeOf(f.Type, "")
		if strings.Contains(opts, "inline") {
			if err := d.addStruct(prefix, inner); err != nil {
				return err
			}
			continue
		}
		if key == "" || key == "-" {
			continue
		}
		d.addRow(prefix+key, f, tag, opts, keys)
		if _, ok := d.types[inner]; ok {
			if err := d.addStruct(prefix+key+suffix+".", inner); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *doc) addRow(path string, f *ast.Field, tag reflect.StructTag, opts string, keys map[string]string) {
	def := tag.Get("default")
	switch {
	case strings.Contains(opts, "required"):
		def = "required"
	case def != "":
		def = "`" + def + "`"
	}
	text := cell(describe(f.Doc.Text(), keys))
	d.rows = append(d.rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", path, typeText(f.Type, tag), def, text))
}

// keysOf returns the key of each field of st that has one.
func keysOf(st *ast.StructType) map[string]string {
	keys := make(map[string]string)
	for _, f := range st.Fields.List {
		if f.Tag == nil || len(f.Names) == 0 {
			continue
		}
		key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"), ",")
		if key != "" && key != "-" {
			keys[f.Names[0].Name] = key
		}
	}
	return keys
}

var word = regexp.MustCompile(`[A-Za-z][A-Za-z0-9]*`)

// describe returns a field comment with the names of fields replaced by keys.
func describe(text string, keys map[string]string) string {
	return word.ReplaceAllStringFunc(text, func(w string) string {
		if key, ok := keys[w]; ok {
			return "`" + key + "`"
		}
		return w
	})
}

// cell returns text on one line, safe inside a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// typeOf returns the name of the type that is at the core of t, and what leads
// to it in a path.
func typeOf(t ast.Expr, suffix string) (path, name string) {
	switch t := t.(type) {
	case *ast.StarExpr:
		return typeOf(t.X, suffix)
	case *ast.ArrayType:
		return typeOf(t.Elt, suffix+"[]")
	case *ast.MapType:
		return typeOf(t.Value, suffix+".<name>")
	case *ast.Ident:
		return suffix, t.Name
	case *ast.SelectorExpr:
		return suffix, t.Sel.Name
	}
	return suffix, ""
}

// typeText returns the type of a field in words.
func typeText(t ast.Expr, tag reflect.StructTag) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return typeText(t.X, tag)
	case *ast.ArrayType:
		return "list of " + typeText(t.Elt, tag)
	case *ast.MapType:
		return "mapping of " + typeText(t.Value, tag)
	case *ast.SelectorExpr:
		switch t.Sel.Name {
		case "Duration":
			if tag.Get("unit") == "s" {
				return "seconds or duration"
			}
			return "duration"
		case "Addr":
			return "IP address"
		case "AddrPort":
			return "IP address and port"
		case "Prefix":
			return "IP prefix"
		}
		return "text"
	case *ast.Ident:
		return identText(t.Name, tag.Get("unit"))
	}
	return "text"
}

func identText(name, unit string) string {
	switch {
	case name == "string":
		return "text"
	case name == "bool":
		return "true or false"
	case unit == "bytes":
		return "size"
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"):
		return "number"
	case strings.HasPrefix(name, "float"):
		return "decimal number"
	}
	return "mapping"
}
