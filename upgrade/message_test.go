// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestConsumeMessage(t *testing.T) {
	tests := []struct {
		in   string
		kind kind
		body string
		n    int
	}{
		{"", 0, "", 0},
		{"\x01\x00\x00\x00", 0, "", 0},
		{"\x01\x00\x00\x00\x00", hello, "", 5},
		{"\x01\x00\x00\x00\x01", 0, "", 0},
		{"\x04\x00\x00\x00\x02abc", end, "ab", 7},
		{"\x04\x00\x01\x00\x00" + strings.Repeat("x", MaxMessage), end, strings.Repeat("x", MaxMessage), 5 + MaxMessage},
		{"\x04\x00\x01\x00\x01", 0, "", -1},
		{"\x04\xff\xff\xff\xff", 0, "", -1},
	}
	for _, tt := range tests {
		k, body, n := consumeMessage([]byte(tt.in))
		if k != tt.kind || string(body) != tt.body || n != tt.n {
			t.Errorf("consumeMessage(%.20q) = %d, %.20q, %d, want %d, %.20q, %d", tt.in, k, body, n, tt.kind, tt.body, tt.n)
		}
	}
}

// TestLargestFit checks that the largest parts fit a message.
func TestLargestFit(t *testing.T) {
	name := strings.Repeat("n", MaxName)
	labels := slices.Repeat([]label{{name, name, true}}, perMessage)
	if n := len(appendLabels(nil, labels)); n > MaxMessage {
		t.Errorf("labels take %d bytes, want at most %d", n, MaxMessage)
	}
	if n := len(appendTaken(nil, make([]int, MaxSockets))); n > MaxMessage {
		t.Errorf("numbers take %d bytes, want at most %d", n, MaxMessage)
	}
	if MaxSockets > 1<<16 {
		t.Error("numbers of sockets do not fit 16 bits")
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(appendMessage(nil, hello, greeting{version, "belay v1"}.append))
	f.Add(appendMessage(nil, sockets, func(b []byte) []byte { return appendLabels(b, []label{{"a", "127.0.0.1:80", true}, {}}) }))
	f.Add(appendMessage(nil, state, piece{"health", true, []byte("{}")}.append))
	f.Add(appendMessage(nil, end, counts{3, 4}.append))
	f.Add(appendMessage(nil, ready, func(b []byte) []byte { return appendTaken(b, []int{0, 2, 5}) }))
	f.Fuzz(func(t *testing.T, in []byte) {
		k, body, n := consumeMessage(in)
		if n <= 0 {
			return
		}
		if out := appendMessage(nil, k, func(b []byte) []byte { return append(b, body...) }); !bytes.Equal(out, in[:n]) {
			t.Fatalf("message %q became %q", in[:n], out)
		}
		for i := range min(n, 64) {
			if _, _, m := consumeMessage(in[:i]); m != 0 {
				t.Fatalf("first %d of %d bytes: n = %d, want 0", i, n, m)
			}
		}
		if again, ok := reencode(k, body); ok && !bytes.Equal(again, body) {
			t.Errorf("content %q of kind %d became %q", body, k, again)
		}
	})
}

// reencode parses and encodes the content of a message. ok is false if it is
// malformed, or more than we understand.
func reencode(k kind, body []byte) (again []byte, ok bool) {
	var err error
	switch k {
	case hello:
		var g greeting
		if g, err = parseGreeting(body); err == nil {
			again = g.append(nil)
			if len(again) < len(body) {
				return nil, false // a later version says more
			}
		}
	case sockets:
		var labels []label
		if labels, err = parseLabels(body); err == nil {
			again = appendLabels(nil, labels)
		}
	case state:
		var p piece
		if p, err = parsePiece(body); err == nil {
			again = p.append(nil)
		}
	case end:
		var c counts
		if c, err = parseCounts(body); err == nil {
			again = c.append(nil)
		}
	case ready:
		var taken []int
		if taken, err = parseTaken(body, MaxSockets); err == nil {
			again = appendTaken(nil, taken)
		}
	default:
		return nil, false
	}
	return again, err == nil
}
