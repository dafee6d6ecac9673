// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"strings"
	"testing"
)

func TestEqualNameAllBytes(t *testing.T) {
	t.Parallel()
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	for a := range 256 {
		for b := range 256 {
			x, y := "n"+string([]byte{byte(a)}), "N"+string([]byte{byte(b)})
			if got, want := EqualName(x, y), lower(byte(a)) == lower(byte(b)); got != want {
				t.Errorf("EqualName(%q, %q) = %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestEqualNameIsASCII(t *testing.T) {
	t.Parallel()
	// strings.EqualFold calls these equal: Kelvin sign, long s, umlauts.
	for _, p := range [][2]string{{"\u212a", "k"}, {"\u017f", "s"}, {"\u00e4", "\u00c4"}, {"", "a"}} {
		if EqualName(p[0], p[1]) || EqualName(p[1], p[0]) {
			t.Errorf("EqualName(%q, %q) = true, want false", p[0], p[1])
		}
	}
	if !EqualName("", "") {
		t.Error(`EqualName("", "") = false, want true`)
	}
}

func TestValidBytes(t *testing.T) {
	t.Parallel()
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		s := string([]byte{byte(c)})
		wantToken := c < 0x80 && strings.Contains(token, s)
		if got := ValidName(s); got != wantToken || ValidToken(s) != got || IsTokenByte(byte(c)) != got {
			t.Errorf("ValidName(%q) = %v, want %v", s, got, wantToken)
		}
		wantValue := c == '\t' || c >= 0x20 && c != 0x7f
		if got := ValidValue("a" + s); got != wantValue {
			t.Errorf("ValidValue(%q) = %v, want %v", "a"+s, got, wantValue)
		}
	}
	if ValidName("") || ValidToken("") || !ValidValue("") {
		t.Error("the empty string is a value but no name")
	}
}

func TestValidValueAtEveryPlace(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		for i := range n {
			for c := range 256 {
				b := []byte(strings.Repeat("\xffz", 10)[:n])
				b[i] = byte(c)
				want := c == '\t' || c >= 0x20 && c != 0x7f
				if got := ValidValue(string(b)); got != want {
					t.Errorf("ValidValue(%q) = %v, want %v", b, got, want)
				}
			}
		}
	}
}

func FuzzValidValue(f *testing.F) {
	f.Add("plain text\twith a tab and more than eight bytes")
	f.Add("12345678\x7f")
	f.Fuzz(func(t *testing.T, s string) {
		want := true
		for i := range len(s) {
			want = want && valueByte[s[i]]
		}
		if got := ValidValue(s); got != want {
			t.Errorf("ValidValue(%q) = %v, want %v", s, got, want)
		}
		if !ValidValue(cleanValue(s)) {
			t.Errorf("%q is cleaned to %q, which is no field value", s, cleanValue(s))
		}
	})
}

func FuzzEqualName(f *testing.F) {
	f.Add("Content-Type", "content-type")
	f.Add("K", "\u212a")
	f.Fuzz(func(t *testing.T, a, b string) {
		if EqualName(a, b) != EqualName(b, a) {
			t.Errorf("EqualName(%q, %q) depends on the order", a, b)
		}
		if !EqualName(a, a) {
			t.Errorf("EqualName(%q, itself) = false", a)
		}
		if ValidName(a) && ValidName(b) {
			if got, want := EqualName(a, b), strings.EqualFold(a, b); got != want {
				t.Errorf("EqualName(%q, %q) = %v, strings.EqualFold says %v", a, b, got, want)
			}
			if !EqualName(strings.ToUpper(a), strings.ToLower(a)) {
				t.Errorf("EqualName does not fold %q", a)
			}
		}
	})
}
