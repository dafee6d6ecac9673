// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"fmt"
	"iter"
	"strings"
)

// A Field is one field line: a name and its value, without surrounding white
// space. A name that appears on several lines gives several Fields.
type Field struct {
	Name, Value string
}

// Fields is an ordered list of fields. The zero Fields is empty and ready to
// use. It is not safe for concurrent use when one user modifies it.
//
// There is no map: messages have few fields, and a scan that compares lengths
// first is faster than hashing and keeps order and spelling for free.
type Fields struct {
	list  []Field
	never *neverName // names of NeverIndex, nil for most messages
}

// Len returns the number of field lines.
func (f *Fields) Len() int { return len(f.list) }

// At returns field line i, counting from 0.
func (f *Fields) At(i int) Field { return f.list[i] }

// Get returns the value of the first field called name, or "".
func (f *Fields) Get(name string) string {
	v, _ := f.Lookup(name)
	return v
}

// Lookup returns the value of the first field called name and whether there
// is one.
func (f *Fields) Lookup(name string) (value string, ok bool) {
	for i := range f.list {
		if EqualName(f.list[i].Name, name) {
			return f.list[i].Value, true
		}
	}
	return "", false
}

// Has reports whether there is a field called name.
func (f *Fields) Has(name string) bool {
	_, ok := f.Lookup(name)
	return ok
}

// Values iterates over the values of all fields called name, in order. A loop
// that adds or removes fields may miss some; see also DelFunc.
func (f *Fields) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range f.list {
			if i >= len(f.list) {
				return // the loop has removed some
			}
			if EqualName(f.list[i].Name, name) && !yield(f.list[i].Value) {
				return
			}
		}
	}
}

// All iterates over all field lines in order. A loop that adds or removes
// fields may miss some; see also DelFunc.
func (f *Fields) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i := range f.list {
			if i >= len(f.list) || !yield(f.list[i].Name, f.list[i].Value) {
				return
			}
		}
	}
}

// Add appends a field line. Bytes that a value must not contain (CR, LF, NUL
// and the other controls; RFC 9110 section 5.5) are replaced by spaces, so
// that data can never become syntax. A name that is not a token is a bug in
// the program and panics.
func (f *Fields) Add(name, value string) {
	mustName(name)
	f.list = append(f.list, Field{name, cleanValue(value)})
}

// Set replaces the first field called name, keeping its place and spelling,
// and removes any further ones. If there is none, it appends one. Names and
// values are checked as by Add.
func (f *Fields) Set(name, value string) {
	for i := range f.list {
		if EqualName(f.list[i].Name, name) {
			f.list[i].Value = cleanValue(value)
			f.delFrom(i+1, name)
			return
		}
	}
	f.Add(name, value)
}

// SetFirst sets a field as Set does, except that a new field goes to the
// front. RFC 9110 section 7.2 wants Host first.
func (f *Fields) SetFirst(name, value string) {
	if f.Has(name) {
		f.Set(name, value)
		return
	}
	f.Add(name, value)
	last := f.list[len(f.list)-1]
	copy(f.list[1:], f.list)
	f.list[0] = last
}

// Del removes every field called name.
func (f *Fields) Del(name string) { f.delFrom(0, name) }

func (f *Fields) delFrom(start int, name string) {
	kept := f.list[:start]
	for _, field := range f.list[start:] {
		if !EqualName(field.Name, name) {
			kept = append(kept, field)
		}
	}
	f.truncate(kept)
}

// DelFunc removes every field for which del returns true.
func (f *Fields) DelFunc(del func(Field) bool) {
	kept := f.list[:0]
	for _, field := range f.list {
		if !del(field) {
			kept = append(kept, field)
		}
	}
	f.truncate(kept)
}

// truncate makes kept, a prefix of the list's array, the list.
func (f *Fields) truncate(kept []Field) {
	clear(f.list[len(kept):]) // let go of the strings
	f.list = kept
}

// AddValid appends a field line without checking it. It is for parsers: the
// caller guarantees that ValidName(name) and ValidValue(value) hold.
func (f *Fields) AddValid(name, value string) {
	f.list = append(f.list, Field{name, value})
}

// Reset removes all fields and keeps the memory for reuse.
func (f *Fields) Reset() {
	clear(f.list)
	f.list = f.list[:0]
	f.never = nil
}

// CopyFrom makes f a copy of src. It reuses f's memory.
func (f *Fields) CopyFrom(src *Fields) {
	f.never = src.never
	n := len(f.list)
	f.list = append(f.list[:0], src.list...)
	if len(f.list) < n {
		clear(f.list[len(f.list):n])
	}
}

// Clone returns an independent copy of f.
func (f *Fields) Clone() Fields {
	var c Fields
	c.CopyFrom(f)
	return c
}

// Equal reports whether f and g have the same values under the same names,
// letter case apart, in the same order. What NeverIndex has marked does not
// count.
func (f *Fields) Equal(g *Fields) bool {
	if len(f.list) != len(g.list) {
		return false
	}
	for i := range f.list {
		if !EqualName(f.list[i].Name, g.list[i].Name) || f.list[i].Value != g.list[i].Value {
			return false
		}
	}
	return true
}

// String returns the fields as they would be written on the wire, each line
// ended by a newline, for logs and tests.
func (f *Fields) String() string {
	var b strings.Builder
	for _, field := range f.list {
		b.WriteString(field.Name + ": " + field.Value + "\n")
	}
	return b.String()
}

func mustName(name string) {
	if !ValidName(name) {
		panic(fmt.Sprintf("header: invalid field name %q", name))
	}
}

// cleanValue returns v without white space around it and with every byte that
// a field value must not contain replaced by a space.
func cleanValue(v string) string {
	if !ValidValue(v) {
		b := []byte(v)
		for i, c := range b {
			if !valueByte[c] {
				b[i] = ' '
			}
		}
		v = string(b)
	}
	return trimOWS(v)
}

// trimOWS removes optional white space (RFC 9110 section 5.6.3) from both ends.
func trimOWS(v string) string {
	for v != "" && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for v != "" && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}
