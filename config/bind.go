// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A binder sets Go variables to what a tree of YAML nodes says and gathers
// what is wrong with it.
type binder struct {
	file   string
	found  problems
	places map[string]place // by field path, of what has been bound
	values int              // bound so far
	err    error            // a mistake of the program; ends everything
}

// A place is a position in the file.
type place struct {
	line, column int
}

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// A slot is a variable that waits for the value of a key.
type slot struct {
	name     string
	v        reflect.Value
	required bool
	rule     rule
}

// bindRoot binds the root of a file to the struct v and to sections.
func (b *binder) bindRoot(root *yaml.Node, v reflect.Value, sections []Section) error {
	slots := b.slots(v)
	for _, s := range sections {
		p := reflect.ValueOf(s.Value)
		if p.Kind() != reflect.Pointer || p.IsNil() {
			return fmt.Errorf("config: section %q: Value is %T, want a pointer", s.Key, s.Value)
		}
		if s.Key == "" || slices.ContainsFunc(slots, func(t slot) bool { return t.name == s.Key }) {
			return fmt.Errorf("config: section %q: Key is empty or taken", s.Key)
		}
		slots = append(slots, slot{name: s.Key, v: p.Elem(), required: s.Required})
	}
	if root == nil || root.ShortTag() == "!!null" {
		root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
	}
	b.bindSlots(root, slots, "")
	b.validate(v, "")
	return b.err
}

// slots returns the variables in the struct v.
func (b *binder) slots(v reflect.Value) []slot {
	list, err := fields(v.Type())
	if err != nil && b.err == nil {
		b.err = err
	}
	slots := make([]slot, len(list))
	for i, f := range list {
		slots[i] = slot{f.name, v.FieldByIndex(f.index), f.required, f.rule}
	}
	return slots
}

// full reports whether it makes no sense to go on.
func (b *binder) full() bool {
	return b.err != nil || len(b.found) >= MaxProblems || b.values > MaxValues
}

// count counts one more value and reports whether to go on with it. It bounds
// the work that a small file can ask for with aliases of aliases.
func (b *binder) count(at place, path string) bool {
	if b.values++; b.values == MaxValues+1 {
		b.problem(at, path, "is one value too many: at most %d are read", MaxValues)
	}
	return !b.full()
}

// problem notes that something is wrong at a place.
func (b *binder) problem(at place, path, format string, args ...any) {
	if len(b.found) < MaxProblems {
		b.found = append(b.found, &Error{b.file, at.line, at.column, path, fmt.Sprintf(format, args...)})
	}
}

// bind sets v to what n says. Nothing is done for an empty value.
func (b *binder) bind(v reflect.Value, n *yaml.Node, path string, r rule) {
	at := placeOf(n)
	if !b.count(at, path) {
		return
	}
	b.places[path] = at
	if n = resolve(n); n.ShortTag() == "!!null" {
		return
	}
	if n.Kind == yaml.ScalarNode && isText(v.Type()) {
		b.bindScalar(v, n, at, path, r)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		b.bind(p.Elem(), n, path, r)
		v.Set(p)
	case reflect.Struct:
		if b.expect(yaml.MappingNode, n, at, path) {
			b.bindSlots(n, b.slots(v), path)
			b.validate(v, path)
		}
	case reflect.Slice:
		if b.expect(yaml.SequenceNode, n, at, path) {
			b.bindSlice(v, n, path, r)
		}
	case reflect.Map:
		if b.expect(yaml.MappingNode, n, at, path) {
			b.bindMap(v, n, path, r)
		}
	default:
		if b.expect(yaml.ScalarNode, n, at, path) {
			b.bindScalar(v, n, at, path, r)
		}
	}
}

// resolve returns the node that n is an alias of, or n.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias // never an alias itself
	}
	return n
}

// kinds are the kinds of node in words.
var kinds = map[yaml.Kind]string{
	yaml.MappingNode:  "a mapping",
	yaml.SequenceNode: "a list",
	yaml.ScalarNode:   "a single value",
}

// expect reports whether n is of a kind, and notes a problem if it is not.
func (b *binder) expect(kind yaml.Kind, n *yaml.Node, at place, path string) bool {
	if n.Kind == kind {
		return true
	}
	if path == "" {
		path = "the file"
	}
	got := kinds[n.Kind]
	if n.Kind == yaml.ScalarNode {
		got = clip(n.Value)
	}
	b.problem(at, path, "is %s, want %s", got, kinds[kind])
	return false
}

// bindScalar sets v to a single value.
func (b *binder) bindScalar(v reflect.Value, n *yaml.Node, at place, path string, r rule) {
	// What is quoted is a text: it may become anything that has a notation
	// of its own, but not a number or a bool.
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	number := v.CanInt() || v.CanUint() || v.CanFloat() || v.Kind() == reflect.Bool
	if quoted && number && !isText(v.Type()) && v.Type() != durationType && r.unit == "" {
		b.problem(at, path, "is the text %s, want it without quotes", clip(n.Value))
		return
	}
	if err := setScalar(v, n.Value, r.unit); err != nil {
		b.problem(at, path, "%s", joiner(err.Error()))
		return
	}
	switch msg := r.outside(v); {
	case msg != "":
		b.problem(at, path, "%s", msg)
	case r.notzero && v.IsZero() && r.min != "":
		b.problem(at, path, "is %s, want at least %s", clipPlain(n.Value), r.min)
	case r.notzero && v.IsZero():
		b.problem(at, path, "is %s, which would mean the default, %s: leave the key out for that, or write -1 for none",
			clipPlain(n.Value), r.def)
	}
}

// joiner makes msg, from any source, the end of a sentence that begins with a
// field.
func joiner(msg string) string {
	for _, verb := range []string{"is ", "has ", "want ", "cannot ", "must "} {
		if strings.HasPrefix(msg, verb) {
			if verb == "want " {
				return "is wrong: " + msg
			}
			return msg
		}
	}
	return "is wrong: " + msg
}

func (b *binder) bindSlice(v reflect.Value, n *yaml.Node, path string, r rule) {
	list := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), 1024))
	for i, c := range n.Content {
		if b.full() {
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		b.bind(e, c, elem(path, i), r)
		list = reflect.Append(list, e)
	}
	v.Set(list)
}

func (b *binder) bindMap(v reflect.Value, n *yaml.Node, path string, r rule) {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		b.err = fmt.Errorf("config: %s: the keys of %v are not strings", path, t)
		return
	}
	m := reflect.MakeMap(t)
	for _, p := range b.pairs(n, path) {
		if b.full() {
			return
		}
		e := reflect.New(t.Elem()).Elem()
		b.bind(e, p.value, dot(path, p.name), r)
		m.SetMapIndex(reflect.ValueOf(p.name).Convert(t.Key()), e)
	}
	v.Set(m)
}

// bindSlots sets each slot that the mapping n has a key for.
func (b *binder) bindSlots(n *yaml.Node, slots []slot, path string) {
	if !b.expect(yaml.MappingNode, n, placeOf(n), path) {
		return
	}
	byName := make(map[string]slot, len(slots))
	for _, s := range slots {
		byName[s.name] = s
	}
	for _, p := range b.pairs(n, path) {
		if b.full() {
			return
		}
		s, ok := byName[p.name]
		switch {
		case ok:
			b.bind(s.v, p.value, dot(path, p.name), s.rule)
			s.required = false
			byName[p.name] = s
		case path == "" && strings.HasPrefix(p.name, "x-"):
		default:
			b.unknown(p, slots, path)
		}
	}
	for _, s := range slots {
		if byName[s.name].required {
			b.problem(placeOf(n), dot(path, s.name), "is missing")
		}
	}
}

func (b *binder) unknown(p pair, slots []slot, path string) {
	names := make([]string, len(slots))
	for i, s := range slots {
		names[i] = s.name
	}
	hint := ""
	if near := nearest(p.name, names); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	b.problem(p.at, dot(path, p.name), "is not a known key%s", hint)
}

// validate calls the Validate methods of the struct v and of what it inlines,
// and notes the problems that are not known yet.
func (b *binder) validate(v reflect.Value, path string) {
	if b.full() {
		return
	}
	t := v.Type()
	for i := range t.NumField() {
		if _, opts, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); strings.Contains(opts, "inline") {
			b.validate(v.Field(i), path)
		}
	}
	val, ok := v.Addr().Interface().(Validator)
	if !ok {
		return
	}
	for _, err := range flatten(val.Validate()) {
		field, msg := path, err.Error()
		if e, ok := err.(*Error); ok {
			field, msg = e.Field, e.Msg
			switch {
			case field == "":
				field = path
			case path != "":
				field = path + "." + field
			}
		}
		if !b.known(field) {
			b.problem(b.placeFor(field), field, "%s", joiner(msg))
		}
	}
}

// known reports whether there is a problem with a field, or a part of it,
// already.
func (b *binder) known(field string) bool {
	return field != "" && slices.ContainsFunc(b.found, func(e *Error) bool {
		rest, ok := strings.CutPrefix(e.Field, field)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// placeFor returns the place of a field, or of what is nearest around it.
func (b *binder) placeFor(field string) place {
	for field != "" {
		if at, ok := b.places[field]; ok {
			return at
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return place{1, 1}
}
