// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// What a file may be. More is refused before it costs much.
const (
	MaxFileBytes = 4 << 20 // size of a file
	MaxDepth     = 64      // of lists and mappings in each other
	MaxValues    = 200_000 // after aliases have been followed
	MaxProblems  = 50      // reported; the rest is left out
)

// A Section is a top-level key that a program adds to those of [Config].
type Section struct {
	// Key is the name of the section in the file.
	Key string

	// Value points to the variable that the section is bound to, a struct
	// as a rule. What it holds before is kept where the file says nothing.
	Value any

	// Required makes it a problem that the section is missing.
	Required bool
}

// Load reads the settings of a server from a YAML file, and the sections of
// the program with them. Zero values have been replaced by their defaults as
// [ApplyDefaults] does. The error is the joined list of all problems, or says
// why the file could not be read; Config and the values of the sections are
// then of no use.
func Load(file string, sections ...Section) (Config, error) {
	data, err := read(file)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(file, data, sections...)
}

// Parse is [Load] for the content of a file; name stands for the file in
// errors.
func Parse(name string, data []byte, sections ...Section) (Config, error) {
	var c Config
	return c, parse(name, data, &c, sections)
}

// PIDFile returns the pid_file of a file, "" if it has none. Only that key is
// looked at: whoever looks for a process need not know the sections of its
// program.
func PIDFile(file string) (string, error) {
	data, err := read(file)
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	root, problem := tree(data)
	if problem != nil {
		problem.File = file
		return "", problem
	}
	if root == nil || root.ShortTag() == "!!null" {
		return "", nil
	}
	b := binder{file: file}
	if !b.expect(yaml.MappingNode, root, placeOf(root), "") {
		return "", b.found[0] // it may have been written for anything: the process is not to be guessed
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], resolve(root.Content[i+1])
		switch {
		case key.Value != "pid_file", value.ShortTag() == "!!null":
		case !b.expect(yaml.ScalarNode, value, placeOf(value), key.Value):
			return "", b.found[0]
		default:
			return value.Value, nil
		}
	}
	return "", nil
}

// Bind reads data into *v, a struct, by the rules in the package comment, with
// defaults applied; name stands for the file in errors. It is for programs
// whose top level is a struct of their own. The error is as for [Load].
func Bind(name string, data []byte, v any) error {
	return parse(name, data, v, nil)
}

// read returns the content of a file that is not too large.
func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
}

func parse(name string, data []byte, v any, sections []Section) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config: cannot bind to %T, want a pointer to a struct", v)
	}
	root, problem := tree(data)
	if problem != nil {
		problem.File = name
		return problem
	}
	b := &binder{file: name, places: make(map[string]place)}
	if err := b.bindRoot(root, p.Elem(), sections); err != nil {
		return err
	}
	if err := b.found.join(); err != nil {
		return err
	}
	if err := ApplyDefaults(v); err != nil {
		return err
	}
	for _, s := range sections {
		if err := ApplyDefaults(s.Value); err != nil {
			return err
		}
	}
	return nil
}

// tree parses data, which must be at most one document, and returns its root,
// or nil if it is empty.
func tree(data []byte) (root *yaml.Node, problem *Error) {
	// The parser reports bad input as errors; should one get it to panic,
	// then that input is bad, too.
	defer func() {
		if r := recover(); r != nil {
			root, problem = nil, &Error{Msg: fmt.Sprintf("cannot be parsed: %v", r)}
		}
	}()
	if len(data) > MaxFileBytes {
		return nil, &Error{Msg: fmt.Sprintf("is larger than %d bytes", MaxFileBytes)}
	}
	if !utf8.Valid(data) {
		return nil, notUTF8(data)
	}
	limits := loaderlimits.New(loaderlimits.DepthValue(MaxDepth))
	l, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false), yaml.WithPlugin(limits))
	if err != nil {
		return nil, &Error{Msg: err.Error()}
	}
	var doc, second yaml.Node
	if err := l.Load(&doc); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, syntaxError(err)
	}
	if err := l.Load(&second); err == nil {
		return nil, &Error{Line: second.Line, Column: second.Column, Msg: "a second document begins here, want one"}
	} else if err != io.EOF {
		return nil, syntaxError(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// syntaxError returns what the parser complains of.
func syntaxError(err error) *Error {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return &Error{Msg: err.Error()}
	}
	msg := e.Message
	if e.ContextMsg != "" {
		msg = e.ContextMsg + ": " + msg
	}
	return &Error{Line: e.Mark.Line, Column: e.Mark.Column, Msg: "not valid YAML: " + msg}
}

// notUTF8 returns the place of the first invalid byte.
func notUTF8(data []byte) *Error {
	valid := 0
	for valid < len(data) {
		r, n := utf8.DecodeRune(data[valid:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		valid += n
	}
	before := string(data[:valid])
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return &Error{Line: line, Column: column, Msg: "is not UTF-8 text"}
}
