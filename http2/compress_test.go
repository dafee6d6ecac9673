// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/header"
)

// A compressorRig is a compressor with the decoder of its peer.
type compressorRig struct {
	compressor
	dec *hpack.Decoder
	got []string
}

func newCompressorRig() *compressorRig {
	r := &compressorRig{compressor: compressor{limit: maxTableSize}}
	r.dec = hpack.NewDecoder(maxTableSize, func(f hpack.HeaderField) {
		r.got = append(r.got, fmt.Sprintf("%s=%s %v", f.Name, f.Value, f.Sensitive))
	})
	return r
}

// send encodes one block and decodes it again. It returns the block.
func (r *compressorRig) send(t testing.TB, fields ...[2]string) []byte {
	t.Helper()
	var want []string
	b := r.begin(nil)
	for _, f := range fields {
		how := indexed
		switch {
		case strings.HasPrefix(f[0], "never"):
			how = neverIndexed
		case strings.HasPrefix(f[0], "not"):
			how = notIndexed
		}
		static := uint8(0)
		if k := knownNames[f[0]]; k != nil {
			static = k.static
		}
		b = r.append(b, static, f[0], f[1], how)
		want = append(want, fmt.Sprintf("%s=%s %v", f[0], f[1], how == neverIndexed))
	}
	r.got = nil
	if _, err := r.dec.Write(b); err != nil {
		t.Fatalf("the peer cannot decode %x: %v", b, err)
	}
	if err := r.dec.Close(); err != nil {
		t.Fatalf("the peer cannot decode %x: %v", b, err)
	}
	if !slices.Equal(r.got, want) {
		t.Fatalf("the peer decodes %q, want %q", r.got, want)
	}
	if r.size > r.limit {
		t.Fatalf("the table has %d bytes, its limit is %d", r.size, r.limit)
	}
	return b
}

func TestCompressor(t *testing.T) {
	t.Parallel()
	r := newCompressorRig()
	tests := []struct {
		name, value string
		first       int // bytes that the field takes
		again       int // and for the second time
	}{
		{"server", "belay", 1 + 1 + 4, 1},
		{"x-custom", "some-value", 1 + 1 + 7 + 1 + 8, 1},
		{"not-kept", "abcdef", 1 + 1 + 6 + 1 + 5, 1 + 1 + 6 + 1 + 5},
		{"never-kept", "abcdef", 1 + 1 + 8 + 1 + 5, 1 + 1 + 8 + 1 + 5},
		{"accept-encoding", "gzip, deflate", 1, 1},
		{"", "", 3, 1},
		{"date", strings.Repeat("\x80", 4000), 4007, 4007}, // too large to keep
	}
	for _, tt := range tests {
		for i, want := range []int{tt.first, tt.again} {
			if b := r.send(t, [2]string{tt.name, tt.value}); len(b) > want {
				t.Errorf("%q: %d bytes in turn %d, want at most %d", tt.name, len(b), i+1, want)
			}
		}
	}
}

// Every field that is in the table is found, whatever its hash.
func TestCompressorFindsAll(t *testing.T) {
	t.Parallel()
	r := newCompressorRig()
	var fields [][2]string
	for i := range maxTableSize / (entryOverhead + len("x-a") + len("000")) {
		fields = append(fields, [2]string{"x-a", fmt.Sprintf("%03d", i)})
	}
	r.send(t, fields...)
	for _, f := range fields {
		if b := r.send(t, f); len(b) > 2 {
			t.Errorf("%s is sent again: block %x, want an index", f[1], b)
		}
	}
}

// Entries come and go, and the limit changes, and both sides agree.
func TestCompressorEviction(t *testing.T) {
	t.Parallel()
	r := newCompressorRig()
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"server", "date", "x-a", "x-b", "x-something-longer", "not-this", "never-this", "set-cookie"}
	for range 3000 {
		var fields [][2]string
		for range rng.IntN(12) {
			name := names[rng.IntN(len(names))]
			fields = append(fields, [2]string{name, strings.Repeat("v", rng.IntN(300)) + fmt.Sprint(rng.IntN(40))})
		}
		for range max(0, rng.IntN(20)-16) {
			limit := uint32(rng.IntN(6000))
			r.setLimit(limit)
			r.dec.SetAllowedMaxDynamicTableSize(maxTableSize)
		}
		r.send(t, fields...)
	}
}

// A limit that falls and rises again between two blocks empties the table on
// both sides (RFC 7541 section 4.2).
func TestCompressorLimits(t *testing.T) {
	t.Parallel()
	r := newCompressorRig()
	r.send(t, [2]string{"x-a", "kept"})
	r.setLimit(0)
	r.setLimit(maxTableSize)
	b := r.send(t, [2]string{"x-a", "kept"})
	if b[0] != 0x20 || len(b) < 10 {
		t.Errorf("block %x, want it to begin with a limit of 0 and the field as a literal", b)
	}
	if b := r.send(t, [2]string{"x-a", "kept"}); len(b) != 1 {
		t.Errorf("block %x, want one byte", b)
	}
	r.setLimit(maxTableSize + 1)
	if b := r.send(t); len(b) != 0 {
		t.Errorf("block %x for a limit that is none for us, want nothing", b)
	}
	r.setLimit(31) // less than any entry
	r.send(t, [2]string{"x-a", "kept"})
	if len(r.entries) != 0 {
		t.Errorf("%d entries in a table of 31 bytes", len(r.entries))
	}
}

// The numbers of entries do not overflow.
func TestCompressorNumbers(t *testing.T) {
	t.Parallel()
	r := newCompressorRig()
	r.oldest = math.MaxUint32 - 20
	for i := range 100 {
		r.send(t, [2]string{"x-a", fmt.Sprint(i)}, [2]string{"x-b", "same"})
	}
	if r.oldest > 1000 {
		t.Errorf("the oldest entry is %d, want the numbers to have begun anew", r.oldest)
	}
}

// What the table keeps does not keep the head that it was cut from.
func TestCompressorCopies(t *testing.T) {
	t.Parallel()
	var c compressor
	c.limit = maxTableSize
	head := strings.Repeat("x", 1<<16) + "name" + "value"
	name, value := head[1<<16:1<<16+4], head[1<<16+4:]
	c.append(nil, 0, name, value, indexed)
	e := c.entries[0]
	if e.name != name || e.value != value || overlaps(e.name, head) || overlaps(e.value, head) {
		t.Errorf("entry %+v shares memory with the head", e)
	}
}

func FuzzCompressor(f *testing.F) {
	f.Add([]byte("\x03abc\x05hello\xff\x00"), uint16(100))
	f.Fuzz(func(t *testing.T, in []byte, limit uint16) {
		r := newCompressorRig()
		take := func() string {
			if len(in) == 0 {
				return ""
			}
			n := min(int(in[0]), len(in)-1)
			s := string(in[1 : 1+n])
			in = in[1+n:]
			return s
		}
		for i := 0; len(in) > 0; i++ {
			if i%3 == 2 {
				r.setLimit(uint32(limit) * uint32(i) % 5000)
			}
			name, value := strings.ToLower(take()), take()
			r.send(t, [2]string{name, value}, [2]string{"server", value}, [2]string{name, value})
		}
	})
}

// overlaps reports whether a is a part of b.
func overlaps(a, b string) bool {
	at := uintptr(unsafe.Pointer(unsafe.StringData(a)))
	from := uintptr(unsafe.Pointer(unsafe.StringData(b)))
	return at >= from && at < from+uintptr(len(b))
}

func BenchmarkHeadWriter(b *testing.B) {
	w := newHeadWriter()
	res := &header.Response{Status: 200}
	res.Fields.Add("Server", "nginx/1.22.1")
	res.Fields.Add("Date", "Wed, 25 Nov 2026 20:29:18 GMT")
	res.Fields.Add("Content-Type", "text/html; charset=utf-8")
	res.Fields.Add("X-Origin", "127.0.0.1:3001")
	b.ReportAllocs()
	for b.Loop() {
		w.response(res, 100)
	}
}
