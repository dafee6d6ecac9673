// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

func TestConsumeChunkSize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		size int64
		ext  int
		n    int
		err  *parseError
	}{
		{"0\r\n", 0, 0, 3, nil},
		{"5\r\nhello", 5, 0, 3, nil},
		{"aF\r\n", 0xaf, 0, 4, nil},
		{"005\r\n", 5, 0, 5, nil},
		{"fffffffffffffff\r\n", 1<<60 - 1, 0, 17, nil},
		{"000000000000000\r\n", 0, 0, 17, nil},
		{"5;a\r\n", 5, 2, 5, nil},
		{"5;a=b;c=\"d;e\"\r\n", 5, 12, 15, nil},
		{"5 \t; a\r\n", 5, 5, 8, nil},
		{"5;\xff\r\n", 5, 2, 5, nil},
		// Not whole.
		{"", 0, 0, 0, nil},
		{"5", 0, 0, 0, nil},
		{"5\r", 0, 0, 0, nil},
		{"5;a", 0, 0, 0, nil},
		{"5;a\r", 0, 0, 0, nil},
		{"5 ", 0, 0, 0, nil},
		// Wrong.
		{"0000000000000000", 0, 0, 0, errChunkSize},
		{"10000000000000000\r\n", 0, 0, 0, errChunkSize},
		{"\r\n", 0, 0, 0, errChunkSize},
		{"\n", 0, 0, 0, errChunkSize},
		{";a\r\n", 0, 0, 0, errChunkSize},
		{" 5\r\n", 0, 0, 0, errChunkSize},
		{"5 \r\n", 0, 0, 0, errChunkSize},
		{"5 a\r\n", 0, 0, 0, errChunkSize},
		{"+5\r\n", 0, 0, 0, errChunkSize},
		{"-5\r\n", 0, 0, 0, errChunkSize},
		{"0x5\r\n", 0, 0, 0, errChunkSize},
		{"5_0\r\n", 0, 0, 0, errChunkSize},
		{"g\r\n", 0, 0, 0, errChunkSize},
		{"5,5\r\n", 0, 0, 0, errChunkSize},
		{"5\n", 0, 0, 0, errChunkSize},
		{"5\rx", 0, 0, 0, errChunkSize},
		{"5;a\n", 0, 0, 0, errChunkSize},
		{"5;a\n\r\n", 0, 0, 0, errChunkSize},
		{"5;a\rb\r\n", 0, 0, 0, errChunkSize},
		{"5;a=\"\r\n", 5, 4, 7, nil}, // quotes hide nothing: the line ends here
		{"5;a=\"\n\"\r\n", 0, 0, 0, errChunkSize},
		{"5;a\x00\r\n", 0, 0, 0, errChunkSize},
		{"5;a\x7f\r\n", 0, 0, 0, errChunkSize},
	}
	for _, tt := range tests {
		size, ext, n, err := consumeChunkSize([]byte(tt.in), 100)
		if tt.err != nil {
			if n != 0 || err != error(tt.err) {
				t.Errorf("%q: n = %d, %v, want %v", tt.in, n, err, tt.err)
			}
			continue
		}
		if err != nil || n != tt.n || n > 0 && (size != tt.size || ext != tt.ext) {
			t.Errorf("%q: %d, %d, %d, %v, want %d, %d, %d", tt.in, size, ext, n, err, tt.size, tt.ext, tt.n)
		}
		for i := range n {
			if _, _, k, err := consumeChunkSize([]byte(tt.in[:i]), 100); k != 0 || err != nil {
				t.Errorf("first %d bytes of %q: n = %d, %v, want 0", i, tt.in, k, err)
			}
		}
	}
}

func TestConsumeChunkSizeLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in     string
		maxExt int
		want   error
	}{
		{"5;abc\r\n", 4, nil},
		{"5;abcd\r\n", 4, errChunkExt},
		{"5;abcd", 4, errChunkExt}, // at once, not when the line ends
		{"5;abc", 4, nil},
		{"5\r\n", 0, nil},
		{"5;\r\n", 0, errChunkExt},
	} {
		if _, _, _, err := consumeChunkSize([]byte(tt.in), tt.maxExt); err != tt.want {
			t.Errorf("%q, at most %d: %v, want %v", tt.in, tt.maxExt, err, tt.want)
		}
	}
}

func TestConsumeTrailers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want string
		n    int // -1 means all
		err  bool
	}{
		{"\r\n", "", 2, false},
		{"\r\nmore\r\n\r\n", "", 2, false},
		{"A: b\r\n\r\nmore", "A: b\n", 8, false},
		{"A: b\r\nC: d\r\n\r\n", "A: b\nC: d\n", 14, false},
		{"Grpc-Status: 0\r\n\r\n", "Grpc-Status: 0\n", 18, false},
		// What would change the meaning of the message is left out.
		{"Content-Length: 1\r\nTransfer-Encoding: x\r\nHost: y\r\nA: b\r\nTrailer: z\r\nTE: x\r\n\r\n", "A: b\n", -1, false},
		{"Connection: a\r\nKeep-Alive: b\r\nUpgrade: c\r\nProxy-Connection: d\r\n\r\n", "", -1, false},
		{"Authorization: a\r\nCookie: b\r\nSet-Cookie: c\r\nExpect: d\r\nRange: e\r\n\r\n", "", -1, false},
		{"Cache-Control: a\r\nContent-Type: b\r\nContent-Encoding: c\r\nContent-Range: d\r\n\r\n", "", -1, false},
		{"Max-Forwards: 1\r\nProxy-Authorization: b\r\n\r\n", "", -1, false},
		// Not whole.
		{"", "", 0, false},
		{"\r", "", 0, false},
		{"A: b", "", 0, false},
		{"A: b\r\n", "", 0, false},
		{"A: b\r\n\r", "", 0, false},
		// Wrong.
		{"\n", "", 0, true},
		{"\rx", "", 0, true},
		{"A: b\n\r\n", "", 0, true},
		{"A: b\r\n\n", "", 0, true},
		{"A\r\n\r\n", "", 0, true},
		{"A : b\r\n\r\n", "", 0, true},
		{"A: b\r\n c\r\n\r\n", "", 0, true},
		{"A: b\x00\r\n\r\n", "", 0, true},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", 0, true},
	}
	for _, tt := range tests {
		var fields header.Fields
		if tt.n < 0 {
			tt.n = len(tt.in)
		}
		n, err := consumeTrailers([]byte(tt.in), 0, &defaultLimits, &fields)
		if n != tt.n || (err != nil) != tt.err {
			t.Errorf("%q: %d, %v, want %d, error %v", tt.in, n, err, tt.n, tt.err)
		}
		if got := fields.String(); err == nil && got != tt.want {
			t.Errorf("%q: fields are %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestConsumeTrailersLimits(t *testing.T) {
	t.Parallel()
	lim := Limits{MaxTrailerBytes: 20, MaxFields: 2}.withDefaults()
	tests := []struct {
		in   string
		n    int
		want error
	}{
		{"A: 3456789012345\r\n\r\n", 20, nil},
		{"A: 34567890123456\r\n\r\n", 0, errTrailerTooLong},
		{"A: 34567890123456789", 0, nil},
		{"A: 345678901234567890", 0, errTrailerTooLong},
		{"A: b\r\nC: d\r\n\r\n", 14, nil},
		{"A:\r\nB:\r\nC:\r\n\r\n", 0, errTooManyFields},
	}
	for _, tt := range tests {
		var fields header.Fields
		if n, err := consumeTrailers([]byte(tt.in), 0, &lim, &fields); n != tt.n || err != tt.want {
			t.Errorf("%q: %d, %v, want %d, %v", tt.in, n, err, tt.n, tt.want)
		}
	}
}

func TestAppendLastChunk(t *testing.T) {
	t.Parallel()
	var trailers header.Fields
	trailers.Add("Checksum", "1f")
	trailers.Add("Content-Length", "5")
	trailers.Add("host", "x")
	if got, want := string(appendLastChunk(nil, &trailers)), "0\r\nChecksum: 1f\r\n\r\n"; got != want {
		t.Errorf("appendLastChunk = %q, want %q", got, want)
	}
	if got, want := string(appendLastChunk(nil, nil)), "0\r\n\r\n"; got != want {
		t.Errorf("appendLastChunk = %q, want %q", got, want)
	}
	for n, want := range map[int]string{1: "1\r\n", 15: "f\r\n", 16: "10\r\n", 1 << 20: "100000\r\n"} {
		if got := string(appendChunkSize(nil, n)); got != want {
			t.Errorf("appendChunkSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTrailerAllowed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Grpc-Status", "Checksum", "ETag", "XX", "Hosts", "Server-Timing", strings.Repeat("x", 19)} {
		if !trailerAllowed(name) {
			t.Errorf("trailerAllowed(%q) = false, want true", name)
		}
	}
}
