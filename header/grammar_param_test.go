// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"strings"
	"testing"
)

func TestParams(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want string // name=value| each
	}{
		{"", ""},
		{"a=1", "a=1|"},
		{"; a=1 ;B=2;", "a=1|B=2|"},
		{`a="x;y";b="q\"\\z"`, `a=x;y|b=q"\z|`},
		{`a=""`, "a=|"},
		{`for="[2001:db8::17]:4711";proto=http`, "for=[2001:db8::17]:4711|proto=http|"},
		{"a;b=2", "b=2|"},
		{"a=;b=2", "b=2|"},
		{"a =1;b= 2;c=3", "c=3|"},
		{"=1;b=2", "b=2|"},
		{"a=x y;b=2", "b=2|"},
		{"a=1=2;b=2", "b=2|"},
		{`a="x"y;b=2`, "b=2|"},
		{`b=2;a="never;closed=1`, "b=2|"},
		{`a="b\`, ""},
		{"a=\"\x01\"", ""},
	}
	for _, tt := range tests {
		var got strings.Builder
		for name, value := range Params(tt.in) {
			got.WriteString(name + "=" + value + "|")
		}
		if got.String() != tt.want {
			t.Errorf("Params(%q) = %q, want %q", tt.in, got.String(), tt.want)
		}
	}
}

func TestCutParams(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, item, params string }{
		{"", "", ""},
		{"a", "a", ""},
		{"text/html ; q=0.5", "text/html", " q=0.5"},
		{`"a;b";c=d`, `"a;b"`, "c=d"},
		{";a=b", "", "a=b"},
	}
	for _, tt := range tests {
		if item, params := CutParams(tt.in); item != tt.item || params != tt.params {
			t.Errorf("CutParams(%q) = %q, %q, want %q, %q", tt.in, item, params, tt.item, tt.params)
		}
	}
}

func TestParam(t *testing.T) {
	t.Parallel()
	const params = `Max-Age=5; title="a b"; max-age=9`
	for name, want := range map[string]string{"max-age": "5", "TITLE": "a b"} {
		if got, ok := Param(params, name); got != want || !ok {
			t.Errorf("Param(%q) = %q, %v, want %q, true", name, got, ok, want)
		}
	}
	if got, ok := Param(params, "age"); got != "" || ok {
		t.Errorf("Param(age) = %q, %v, want none", got, ok)
	}
}

func TestUnquoteRejects(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", `"`, "a", `a"`, `"a`, `"a"b"`, `"\"`, `"a\"`, "\"\n\"", "\"\\\n\"", "\"\x7f\"", `""x`} {
		if got, ok := Unquote(s); ok {
			t.Errorf("Unquote(%q) = %q, want it rejected", s, got)
		}
	}
}

func TestAppendQuoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":           `""`,
		"token":      "token",
		"a b":        `"a b"`,
		`a"b\c`:      `"a\"b\\c"`,
		"a\r\nb":     `"a  b"`,
		"[::1]:8080": `"[::1]:8080"`,
		"\u00fc":     "\"\u00fc\"",
	} {
		if got := string(AppendQuoted([]byte("x="), in)); got != "x="+want {
			t.Errorf("AppendQuoted(%q) = %q, want %q", in, got, "x="+want)
		}
	}
}

func FuzzParams(f *testing.F) {
	f.Add(`a=1;b="x;\"y"; c = d;;e`)
	f.Add(`a="\\`)
	f.Fuzz(func(t *testing.T, s string) {
		// Writing what was read gives the same parameters.
		type param struct{ name, value string }
		var params []param
		var out []byte
		for name, value := range Params(s) {
			params = append(params, param{name, value})
			out = append(append(append(out, "; "...), name...), '=')
			out = AppendQuoted(out, value)
		}
		i := 0
		for name, value := range Params(string(out)) {
			if i >= len(params) || params[i] != (param{name, value}) {
				t.Errorf("%q was written as %q, which reads differently at %q", s, out, name)
			}
			i++
		}
		if i != len(params) {
			t.Errorf("%q was written as %q: %d parameters, want %d", s, out, i, len(params))
		}
		if !ValidValue(string(out)) {
			t.Errorf("%q was written as %q, which is no field value", s, out)
		}
		// A quoted string gives back any content that a field may hold.
		if quoted := string(AppendQuoted(nil, s)); ValidValue(s) && !ValidToken(s) {
			if got, ok := Unquote(quoted); got != s || !ok {
				t.Errorf("Unquote(%q) = %q, %v, want %q", quoted, got, ok, s)
			}
		}
	})
}
