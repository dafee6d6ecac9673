// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A field is a struct field that can be set from a file, with what its tags
// say.
type field struct {
	name     string // key
	index    []int  // for reflect.Value.FieldByIndex
	required bool
	notzero  bool
	rule     rule
}

// A rule is how a value may be written and what it may be. It applies to the
// elements of a slice or map, too.
type rule struct {
	unit     string // "bytes", "s" or empty
	def      string // default; empty means none
	min, max string // empty means no limit
	notzero  bool
}

// fields returns what can be set in the struct type t, with the fields of
// inlined structs in place. The error tells of a mistake in the program.
func fields(t reflect.Type) ([]field, error) {
	var list []field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("yaml")
		if !ok || tag == "-" {
			continue
		}
		name, rest, _ := strings.Cut(tag, ",")
		opts := strings.Split(rest, ",")
		if !sf.IsExported() {
			return nil, fmt.Errorf("config: field %s of %v has a yaml tag but is not exported", sf.Name, t)
		}
		if slices.Contains(opts, "inline") {
			inner, err := inlined(sf, t)
			if err != nil {
				return nil, err
			}
			list = append(list, inner...)
			continue
		}
		f := field{name: name, index: sf.Index}
		for _, opt := range opts {
			switch opt {
			case "":
			case "required":
				f.required = true
			case "notzero":
				f.notzero = true
			default:
				return nil, fmt.Errorf("config: field %s of %v: unknown option %q in yaml tag", sf.Name, t, opt)
			}
		}
		f.rule = rule{
			unit: sf.Tag.Get("unit"), def: sf.Tag.Get("default"),
			min: sf.Tag.Get("min"), max: sf.Tag.Get("max"), notzero: f.notzero,
		}
		if err := f.rule.check(sf.Type); err != nil {
			return nil, fmt.Errorf("config: field %s of %v: %w", sf.Name, t, err)
		}
		list = append(list, f)
	}
	return list, unique(list, t)
}

// inlined returns the fields of the struct that the field sf of t inlines.
func inlined(sf reflect.StructField, t reflect.Type) ([]field, error) {
	if sf.Type.Kind() != reflect.Struct {
		return nil, fmt.Errorf("config: field %s of %v is inlined but not a struct", sf.Name, t)
	}
	inner, err := fields(sf.Type)
	for i := range inner {
		inner[i].index = append(slices.Clone(sf.Index), inner[i].index...)
	}
	return inner, err
}

// unique returns an error if a key occurs twice, or is empty.
func unique(list []field, t reflect.Type) error {
	seen := make(map[string]bool, len(list))
	for _, f := range list {
		if f.name == "" || seen[f.name] {
			return fmt.Errorf("config: key %q of %v is empty or occurs twice", f.name, t)
		}
		seen[f.name] = true
	}
	return nil
}

// check returns an error if the texts of r do not make sense for type t.
func (r rule) check(t reflect.Type) error {
	t = scalarType(t)
	for _, text := range []string{r.def, r.min, r.max} {
		if text == "" {
			continue
		}
		if t.Kind() == reflect.Bool {
			return fmt.Errorf("a bool cannot have a default or a range")
		}
		if err := setScalar(reflect.New(t).Elem(), text, r.unit); err != nil {
			return fmt.Errorf("tag %q: %w", text, err)
		}
	}
	switch {
	case r.unit == "":
	case r.unit == "bytes" && isInt(t) && t != durationType:
	case r.unit == "s" && t == durationType:
	default:
		return fmt.Errorf("unit %q does not fit %v", r.unit, t)
	}
	return nil
}

// scalarType returns the type of the single values in t: itself, or what its
// pointers, slices and maps hold.
func scalarType(t reflect.Type) reflect.Type {
	const deepest = 16 // ends "type T []T"
	for range deepest {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			if isText(t) {
				return t
			}
			t = t.Elem()
		default:
			return t
		}
	}
	return t
}
