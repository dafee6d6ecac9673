// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Error is one problem of a configuration. Functions that find several
// return them joined ([errors.Join]); each can be had with [Problems].
type Error struct {
	File   string // empty if the configuration was not read from a file
	Line   int    // counts from 1; 0 if unknown
	Column int    // counts from 1, in characters; 0 if unknown
	Field  string // path of keys, such as "limits.rate" or "hosts[2]"; may be empty
	Msg    string // what is wrong, as the end of a sentence that Field begins
}

// Error returns, for example, "conf.yaml:3:10: threads is -1, want at least 1".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + " ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Errorf returns an Error about a field, for use in Validate methods:
//
//	config.Errorf("rate", "is %d, want at most %d", c.Rate, limit)
//
// The field is the path of keys from the value whose method it is. Whoever
// called the method completes the path and adds file, line and column.
func Errorf(field, format string, args ...any) error {
	return fieldErrorf(field, format, args...)
}

func fieldErrorf(field, format string, args ...any) *Error {
	return &Error{Field: field, Msg: fmt.Sprintf(format, args...)}
}

// Problems returns every *Error in err, which may have been joined or
// wrapped, in their order there.
func Problems(err error) []*Error {
	var list []*Error
	for _, e := range flatten(err) {
		if p, ok := errors.AsType[*Error](e); ok {
			list = append(list, p)
		}
	}
	return list
}

// flatten returns the errors that were joined to make err.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var list []error
	for _, e := range joined.Unwrap() {
		list = append(list, flatten(e)...)
	}
	return list
}

// problems is a list of what has been found so far.
type problems []*Error

// join returns the problems as one error in the order of their places, or nil.
func (p problems) join() error {
	slices.SortStableFunc(p, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(p))
	for i, e := range p {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// dot and elem build field paths. A key that would be hard to read in one is
// quoted.
func dot(path, key string) string {
	if key == "" || len(key) > 100 || strings.ContainsFunc(key, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`.[]"`, r)
	}) {
		key = clip(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func elem(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}
