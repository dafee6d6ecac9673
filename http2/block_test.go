// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"strings"
	"testing"
)

// TestContinuation: a header block may come in pieces.
func TestContinuation(t *testing.T) {
	t.Parallel()
	s := serveTCP(t, Config{MaxContinuations: 100}, echo)
	for i, size := range []int{0, 1, 7, 50} {
		id := uint32(2*i + 1)
		path := strings.Repeat(string(rune('a'+i)), 100)
		block := s.block(":method=GET", ":scheme=http", ":path=/"+path, ":authority=h", "a=b")
		b := rawFrame(frameHeaders, flagEndStream, id, block[:size])
		for rest := block[size:]; len(rest) > 0; {
			n, flags := min(len(rest), max(size, 10)), uint8(0)
			if n == len(rest) {
				flags = flagEndHeaders
			}
			b = append(b, rawFrame(frameContinuation, flags, id, rest[:n])...)
			rest = rest[n:]
		}
		s.send(b)
		if got := s.until("DATA"); !strings.Contains(got, path) {
			t.Errorf("in pieces of %d: got %s", size, got)
		}
	}
	if got := s.conn.Requests(); got != 4 {
		t.Errorf("%d requests, want 4", got)
	}
}

// TestContinuationLimits looks at both sides of each limit.
func TestContinuationLimits(t *testing.T) {
	t.Parallel()
	pieces := func(n, size int) []byte {
		b := rawFrame(frameHeaders, flagEndStream, 1, nil)
		return append(b, bytes.Repeat(rawFrame(frameContinuation, 0, 1, bytes.Repeat([]byte{0x80}, size)), n)...)
	}
	tests := []struct {
		name string
		send []byte
		want string // the code of the GOAWAY; COMPRESSION_ERROR if it was only the content
	}{
		{"16 frames", append(pieces(15, 1), rawFrame(frameContinuation, flagEndHeaders, 1, nil)...), "COMPRESSION_ERROR"},
		{"17 frames", pieces(17, 1), "ENHANCE_YOUR_CALM"},
		{"the limit and a frame", append(pieces(1, 1024), rawFrame(frameContinuation, flagEndHeaders, 1, bytes.Repeat([]byte{0x80}, minMaxFrame))...), "COMPRESSION_ERROR"},
		{"one byte more", append(pieces(1, 1025), rawFrame(frameContinuation, flagEndHeaders, 1, bytes.Repeat([]byte{0x80}, minMaxFrame))...), "ENHANCE_YOUR_CALM"},
	}
	for _, tt := range tests {
		s := serveTCP(t, Config{MaxHeaderBytes: 1024}, ok)
		s.send(tt.send)
		if got := s.ended(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestSizeUpdates looks at both sides of the limit for changes of the header
// table's size at the beginning of a block.
func TestSizeUpdates(t *testing.T) {
	t.Parallel()
	const get = "\x82\x86\x84\x41\x01h"
	tests := []struct {
		name, block, want string
	}{
		{"one", "\x3f\xe1\x1f" + get, "HEADERS 1 4 :status=200 content-length=2"},
		{"two", "\x20\x3f\xe1\x1f" + get, "HEADERS 1 4 :status=200 content-length=2"},
		{"three", "\x20\x20\x3f\xe1\x1f" + get, "GOAWAY 1 COMPRESSION_ERROR"},
		{"many", strings.Repeat("\x20", 16_000) + get, "GOAWAY 1 COMPRESSION_ERROR"},
		{"one that does not end", "\x3f\xff\xff", "GOAWAY 1 COMPRESSION_ERROR"},
	}
	for _, tt := range tests {
		s := serveTCP(t, Config{}, ok)
		s.send(headersFrame(1, true, []byte(tt.block)))
		got := "end"
		if f, ok := s.next(); ok {
			got = f.String()
		}
		if strings.Replace(got, "GOAWAY 0", "GOAWAY 1", 1) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
