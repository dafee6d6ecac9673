// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"slices"
	"strings"
	"testing"
)

// fieldsOf returns the fields in text, one "Name: value" per line, unchecked.
func fieldsOf(text string) *Fields {
	var f Fields
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		f.AddValid(name, value)
	}
	return &f
}

func TestFieldsEdit(t *testing.T) {
	t.Parallel()
	const start = "Host: a\nX-One: 1\nx-two: 2\nX-ONE: 3\n"
	tests := []struct {
		name string
		edit func(*Fields)
		want string
	}{
		{"nothing", func(*Fields) {}, start},
		{"add keeps order and spelling", func(f *Fields) { f.Add("x-One", "4") }, start + "x-One: 4\n"},
		{"set keeps place and spelling", func(f *Fields) { f.Set("x-one", "9") }, "Host: a\nX-One: 9\nx-two: 2\n"},
		{"set appends", func(f *Fields) { f.Set("New", "9") }, start + "New: 9\n"},
		{"set first keeps place", func(f *Fields) { f.SetFirst("X-Two", "9") }, "Host: a\nX-One: 1\nx-two: 9\nX-ONE: 3\n"},
		{"set first goes to the front", func(f *Fields) { f.SetFirst("New", "9") }, "New: 9\n" + start},
		{"set first of many", func(f *Fields) { f.SetFirst("X-ONE", "9") }, "Host: a\nX-One: 9\nx-two: 2\n"},
		{"delete all of a name", func(f *Fields) { f.Del("x-one") }, "Host: a\nx-two: 2\n"},
		{"delete what is not there", func(f *Fields) { f.Del("Nope") }, start},
		{"delete by function", func(f *Fields) { f.DelFunc(func(x Field) bool { return x.Value > "1" && x.Name != "Host" }) }, "Host: a\nX-One: 1\n"},
		{"reset", func(f *Fields) { f.Reset() }, ""},
		{"copy of a longer list", func(f *Fields) { f.CopyFrom(fieldsOf(start + start)) }, start + start},
		{"copy of a shorter list", func(f *Fields) { f.CopyFrom(fieldsOf("A: 1\n")) }, "A: 1\n"},
		{"copy of itself", func(f *Fields) { f.CopyFrom(f) }, start},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fieldsOf(start)
			tt.edit(f)
			if got := f.String(); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if tail := f.list[len(f.list):cap(f.list)]; slices.ContainsFunc(tail, func(x Field) bool { return x != Field{} }) {
				t.Errorf("removed fields are still held: %q", tail)
			}
		})
	}
}

func TestFieldsRead(t *testing.T) {
	t.Parallel()
	f := fieldsOf("Host: a\nX-One: 1\nEmpty: \nx-one: 2\n")
	if got := f.Get("x-ONE"); got != "1" {
		t.Errorf("Get(x-ONE) = %q, want the first, %q", got, "1")
	}
	if v, ok := f.Lookup("empty"); v != "" || !ok {
		t.Errorf("Lookup(empty) = %q, %v, want %q, true", v, ok, "")
	}
	if v, ok := f.Lookup("nope"); v != "" || ok {
		t.Errorf("Lookup(nope) = %q, %v, want %q, false", v, ok, "")
	}
	if f.Has("X-On") || !f.Has("EMPTY") {
		t.Errorf("Has(X-On), Has(EMPTY) = %v, %v, want false, true", f.Has("X-On"), f.Has("EMPTY"))
	}
	if got, want := slices.Collect(f.Values("X-One")), []string{"1", "2"}; !slices.Equal(got, want) {
		t.Errorf("Values(X-One) = %q, want %q", got, want)
	}
	if f.Len() != 4 || f.At(3) != (Field{"x-one", "2"}) {
		t.Errorf("Len, At(3) = %d, %q, want 4, x-one 2", f.Len(), f.At(3))
	}
	for name := range f.All() {
		if name != "Host" {
			t.Errorf("first of All is %q, want Host", name)
		}
		break
	}
	for v := range f.Values("x-one") {
		if v != "1" {
			t.Errorf("first of Values is %q, want 1", v)
		}
		break
	}
}

func TestFieldsEditedInLoop(t *testing.T) {
	t.Parallel()
	f := fieldsOf("A: 1\nB: 2\nA: 3\nB: 4\n")
	for name := range f.All() {
		f.Del(name)
		f.Add("C", "5")
	}
	for range f.Values("C") {
		f.Del("C")
	}
	if f.Has("A") || f.Has("C") {
		t.Errorf("left over:\n%s", f)
	}
}

func TestFieldsClean(t *testing.T) {
	t.Parallel()
	tests := []struct{ value, want string }{
		{"plain", "plain"},
		{" \t in the middle \t ", "in the middle"},
		{"a\r\nEvil: 1", "a  Evil: 1"},
		{"\x00\x01\x7f", ""},
		{"a\tb", "a\tb"},
		{"\nz", "z"},
		{"gr\u00fc\u00df", "gr\u00fc\u00df"},
		{"\x80\xff", "\x80\xff"},
	}
	for _, tt := range tests {
		var f Fields
		f.Add("A", tt.value)
		f.Set("B", tt.value)
		f.SetFirst("C", "x")
		f.Set("C", tt.value)
		for name, got := range f.All() {
			if got != tt.want {
				t.Errorf("%s: %q is kept as %q, want %q", name, tt.value, got, tt.want)
			}
		}
	}
}

func TestFieldsBadNamePanics(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "a:", "a\r\nb", "\u00fc"} {
		for what, add := range map[string]func(*Fields){
			"Add":      func(f *Fields) { f.Add(name, "v") },
			"Set":      func(f *Fields) { f.Set(name, "v") },
			"SetFirst": func(f *Fields) { f.SetFirst(name, "v") },
		} {
			var f Fields
			func() {
				defer func() {
					if recover() == nil || f.Len() != 0 {
						t.Errorf("%s(%q) did not panic, or left %q", what, name, f.String())
					}
				}()
				add(&f)
			}()
		}
	}
}

func TestFieldsCopiesAreIndependent(t *testing.T) {
	t.Parallel()
	src := fieldsOf("A: 1\nB: 2\n")
	c := src.Clone()
	var d Fields
	d.CopyFrom(src)
	c.Set("A", "9")
	d.Del("A")
	if got, want := src.String(), "A: 1\nB: 2\n"; got != want {
		t.Errorf("source became\n%swant\n%s", got, want)
	}
}

func TestFieldsEqual(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"A: 1\n", "a: 1\n", true},
		{"A: 1\n", "A: 1\nA: 1\n", false},
		{"A: x\n", "A: X\n", false},
		{"A: 1\nB: 2\n", "B: 2\nA: 1\n", false},
	}
	for _, tt := range tests {
		if got := fieldsOf(tt.a).Equal(fieldsOf(tt.b)); got != tt.want {
			t.Errorf("%q equal %q = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// FuzzFields does the same edits to Fields and to a plain slice.
func FuzzFields(f *testing.F) {
	f.Add("aAhost\x00bS", "v\r\n x")
	f.Add("SsAaDdFfCc", "")
	f.Fuzz(func(t *testing.T, ops, value string) {
		names := []string{"Host", "hOST", "X-Abc", "x-abc", "Z"}
		var got Fields
		var want []Field
		without := func(name string) []Field {
			return slices.DeleteFunc(slices.Clone(want), func(x Field) bool { return strings.EqualFold(x.Name, name) })
		}
		for i := range min(len(ops), 64) {
			name := names[int(ops[i]>>4)%len(names)]
			clean := strings.Trim(strings.Map(func(r rune) rune {
				if r < ' ' && r != '\t' || r == 0x7f {
					return ' '
				}
				return r
			}, strings.ToValidUTF8(value, "?")), " \t")
			in := strings.ToValidUTF8(value, "?")
			at := slices.IndexFunc(want, func(x Field) bool { return strings.EqualFold(x.Name, name) })
			switch ops[i] & 3 {
			case 0:
				got.Add(name, in)
				want = append(want, Field{name, clean})
			case 1:
				got.Del(name)
				want = without(name)
			default:
				first := ops[i]&3 == 3
				if first {
					got.SetFirst(name, in)
				} else {
					got.Set(name, in)
				}
				switch {
				case at >= 0:
					kept := Field{want[at].Name, clean}
					want = slices.Insert(without(name), at, kept)
				case first:
					want = slices.Insert(want, 0, Field{name, clean})
				default:
					want = append(want, Field{name, clean})
				}
			}
			if !slices.Equal(got.list, want) {
				t.Fatalf("after operation %d on %q: got %q, want %q", i, name, got.list, want)
			}
		}
	})
}
