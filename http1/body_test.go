// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/netio"
)

// A decoded body is what a bodyReader has made of some bytes.
type decoded struct {
	body     string
	trailers string
	class    string // "", "cut" or "malformed"
	rest     string // what is behind it; only if it is whole
}

// decode reads a body out of pieces.
func decode(kind bodyKind, length int64, lim Limits, list [][]byte) (d decoded) {
	lim = lim.withDefaults()
	in := newInput(list)
	defer in.drop()
	b := bodyReader{in: in, lim: &lim}
	b.start(kind, length)
	body, err := readBody(b.next)
	d.body = string(body)
	if pe, ok := errors.AsType[*parseError](err); ok && pe.status == 400 {
		d.class = "malformed"
	} else if err == io.ErrUnexpectedEOF {
		d.class = "cut"
	} else if err != nil {
		d.class = err.Error()
	}
	if err != nil {
		return d
	}
	if b.received != int64(len(body)) {
		d.class = fmt.Sprintf("received is %d, want %d", b.received, len(body))
	}
	if piece, last, err := b.next(); len(piece) > 0 || !last || err != nil {
		d.class = fmt.Sprintf("after the end: %q, %v, %v", piece, last, err)
	}
	d.trailers = b.trailers.String()
	rest := append([]byte(nil), in.unread()...)
	for _, p := range in.conn.NetConn().(*scriptConn).pieces {
		rest = append(rest, p...)
	}
	d.rest = string(rest)
	return d
}

func TestBodyReader(t *testing.T) {
	t.Parallel()
	const big = 100_000
	tests := []struct {
		name   string
		kind   bodyKind
		length int64
		in     string
		want   decoded
	}{
		{"none", bodyNone, 0, "more", decoded{rest: "more"}},
		{"length zero", bodyFixed, 0, "more", decoded{rest: "more"}},
		{"length", bodyFixed, 5, "hello", decoded{body: "hello"}},
		{"length, more behind", bodyFixed, 5, "hellomore", decoded{body: "hello", rest: "more"}},
		{"length, cut", bodyFixed, 5, "hell", decoded{body: "hell", class: "cut"}},
		{"length, nothing", bodyFixed, 5, "", decoded{class: "cut"}},
		{"long", bodyFixed, big, strings.Repeat("x", big) + "more", decoded{body: strings.Repeat("x", big), rest: "more"}},
		{"until close", bodyUntilClose, 0, "hello", decoded{body: "hello"}},
		{"until close, nothing", bodyUntilClose, 0, "", decoded{}},
		{"until close, long", bodyUntilClose, 0, strings.Repeat("x", big), decoded{body: strings.Repeat("x", big)}},

		{"chunks: none", bodyChunked, -1, "0\r\n\r\nmore", decoded{rest: "more"}},
		{"chunks: one", bodyChunked, -1, "5\r\nhello\r\n0\r\n\r\nmore", decoded{body: "hello", rest: "more"}},
		{"chunks: two", bodyChunked, -1, "1\r\nx\r\n2\r\nyz\r\n000\r\n\r\n", decoded{body: "xyz"}},
		{"chunks: extensions", bodyChunked, -1, "1;a=b\r\nx\r\n0;c\r\n\r\n", decoded{body: "x"}},
		{"chunks: data like syntax", bodyChunked, -1, "5\r\n0\r\n\r\n\r\n0\r\n\r\n", decoded{body: "0\r\n\r\n"}},
		{"chunks: long", bodyChunked, -1, "186a0\r\n" + strings.Repeat("x", big) + "\r\n0\r\n\r\nmore", decoded{body: strings.Repeat("x", big), rest: "more"}},
		{"trailers", bodyChunked, -1, "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nmore", decoded{body: "x", trailers: "A: b\nC: d\n", rest: "more"}},
		{"trailers that are not kept", bodyChunked, -1, "0\r\nHost: b\r\n\r\nmore", decoded{rest: "more"}},

		{"chunks: cut before the size", bodyChunked, -1, "1\r\nx\r\n", decoded{body: "x", class: "cut"}},
		{"chunks: cut in the size", bodyChunked, -1, "1\r\nx\r\n1", decoded{body: "x", class: "cut"}},
		{"chunks: cut in the data", bodyChunked, -1, "5\r\nhel", decoded{body: "hel", class: "cut"}},
		{"chunks: cut behind the data", bodyChunked, -1, "5\r\nhello\r", decoded{body: "hello", class: "cut"}},
		{"chunks: cut in the last one", bodyChunked, -1, "0\r\n", decoded{class: "cut"}},
		{"chunks: cut in the end", bodyChunked, -1, "0\r\n\r", decoded{class: "cut"}},
		{"chunks: cut in the trailers", bodyChunked, -1, "0\r\nA: b\r\n", decoded{class: "cut"}},
		{"chunks: too much data", bodyChunked, -1, "5\r\nhelloX\r\n0\r\n\r\n", decoded{body: "hello", class: "malformed"}},
		{"chunks: CR and no LF", bodyChunked, -1, "5\r\nhello\rX0\r\n\r\n", decoded{body: "hello", class: "malformed"}},
		{"chunks: LF", bodyChunked, -1, "5\r\nhello\n0\r\n\r\n", decoded{body: "hello", class: "malformed"}},
		{"chunks: LF behind the size", bodyChunked, -1, "5\nhello\r\n0\r\n\r\n", decoded{class: "malformed"}},
		{"chunks: LF at the end", bodyChunked, -1, "0\r\n\n", decoded{class: "malformed"}},
		{"chunks: stray byte at the end", bodyChunked, -1, "0\r\nX\r\n\r\n", decoded{class: "malformed"}},
		{"chunks: not a number", bodyChunked, -1, "1\r\nx\r\nz\r\n", decoded{body: "x", class: "malformed"}},
		{"chunks: overflow", bodyChunked, -1, "1\r\nx\r\n10000000000000001\r\ny", decoded{body: "x", class: "malformed"}},
	}
	for _, tt := range tests {
		for _, size := range []int{0, 1, 2, 3, 7, 4096, 5000} {
			if size > 0 && size < 1000 && len(tt.in) > big {
				continue // slow
			}
			if got := decode(tt.kind, tt.length, Limits{}, pieces([]byte(tt.in), size)); got != tt.want {
				t.Errorf("%s, in pieces of %d: got %.200q, want %.200q", tt.name, size, got, tt.want)
			}
		}
		// Split in two at every place.
		for i := range min(len(tt.in), 100) {
			list := [][]byte{[]byte(tt.in[:i]), []byte(tt.in[i:])}
			if got := decode(tt.kind, tt.length, Limits{}, list); got != tt.want {
				t.Errorf("%s, split at %d: got %.200q, want %.200q", tt.name, i, got, tt.want)
			}
		}
	}
}

func TestBodyReaderLimits(t *testing.T) {
	t.Parallel()
	chunk := func(ext int) string { return "1" + strings.Repeat(";", ext) + "\r\nx\r\n" }
	tests := []struct {
		name string
		in   string
		want decoded
	}{
		{"extension, most", chunk(100) + "0\r\n\r\n", decoded{body: "x"}},
		{"extension, one more", chunk(101) + "0\r\n\r\n", decoded{class: "malformed"}},
		{"last extension, most", "0" + strings.Repeat(";", 100) + "\r\n\r\n", decoded{}},
		{"last extension, one more", "0" + strings.Repeat(";", 101) + "\r\n\r\n", decoded{class: "malformed"}},
		// 100 - 16 - 2 of each count.
		{"extensions, most", chunk(100) + chunk(100) + chunk(54) + "0\r\n\r\n", decoded{body: "xxx"}},
		{"extensions, one more", chunk(100) + chunk(100) + chunk(55) + "0\r\n\r\n", decoded{body: "xx", class: "malformed"}},
		{"extensions, most at the last chunk", chunk(100) + chunk(100) + "0" + strings.Repeat(";", 52) + "\r\n\r\n", decoded{body: "xx"}},
		{"extensions, one more at the last chunk", chunk(100) + chunk(100) + "0" + strings.Repeat(";", 53) + "\r\n\r\n", decoded{body: "xx", class: "malformed"}},
		// What is small beside the data does not add up, nor is it saved up.
		{"extensions, many", strings.Repeat(chunk(18), 1000) + "0\r\n\r\n", decoded{body: strings.Repeat("x", 1000)}},
		{"extensions, none saved up", strings.Repeat(chunk(0), 1000) + chunk(100) + chunk(100) + chunk(55) + "0\r\n\r\n", decoded{body: strings.Repeat("x", 1002), class: "malformed"}},
		{"extensions, of large chunks", strings.Repeat("20;"+strings.Repeat("s", 79)+"\r\n"+strings.Repeat("x", 32)+"\r\n", 100) + "0\r\n\r\n", decoded{body: strings.Repeat("x", 3200)}},
		{"trailers, most", "0\r\nA: " + strings.Repeat("x", 43) + "\r\n\r\n", decoded{trailers: "A: " + strings.Repeat("x", 43) + "\n"}},
		{"trailers, one more", "0\r\nA: " + strings.Repeat("x", 44) + "\r\n\r\n", decoded{class: "malformed"}},
		{"trailers without end", "0\r\n" + strings.Repeat("x", 1000), decoded{class: "malformed"}},
	}
	lim := Limits{MaxChunkExtBytes: 100, MaxTrailerBytes: 50}
	for _, tt := range tests {
		for _, size := range []int{0, 1, 10} {
			if got := decode(bodyChunked, -1, lim, pieces([]byte(tt.in), size)); got != tt.want {
				t.Errorf("%s, in pieces of %d: got %+v, want %+v", tt.name, size, got, tt.want)
			}
		}
	}
}

// A reader that is used again has forgotten the body before.
func TestBodyReaderStart(t *testing.T) {
	t.Parallel()
	lim := Limits{MaxChunkExtBytes: 4}.withDefaults()
	in := newInput([][]byte{[]byte("1;abc\r\nx\r\n0\r\nA: b\r\n\r\n" + "1;abc\r\ny\r\n0\r\nC: d\r\n\r\n" + "zz")})
	defer in.drop()
	b := bodyReader{in: in, lim: &lim}
	for _, want := range []struct{ body, trailers string }{{"x", "A: b\n"}, {"y", "C: d\n"}} {
		b.start(bodyChunked, -1)
		if b.complete() {
			t.Error("complete before the body was read")
		}
		body, err := readBody(b.next)
		if string(body) != want.body || b.trailers.String() != want.trailers || err != nil || b.received != 1 {
			t.Errorf("got %q, %q, %v, received %d, want %q, %q", body, b.trailers.String(), err, b.received, want.body, want.trailers)
		}
	}
	b.start(bodyFixed, 2)
	if !b.complete() || !b.buffered() || b.trailers.Len() != 0 || b.received != 0 {
		t.Errorf("after start: complete %v, buffered %v, %d trailers, received %d", b.complete(), b.buffered(), b.trailers.Len(), b.received)
	}
}

func FuzzChunkedBody(f *testing.F) {
	for _, seed := range []string{
		"0\r\n\r\n",
		"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
		"5;a=\"b\"\r\nhello\r\n0;c\r\nA: b\r\nHost: x\r\n\r\n",
		"5\nhello\n0\n\n",
		"5\r\nhello0\r\n\r\n",
		"5;\n\r\nhello\r\n0\r\n\r\n",
		"5 \r\nhello\r\n0\r\n\r\n",
		"fffffffffffffff\r\nx",
		"1\r\nx\r\n0\r\nA: b\n\r\n",
		"1\r\nx\r\n0\r\nA: b\r\n c\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		if len(in) > 4<<10 {
			return
		}
		// However the bytes arrive, they mean the same.
		whole := decode(bodyChunked, -1, Limits{}, pieces(in, 0))
		for _, n := range []int{1, 2, int(size)} {
			if got := decode(bodyChunked, -1, Limits{}, pieces(in, n)); got != whole {
				t.Fatalf("%q in pieces of %d is %+v, in one %+v", in, n, got, whole)
			}
		}
		// What is sent is what is received, be the body what it may.
		var out scriptConn
		o := output{conn: netio.New(&out)}
		defer o.release()
		o.start(bodyChunked, -1)
		for _, piece := range pieces(in, int(size)) {
			if err := o.body(piece, false); err != nil {
				t.Fatal(err)
			}
		}
		var trailers header.Fields
		trailers.Add("Checksum", string(in[:min(len(in), 20)]))
		if err := o.trailers(&trailers); err != nil {
			t.Fatal(err)
		}
		want := decoded{body: string(in), trailers: trailers.String()}
		if got := decode(bodyChunked, -1, Limits{}, pieces(out.out.Bytes(), 0)); got != want {
			t.Errorf("sent %q, received %+v, want %+v", out.out.Bytes(), got, want)
		}
	})
}

func BenchmarkChunkedBody(b *testing.B) {
	var wire bytes.Buffer
	for range 100 {
		fmt.Fprintf(&wire, "%x\r\n%s\r\n", 1000, strings.Repeat("x", 1000))
	}
	wire.WriteString("0\r\n\r\n")
	script := &scriptConn{pieces: make([][]byte, 1)}
	in := &input{conn: netio.New(script)}
	defer in.drop()
	body := bodyReader{in: in, lim: &defaultLimits}
	b.ReportAllocs()
	b.SetBytes(int64(wire.Len()))
	for b.Loop() {
		script.pieces = append(script.pieces[:0], wire.Bytes())
		body.start(bodyChunked, -1)
		for {
			if _, last, err := body.next(); err != nil {
				b.Fatal(err)
			} else if last {
				break
			}
		}
	}
}
