// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpcweb

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

func TestDecoder(t *testing.T) {
	tests := []struct {
		name   string
		pieces []string
		want   string
		err    error
	}{
		{"nothing", nil, "", nil},
		{"empty pieces", []string{"", "", ""}, "", nil},
		{"one group", []string{"YWJj"}, "abc", nil},
		{"split everywhere", []string{"Y", "W", "J", "j", "Z", "A", "=", "="}, "abcd", nil},
		{"split in the padding", []string{"YWJjZA=", "=ZWY="}, "abcdef", nil},
		{"padding in the middle", []string{"YQ==YmM=ZGVm"}, "abcdef", nil},
		{"all that is 6 bits", []string{"+/+/"}, "\xfb\xff\xbf", nil},
		{"cut", []string{"YWJjZ"}, "abc", errCutBase64},
		{"cut padding", []string{"YWJjZA="}, "abc", errCutBase64},
		{"padding first", []string{"=WJj"}, "", errBase64},
		{"padding second", []string{"Y=Jj"}, "", errBase64},
		{"data after padding", []string{"YW=j"}, "", errBase64},
		{"only padding", []string{"===="}, "", errBase64},
		{"bits that mean nothing", []string{"YR=="}, "", errBase64},
		{"line break", []string{"YWJj\nYWJ"}, "", errBase64},
		{"carriage return", []string{"YWJ\r"}, "", errBase64},
		{"space", []string{"YWJ "}, "", errBase64},
		{"URL alphabet", []string{"-_-_"}, "", errBase64},
		{"NUL", []string{"\x00\x00\x00\x00"}, "", errBase64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodePieces(tt.pieces)
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if (err == nil || err == errCutBase64) && string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// decodePieces decodes a body that arrives in pieces.
func decodePieces(pieces []string) (out []byte, err error) {
	var d decoder
	for _, p := range pieces {
		if out, err = d.append(out, []byte(p)); err != nil {
			return out, err
		}
	}
	return out, d.finish()
}

// split cuts s into pieces whose lengths are the bytes of cuts in turn.
func split(s string, cuts []byte) (pieces []string) {
	for i := 0; len(s) > 0; i++ {
		n := len(s)
		if i < len(cuts) {
			n = min(n, int(cuts[i]))
		}
		pieces, s = append(pieces, s[:n]), s[n:]
	}
	return pieces
}

func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{"", "YWJj", "YQ==YmM=", "YQ=", "\n", "====", "AAAAAAUKA2FiYw=="} {
		f.Add(seed, []byte{1, 2, 0, 3})
	}
	f.Fuzz(func(t *testing.T, in string, cuts []byte) {
		whole, err := decodePieces([]string{in})
		parts, perr := decodePieces(split(in, cuts))
		// However the bytes arrive, they mean the same.
		if err != perr || err == nil && !bytes.Equal(whole, parts) {
			t.Fatalf("%q is %q, %v; in pieces %q, %v", in, whole, err, parts, perr)
		}
		if err == nil {
			// Valid text is what a decoder of whole groups makes of it.
			var want []byte
			for i := 0; i < len(in); i += 4 {
				group, err := base64.StdEncoding.DecodeString(in[i : i+4])
				if err != nil {
					t.Fatalf("group %q of %q was accepted", in[i:i+4], in)
				}
				want = append(want, group...)
			}
			if !bytes.Equal(whole, want) {
				t.Fatalf("%q is %q, want %q", in, whole, want)
			}
		}
		// What we encode in pieces is decoded to the same in others.
		var text []byte
		for _, p := range split(in, cuts) {
			text = appendText(text, []byte(p))
		}
		if back, err := decodePieces(split(string(text), append([]byte{3}, cuts...))); err != nil || string(back) != in {
			t.Fatalf("%q was encoded as %q, which is %q, %v", in, text, back, err)
		}
	})
}

// parseFrame reads the frame of the trailers as a client does.
func parseFrame(t *testing.T, b []byte) (trailers header.Fields) {
	t.Helper()
	if len(b) < frameHead || b[0] != trailerFlag || int(binary.BigEndian.Uint32(b[1:]))+frameHead != len(b) {
		t.Fatalf("%q is not one frame of trailers", b)
	}
	for line := range strings.SplitAfterSeq(string(b[frameHead:]), "\r\n") {
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		if !ok || name != strings.ToLower(name) {
			t.Fatalf("bad line %q in the trailers", line)
		}
		trailers.Add(name, strings.TrimSpace(value))
	}
	return trailers
}

func FuzzTrailerFrame(f *testing.F) {
	f.Add("Grpc-Status", "0", "grpc-message", "")
	f.Add("a", "b: c", "a", "\r\nInjected: 1")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		if !header.ValidName(name1) || !header.ValidName(name2) {
			return
		}
		var want header.Fields
		want.Add(name1, value1)
		want.Add(name2, value2)
		got := parseFrame(t, appendTrailerFrame(nil, &want))
		if got.Len() != 2 {
			t.Fatalf("%v became %v", want.String(), got.String())
		}
		for i := range 2 {
			g, w := got.At(i), want.At(i)
			if !header.EqualName(g.Name, w.Name) || g.Value != strings.TrimSpace(w.Value) {
				t.Errorf("%v became %v", w, g)
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	text := appendText(nil, make([]byte, 12<<10))
	out := make([]byte, 0, 16<<10)
	var d decoder
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if out, err = d.append(out[:0], text); err != nil {
			b.Fatal(err)
		}
	}
}

// A piece costs no allocation, whatever its border.
func TestDecoderAllocs(t *testing.T) {
	text := appendText(nil, make([]byte, 3000))
	out := make([]byte, 0, 4000)
	var d decoder
	if got := testing.AllocsPerRun(100, func() {
		out, _ = d.append(out[:0], text[:1001])
		out, _ = d.append(out[:0], text[1001:])
		out = appendText(out[:0], text[:100])
	}); got > 0 {
		t.Errorf("%v allocations per piece, want none", got)
	}
}
