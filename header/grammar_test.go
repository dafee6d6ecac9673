// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestElements(t *testing.T) {
	t.Parallel()
	tests := []struct {
		value string
		want  []string
	}{
		{"", nil},
		{" , ,\t,", nil},
		{"a", []string{"a"}},
		{"a,b ,\tc", []string{"a", "b", "c"}},
		{",a,,b,", []string{"a", "b"}},
		{"foo ,bar,charlie", []string{"foo", "bar", "charlie"}},
		{`a="x,y", b`, []string{`a="x,y"`, "b"}},
		{`"x\",y", b`, []string{`"x\",y"`, "b"}},
		{`"x\\",y`, []string{`"x\\"`, "y"}},
		{`a, "never, closed`, []string{"a", `"never, closed`}},
		{`a, "ends in \`, []string{"a", `"ends in \`}},
		{`a\,b`, []string{`a\`, "b"}}, // an escape outside quotes is none
	}
	for _, tt := range tests {
		if got := slices.Collect(Elements(tt.value)); !slices.Equal(got, tt.want) {
			t.Errorf("Elements(%q) = %q, want %q", tt.value, got, tt.want)
		}
	}
}

func TestElementsTwice(t *testing.T) {
	t.Parallel()
	seq := Elements("a, b")
	for range seq {
		break
	}
	if got, want := slices.Collect(seq), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("second use = %q, want %q", got, want)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	f := fieldsOf("Via: a, b\nX: y\nvia: \"c,\nVIA: d\n")
	if got, want := slices.Collect(List(f, "Via")), []string{"a", "b", `"c,`, "d"}; !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
	for elem := range List(f, "Via") {
		if elem != "a" {
			t.Errorf("went on to %q after break", elem)
		}
		break
	}
}

func TestHasToken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fields string
		token  string
		want   bool
	}{
		{"", "close", false},
		{"Connection: close\n", "close", true},
		{"connection: Keep-Alive, CLOSE\n", "close", true},
		{"Connection: keep-alive\nConnection: ,close ,\n", "close", true},
		{"Connection: closed, disclose\n", "close", false},
		{"Connection: close;q=1\n", "close", false},
		{"Connection: \"close\"\n", "close", false},
		{"Connection: \"a, close, b\"\n", "close", false},
		{"Connection: close close\n", "close", false},
		{"X-Connection: close\n", "close", false},
		{"Connection: \n", "", false},
	}
	for _, tt := range tests {
		if got := HasToken(fieldsOf(tt.fields), "Connection", tt.token); got != tt.want {
			t.Errorf("%q: HasToken(%q) = %v, want %v", tt.fields, tt.token, got, tt.want)
		}
	}
}

func TestParseLength(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"5", 5, true},
		{"0005", 5, true},
		{"9223372036854775807", 1<<63 - 1, true},
		{"9223372036854775808", 0, false},
		{"9223372036854775810", 0, false},
		{"18446744073709551621", 0, false}, // 5, modulo 2^64
		{"4294967301", 4294967301, true},   // 5, modulo 2^32
		{strings.Repeat("0", 100) + "7", 7, true},
		{strings.Repeat("9", 100), 0, false},
		{"", 0, false}, {"+5", 0, false}, {"-5", 0, false}, {"-0", 0, false},
		{" 5", 0, false}, {"5 ", 0, false}, {"5\t", 0, false}, {"5, 5", 0, false}, {"5,5", 0, false},
		{"0x5", 0, false}, {"5a", 0, false}, {"5.0", 0, false}, {"1e3", 0, false}, {"1_000", 0, false},
		{"\u0665", 0, false}, {"5\x00", 0, false}, {"/", 0, false}, {":", 0, false}, {"\xff", 0, false},
	}
	for _, tt := range tests {
		if got, ok := ParseLength(tt.in); got != tt.want || ok != tt.ok {
			t.Errorf("ParseLength(%q) = %d, %v, want %d, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzElements(f *testing.F) {
	f.Add(`a, "b,\"c" ,, d;e="f,g"`)
	f.Add("\",\\\"")
	f.Fuzz(func(t *testing.T, value string) {
		elems := slices.Collect(Elements(value))
		for _, e := range elems {
			if e == "" || trimOWS(e) != e {
				t.Errorf("element %q of %q is empty or has white space around it", e, value)
			}
		}
		// What was read, written again, reads the same.
		again := slices.Collect(Elements(strings.Join(elems, " ,, ")))
		if !slices.Equal(again, elems) {
			t.Errorf("%q reads as %q and again as %q", value, elems, again)
		}
		var fields Fields
		for _, e := range elems {
			fields.AddValid("L", e)
		}
		if got := slices.Collect(List(&fields, "l")); !slices.Equal(got, elems) {
			t.Errorf("one element per line reads as %q, want %q", got, elems)
		}
		if !strings.ContainsAny(value, `"`) {
			for _, e := range strings.Split(value, ",") {
				if e = trimOWS(e); e != "" && !HasToken(fieldsOf("L: "+strings.ReplaceAll(value, "\n", "?")), "L", strings.ReplaceAll(e, "\n", "?")) {
					t.Errorf("%q is not found in %q", e, value)
				}
			}
		}
	})
}

func FuzzParseLength(f *testing.F) {
	for _, s := range []string{"0", "12", "9223372036854775807", "9223372036854775808", "+1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := strconv.ParseInt(s, 10, 64)
		wantOK := err == nil && strings.Trim(s, "0123456789") == ""
		if !wantOK {
			want = 0
		}
		if got, ok := ParseLength(s); got != want || ok != wantOK {
			t.Errorf("ParseLength(%q) = %d, %v, want %d, %v", s, got, ok, want, wantOK)
		}
	})
}
