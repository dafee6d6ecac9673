// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestParseWeight(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		"0": 0, "0.": 0, "0.0": 0, "0.000": 0, "0.001": 1, "0.01": 10, "0.1": 100, "0.25": 250, "0.999": 999,
		"1": 1000, "1.": 1000, "1.0": 1000, "1.000": 1000,
		"": -1, ".5": -1, "1.001": -1, "1.1": -1, "2": -1, "0.0001": -1, "0.1234": -1, "1.0000": -1, "00": -1, "01": -1, "0,5": -1,
		"-0": -1, "+1": -1, " 1": -1, "1 ": -1, "0.5x": -1, "0x1": -1, "1e0": -1, "0..5": -1, "\xff": -1, `"1"`: -1,
	} {
		got, ok := ParseWeight(in)
		if want < 0 && ok || want >= 0 && (got != want || !ok) {
			t.Errorf("ParseWeight(%q) = %d, %v, want %d", in, got, ok, want)
		}
	}
}

func TestPreferredCoding(t *testing.T) {
	t.Parallel()
	tests := []struct {
		accept string // lines of Accept-Encoding separated by "|"; "-" means none
		offers string
		want   string // "" means nothing is acceptable
	}{
		{"-", "br gzip", "identity"},
		{"", "br gzip", "identity"},
		{"gzip", "br gzip", "gzip"},
		{"gzip, br", "br gzip", "br"},
		{"gzip, br;q=0.9", "br gzip", "gzip"},
		{"GZIP", "gzip", "gzip"},
		{"x-gzip", "gzip", "gzip"},
		{"x-br", "br", "identity"},
		{"gzip;q=0", "gzip", "identity"},
		{"gzip;q=0.000", "gzip", "identity"},
		{"gzip;q=0.001", "gzip", "gzip"},
		{"gzip;q=0.5, identity", "gzip", "identity"},
		{"gzip;q=0.5, identity;q=0.4", "gzip", "gzip"},
		{"*", "br gzip", "br"},
		{"*;q=0", "br gzip", ""},
		{"gzip, *;q=0", "br gzip", "gzip"},
		{"*;q=0, gzip", "br gzip", "gzip"},
		{"identity;q=0", "br gzip", ""},
		{"identity;q=0, *", "br gzip", "br"},
		{"*;q=0, identity;q=0.1", "br gzip", "identity"},
		{"br;q=0, *;q=0.3", "br gzip", "gzip"},
		{"gzip;q=0, gzip", "gzip", "identity"},
		{"br|gzip;q=0.5", "gzip br", "br"},
		{"zstd", "br gzip", "identity"},
		{"gzip;q=2", "gzip", "identity"},
		{"gzip;q=abc", "gzip", "identity"},
		{"gzip;q", "gzip", "identity"},
		{"gzip; Q=0.5 , br ; q = 0.6", "gzip br", "br"},
		{"gzip;level=9;q=0.2, br;q=0.1", "br gzip", "gzip"},
		{"gzip", "identity gzip", "gzip"},
		{"gzip", "", "identity"},
		{"deflate, gzip;q=1.0, *;q=0.5", "br gzip", "gzip"},
	}
	for _, tt := range tests {
		var f Fields
		for line := range strings.SplitSeq(tt.accept, "|") {
			if line != "-" {
				f.Add("Accept-Encoding", line)
			}
		}
		got, ok := PreferredCoding(&f, strings.Fields(tt.offers)...)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Accept-Encoding %q, offers %q: got %q, %v, want %q", tt.accept, tt.offers, got, ok, tt.want)
		}
	}
}

func TestPreferredType(t *testing.T) {
	t.Parallel()
	// The example of RFC 9110 section 12.5.1.
	const rfc = "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5"
	for offer, want := range map[string]int{
		"text/plain;format=flowed": 1000, "text/plain": 700, "text/html": 300, "image/jpeg": 500,
		"text/plain;format=fixed": 400, "text/html;level=3": 300,
	} {
		if got := typeWeight(fieldsOf("Accept: "+rfc), offer); got != want {
			t.Errorf("weight of %q = %d, want %d", offer, got, want)
		}
	}
	tests := []struct {
		accept string // "-" means no field
		offers string
		want   string
	}{
		{"-", "text/html application/json", "text/html"},
		{"", "text/html application/json", "text/html"},
		{"nonsense, a/b/c;, */html", "text/html", "text/html"},
		{"application/json", "text/html application/json", "application/json"},
		{"Application/JSON", "text/html application/json", "application/json"},
		{"*/*", "text/html application/json", "text/html"},
		{"text/html;q=0.5, */*", "text/html application/json", "application/json"},
		{"text/html;q=0.5, application/json;q=0.5", "application/json text/html", "application/json"},
		{"image/png", "text/html application/json", ""},
		{"text/html;q=0, */*;q=0.1", "text/html", ""},
		{"text/*", "textual/html text/plain", "text/plain"},
		{"text/html;level=1", "text/html", ""},
		{"text/html;level=1, */*;q=0.1", "text/html application/json;level=1 text/html;level=1", "text/html;level=1"},
		{"text/html;q=bad, application/json;q=0.1", "text/html application/json", "application/json"},
		{"text/html", "", ""},
	}
	for _, tt := range tests {
		var f Fields
		if tt.accept != "-" {
			f.Add("Accept", tt.accept)
		}
		got, ok := PreferredType(&f, strings.Fields(tt.offers)...)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Accept %q, offers %q: got %q, %v, want %q", tt.accept, tt.offers, got, ok, tt.want)
		}
	}
}

var weightGrammar = regexp.MustCompile(`^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$`)

func FuzzParseWeight(f *testing.F) {
	f.Add("0.123")
	f.Add("1.000")
	f.Fuzz(func(t *testing.T, s string) {
		w, ok := ParseWeight(s)
		if want := weightGrammar.MatchString(s); ok != want {
			t.Errorf("ParseWeight(%q) = %v, the grammar says %v", s, ok, want)
		}
		if ok && (w < 0 || w > MaxWeight) {
			t.Errorf("ParseWeight(%q) = %d, want 0 to %d", s, w, MaxWeight)
		}
	})
}

func FuzzPreferredCoding(f *testing.F) {
	f.Add("gzip;q=0.5, *;q=0, br")
	f.Add("identity;q=0")
	f.Fuzz(func(t *testing.T, accept string) {
		var fields Fields
		fields.Add("Accept-Encoding", accept)
		offers := []string{"br", "gzip"}
		got, ok := PreferredCoding(&fields, offers...)
		if ok != (got != "") || ok && got != "identity" && !slices.Contains(offers, got) {
			t.Fatalf("%q: chose %q, %v", accept, got, ok)
		}
		if !ok && !strings.Contains(accept, "0") {
			t.Errorf("%q: nothing is acceptable, though nothing has weight 0", accept)
		}
		lower := strings.ToLower(accept)
		if ok && got != "identity" && !strings.Contains(lower, got) && !strings.Contains(accept, "*") {
			t.Errorf("%q: chose %q, which it does not name", accept, got)
		}
		fields.Set("Accept", accept)
		if got, ok := PreferredType(&fields, "text/html", "image/png"); ok != (got == "text/html" || got == "image/png") {
			t.Errorf("Accept %q: chose %q, %v", accept, got, ok)
		}
	})
}
