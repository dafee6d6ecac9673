// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"fmt"
	"testing"
)

// A mark is on a name, whatever happens to the fields, and goes with copies.
func TestNeverIndex(t *testing.T) {
	t.Parallel()
	var f Fields
	f.Add("X-Token", "1")
	if f.NeverIndexed("x-token") {
		t.Error("marked before NeverIndex")
	}
	f.NeverIndex("x-token")
	f.NeverIndex("X-TOKEN")
	f.NeverIndex(":path")
	f.Set("x-token", "2")
	f.Del("x-token")
	f.Add("x-token", "3")
	copied := f.Clone()
	var part Fields
	part.NeverIndexAsIn(&f)
	copied.NeverIndex("only-there")
	for _, tt := range []struct {
		fields *Fields
		name   string
		want   bool
	}{
		{&f, "X-Token", true}, {&f, ":path", true}, {&f, "x-toke", false}, {&f, "only-there", false},
		{&copied, "X-Token", true}, {&copied, ":path", true}, {&copied, "Only-There", true},
		{&part, "X-Token", true}, {&part, "only-there", false},
	} {
		if got := tt.fields.NeverIndexed(tt.name); got != tt.want {
			t.Errorf("NeverIndexed(%q) = %v, want %v", tt.name, got, tt.want)
		}
	}
	if f.never.count != 2 {
		t.Errorf("%d names, want each once", f.never.count)
	}
	if !f.Equal(&Fields{list: f.list}) {
		t.Error("Equal minds the marks")
	}
	f.Reset()
	if f.NeverIndexed("X-Token") {
		t.Error("marked after Reset")
	}
	copied.CopyFrom(&f)
	if copied.NeverIndexed("X-Token") {
		t.Error("CopyFrom leaves marks of what was there before")
	}
}

// A list of names has a bound, beyond which every name is marked.
func TestNeverIndexMany(t *testing.T) {
	t.Parallel()
	var f Fields
	for i := range maxNeverNames {
		f.NeverIndex(fmt.Sprint("x-", i))
	}
	if !f.NeverIndexed("x-0") || f.NeverIndexed("other") {
		t.Error("at the bound: want the names and no other")
	}
	f.NeverIndex("one-more")
	f.NeverIndex("and-more")
	for _, name := range []string{"x-0", "one-more", "and-more", "other"} {
		if !f.NeverIndexed(name) {
			t.Errorf("beyond the bound: %s is not marked", name)
		}
	}
	if f.never.next != nil {
		t.Error("the list goes on growing")
	}
}
