// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// A Validator is a type that can tell what is wrong with its value. [Load]
// calls Validate on every struct that it has bound, innermost first, and adds
// the place in the file to each [*Error] that it returns.
type Validator interface {
	Validate() error
}

// ApplyDefaults sets every zero value in *v that has a default tag to it. It
// descends into structs, slices, maps and pointers that are not nil. It fails
// only if a tag is wrong or v is not a pointer.
func ApplyDefaults(v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("config: ApplyDefaults of %T, want a pointer", v)
	}
	return applyDefaults(p.Elem())
}

func applyDefaults(v reflect.Value) error {
	return walk(v, "", rule{}, func(v reflect.Value, _ string, r rule) error {
		if r.def == "" || !v.CanSet() || !v.IsZero() {
			return nil
		}
		if v.Kind() == reflect.Pointer {
			return nil
		}
		return setScalar(v, r.def, r.unit)
	})
}

// checkTags returns the values in *v, a struct, that are outside the range of
// their tags.
func checkTags(v any) problems {
	var found problems
	err := walk(reflect.ValueOf(v).Elem(), "", rule{}, func(v reflect.Value, path string, r rule) error {
		if msg := r.outside(v); msg != "" {
			found = append(found, &Error{Field: path, Msg: msg})
		}
		return nil
	})
	if err != nil {
		found = append(found, &Error{Msg: err.Error()})
	}
	return found
}

// walk calls visit for every value in v that is not a struct, pointer, slice
// or map of others.
func walk(v reflect.Value, path string, r rule, visit func(v reflect.Value, path string, r rule) error) error {
	t := v.Type()
	if t.Kind() != reflect.Struct && isText(t) {
		return visit(v, path, r)
	}
	switch t.Kind() {
	case reflect.Struct:
		list, err := fields(t)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return visit(v, path, r)
		}
		for _, f := range list {
			if err := walk(v.FieldByIndex(f.index), dot(path, f.name), f.rule, visit); err != nil {
				return err
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return walk(v.Elem(), path, r, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := walk(v.Index(i), elem(path, i), r, visit); err != nil {
				return err
			}
		}
	case reflect.Map:
		return walkMap(v, path, r, visit)
	default:
		return visit(v, path, r)
	}
	return nil
}

// walkMap walks the values of a map, which may be replaced, in the order of
// its keys.
func walkMap(m reflect.Value, path string, r rule, visit func(v reflect.Value, path string, r rule) error) error {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	for _, k := range keys {
		v := reflect.New(m.Type().Elem()).Elem()
		v.Set(m.MapIndex(k))
		if err := walk(v, dot(path, k.String()), r, visit); err != nil {
			return err
		}
		m.SetMapIndex(k, v)
	}
	return nil
}

// outside says how v, unless it is zero, misses the range of r. It returns ""
// if v is in the range.
func (r rule) outside(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	if r.min != "" && r.compare(v, r.min) < 0 {
		return fmt.Sprintf("is %s, want at least %s", show(v), r.min)
	}
	if r.max != "" && r.compare(v, r.max) > 0 {
		return fmt.Sprintf("is %s, want at most %s", show(v), r.max)
	}
	return ""
}

// compare compares v with the value that text stands for.
func (r rule) compare(v reflect.Value, text string) int {
	limit := reflect.New(v.Type()).Elem()
	if setScalar(limit, text, r.unit) != nil {
		return 0 // fields has refused such a tag
	}
	switch {
	case v.CanInt():
		return cmp.Compare(v.Int(), limit.Int())
	case v.CanUint():
		return cmp.Compare(v.Uint(), limit.Uint())
	case v.CanFloat():
		return cmp.Compare(v.Float(), limit.Float())
	}
	return 0
}

func show(v reflect.Value) string {
	if v.Type() == durationType {
		return time.Duration(v.Int()).String()
	}
	return fmt.Sprint(v.Interface())
}
