// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

func TestHeadEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want int
		err  error
	}{
		{"", 0, nil},
		{"\r", 0, nil},
		{"\r\n", 0, nil},
		{"\r\n\r", 0, nil},
		{"\r\n\r\n", 4, nil},
		{"a\r\n\r\n", 5, nil},
		{"a\r\nb\r\n\r\nc\r\n\r\n", 8, nil},
		{"\n", 0, errBareLF},
		{"a\n", 0, errBareLF},
		{"a\r\nb\n", 0, errBareLF},
		{"a\r\n\n", 0, errBareLF},
		{"a\r\r\n", 0, nil}, // what is in a line is the caller's business
	}
	for _, tt := range tests {
		if got, err := headEnd([]byte(tt.in), 0); got != tt.want || err != tt.err {
			t.Errorf("headEnd(%q) = %d, %v, want %d, %v", tt.in, got, err, tt.want, tt.err)
		}
		// Looking at it byte by byte finds the same.
		for i := range len(tt.in) {
			if i > 0 && tt.want > 0 {
				if got, err := headEnd([]byte(tt.in[:min(i, tt.want-1)]), 0); got != 0 || err != nil {
					t.Errorf("headEnd(%q) = %d, %v, want 0", tt.in[:i], got, err)
				}
			}
			if got, err := headEnd([]byte(tt.in), i); got != tt.want && i < tt.want {
				t.Errorf("headEnd(%q, %d) = %d, %v, want %d", tt.in, i, got, err, tt.want)
			}
		}
	}
}

func TestParseFields(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in      string
		spaceOK bool
		want    string // fields, or
		err     error
	}{
		{"", false, "", nil},
		{"A: b\r\n", false, "A: b\n", nil},
		{"A:b\r\n", false, "A: b\n", nil},
		{"A:\r\n", false, "A: \n", nil},
		{"A: \t b c\t \r\n", false, "A: b c\n", nil},
		{"a: 1\r\nA: 2\r\n", false, "a: 1\nA: 2\n", nil},
		{"A: b:c\r\n", false, "A: b:c\n", nil},
		{"A: \xc3\xa9\r\n", false, "A: \xc3\xa9\n", nil},
		{"!#$%&'*+-.^_`|~09: x\r\n", false, "!#$%&'*+-.^_`|~09: x\n", nil},
		{"A : b\r\n", true, "A: b\n", nil},
		{"A\t : b\r\n", true, "A: b\n", nil},
		{"A : b\r\n", false, "", errFieldName},
		{"A b: c\r\n", true, "", errFieldName},
		{"A b: c\r\n", false, "", errFieldName},
		{"A \r\n", true, "", errFieldName},
		{": b\r\n", true, "", errFieldName},
		{": b\r\n", false, "", errFieldName},
		{" : b\r\n", true, "", errFold},
		{"A: b\r\n c\r\n", false, "", errFold},
		{"A: b\r\n\tc\r\n", true, "", errFold},
		{" A: b\r\n", false, "", errFold},
		{"A\r\n", false, "", errFieldNoColon},
		{"\r\n", false, "", errFieldNoColon},
		{"\xc3\xa9: b\r\n", false, "", errFieldName},
		{"A(: b\r\n", false, "", errFieldName},
		{"A: b\rc\r\n", false, "", errControl},
		{"A: b\nB: c\r\n", false, "", errControl},
		{"A: b\x00\r\n", false, "", errControl},
		{"A: b\x7f\r\n", false, "", errControl},
		{"A: b\x1f\r\n", false, "", errControl},
		{"A\x00: b\r\n", false, "", errFieldName},
		{"A: b\r", false, "", errControl},
		{"A: b", false, "", errControl},
	}
	for _, tt := range tests {
		var fields header.Fields
		err := parseFields(tt.in, &fields, 100, tt.spaceOK, nil)
		if err != tt.err && (err == nil || !errors.Is(err, tt.err)) {
			t.Errorf("parseFields(%q) = %v, want %v", tt.in, err, tt.err)
		}
		if got := fields.String(); err == nil && got != tt.want {
			t.Errorf("parseFields(%q) gives %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseFieldsLimit(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]error{99: nil, 100: nil, 101: errTooManyFields} {
		var fields header.Fields
		err := parseFields(strings.Repeat("A: b\r\n", n), &fields, 100, false, nil)
		if err != want && err != error(want) {
			t.Errorf("%d fields: %v, want %v", n, err, want)
		}
		if got, want := fields.Len(), min(n, 100); got != want {
			t.Errorf("%d fields: kept %d, want %d", n, got, want)
		}
	}
}

func TestFramingNote(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want framing
	}{
		{"Host: a\r\nhost: b\r\n", framing{hosts: 2, host: "b"}},
		{"Content-Length: 0\r\n", framing{lengths: 1, length: 0}},
		{"content-length: 9223372036854775807\r\n", framing{lengths: 1, length: 1<<63 - 1}},
		{"Content-Length: 9223372036854775808\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: 18446744073709551616\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: +5\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: -5\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: 0x5\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: 5_0\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: 5, 5\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: 5 5\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: 1.5\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: \xd9\xa5\r\n", framing{lengths: 1, length: -1}}, // an Arabic digit
		{"Content-Length:\r\n", framing{lengths: 1, length: -1}},
		{"Content-Length: 5\r\nContent-Length: 5\r\n", framing{lengths: 2, length: 5}},
		{"Content_Length: 5\r\n", framing{}},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", framing{codings: 2, coding: "x"}},
		{"Connection: close\r\n", framing{closes: true}},
		{"Connection: Keep-Alive, UPGRADE ,x\r\n", framing{keepAlive: true, connUpg: true, nominates: true}},
		{"Connection: closed\r\n", framing{nominates: true}},
		{"Connection: x\r\nConnection: close\r\n", framing{closes: true, nominates: true}},
		{"Upgrade: websocket\r\nKeep-Alive: timeout=5\r\n", framing{upgrade: "websocket", keepParams: "timeout=5"}},
		{"Expect: 100-continue\r\n", framing{expect: "100-continue"}},
		{"Expect: 100-continue\r\nExpect: x\r\n", framing{expect: "x"}},
		{"Expect: x\r\nExpect: 100-continue\r\n", framing{expect: "x"}},
	}
	for _, tt := range tests {
		var fields header.Fields
		var got framing
		if err := parseFields(tt.in, &fields, 100, false, &got); err != nil {
			t.Errorf("%q: %v", tt.in, err)
		}
		if got != tt.want {
			t.Errorf("%q: framing is %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestFramingPersistent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fr         framing
		one1, one0 bool
	}{
		{framing{}, true, false},
		{framing{keepAlive: true}, true, true},
		{framing{closes: true}, false, false},
		{framing{closes: true, keepAlive: true}, false, false},
	}
	for _, tt := range tests {
		if got := tt.fr.persistent(header.HTTP11); got != tt.one1 {
			t.Errorf("%+v in HTTP/1.1: persistent = %v, want %v", tt.fr, got, tt.one1)
		}
		if got := tt.fr.persistent(header.HTTP10); got != tt.one0 {
			t.Errorf("%+v in HTTP/1.0: persistent = %v, want %v", tt.fr, got, tt.one0)
		}
	}
}

func TestIsFraming(t *testing.T) {
	t.Parallel()
	framed := []string{
		"connection", "Keep-Alive", "CONTENT-LENGTH", "HTTP2-Settings", "Transfer-Encoding", "Proxy-Connection", "upgrade",
	}
	free := []string{"Host", "TE", "Trailer", "Expect", "Content-Type", "Content_Length", "Connectiom", "Upgrades", "Date"}
	for _, name := range slices.Concat(framed, free) {
		if got, want := isFraming(name), slices.Contains(framed, name); got != want {
			t.Errorf("isFraming(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestTrimSpace(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", " ": "", "\t \t": "", "a": "a", " a": "a", "a\t": "a", " a b ": "a b", "\va": "\va", "a\u00a0": "a\u00a0",
	} {
		if got := trimSpace(in); got != want {
			t.Errorf("trimSpace(%q) = %q, want %q", in, got, want)
		}
	}
}
