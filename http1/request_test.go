// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

// parseRequest parses a request head that is whole.
func parseRequest(in string, lim *Limits) (req header.Request, n int, err error) {
	var fr framing
	n, err = consumeRequestHead([]byte(in), 0, lim, &req, &fr)
	return req, n, err
}

func TestConsumeRequestHead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string // want is method, target, version, length and fields
		want string
	}{
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 0 Host: a\n"},
		{"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 0 Host: a\n"},
		{"get /x?y=%zz|\"<>^`{}\\ HTTP/1.1\r\nhOST:a\r\n\r\n", "get /x?y=%zz|\"<>^`{}\\ HTTP/1.1 0 hOST: a\n"},
		{"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\xc3\xa9 HTTP/1.1 0 Host: a\n"},
		{"GET // HTTP/1.1\r\nHost: a\r\n\r\n", "GET // HTTP/1.1 0 Host: a\n"},
		{"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0 0 "},
		{"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", "POST / HTTP/1.0 5 Content-Length: 5\n"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n", "POST / HTTP/1.1 7 Host: a\nContent-Length: 007\n"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cHuNkEd\r\n\r\n", "POST / HTTP/1.1 -1 Host: a\nTransfer-Encoding: cHuNkEd\n"},
		// Host and the forms of a target.
		{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1 0 Host: a\n"},
		{"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1 0 Host: b\n"},
		{"OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS / HTTP/1.1 0 Host: b\n"},
		{"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 0 Host: b\n"},
		{"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?q HTTP/1.1 0 Host: b\n"},
		{"GET HTTPS://b:8/c?d HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n", "GET /c?d HTTP/1.1 0 X: y\nHost: b:8\n"},
		{"GET http://b/ HTTP/1.0\r\nX: y\r\n\r\n", "GET / HTTP/1.0 0 Host: b\nX: y\n"},
		// The target of CONNECT replaces Host, as in absolute-form.
		{"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1 0 Host: a:443\n"},
		{"CONNECT [::1]:443 HTTP/1.1\r\nA: b\r\nhost: other:443\r\n\r\n", "CONNECT [::1]:443 HTTP/1.1 0 A: b\nhost: [::1]:443\n"},
		{"CONNECT a:443 HTTP/1.0\r\n\r\n", "CONNECT a:443 HTTP/1.0 0 Host: a:443\n"},
		{"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / HTTP/1.1 0 Host: [::1]:80\n"},
		{"GET / HTTP/1.1\r\nHost: a.b.:\r\n\r\n", "GET / HTTP/1.1 0 Host: a.b.:\n"},
		// Expect.
		{"GET / HTTP/1.0\r\nExpect: x\r\n\r\n", "GET / HTTP/1.0 0 Expect: x\n"},
		{"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", "GET / HTTP/1.1 0 Host: a\nExpect: 100-Continue\n"},
	}
	for _, tt := range tests {
		behind := "behind\r\n\r\n"
		req, n, err := parseRequest(tt.in+behind, &defaultLimits)
		if err != nil || n != len(tt.in) {
			t.Errorf("%q: %d, %v, want %d", tt.in, n, err, len(tt.in))
			continue
		}
		got := fmt.Sprintf("%s %s %s %d %s", req.Method, req.Target, req.Proto, req.Length, req.Fields.String())
		if got != tt.want {
			t.Errorf("%q means %q, want %q", tt.in, got, tt.want)
		}
		checkRequestBytewise(t, tt.in, &req)
	}
}

// checkRequestBytewise checks that a head which arrives byte by byte reads as
// the same, and not before its last byte.
func checkRequestBytewise(t *testing.T, in string, want *header.Request) {
	t.Helper()
	for _, resume := range []bool{false, true} { // with and without what the last look has found
		scanned := 0
		for i := range len(in) {
			var req header.Request
			n, err := consumeRequestHead([]byte(in[:i]), scanned, &defaultLimits, &req, new(framing))
			if n != 0 || err != nil {
				t.Fatalf("first %d bytes of %q: %d, %v, want 0", i, in, n, err)
			}
			if resume {
				scanned = i
			}
		}
		var req header.Request
		n, err := consumeRequestHead([]byte(in), scanned, &defaultLimits, &req, new(framing))
		if n != len(in) || err != nil || !req.Equal(want) {
			t.Errorf("%q in pieces: %d, %v, %+v, want %d, %+v", in, n, err, req, len(in), *want)
		}
	}
}

func TestConsumeRequestHeadRefused(t *testing.T) {
	t.Parallel()
	const host = "Host: a\r\n"
	tests := []struct {
		in   string
		want *parseError
	}{
		// The request line.
		{"\r\n\r\nGET / HTTP/1.1\r\n" + host, errRequestLine},
		{"GET\r\n" + host, errRequestLine},
		{"GET /\r\n" + host, errRequestLine},
		{"GET  / HTTP/1.1\r\n" + host, errRequestLine},
		{"GET /  HTTP/1.1\r\n" + host, errRequestLine},
		{"GET / HTTP/1.1 \r\n" + host, errRequestLine},
		{"GET /a b HTTP/1.1\r\n" + host, errRequestLine},
		{"GET / http/1.1\r\n" + host, errRequestLine},
		{"GET / HTTP/1.10\r\n" + host, errRequestLine},
		{"GET / HTTP/11\r\n" + host, errRequestLine},
		{"GET / HTTP/+1.1\r\n" + host, errRequestLine},
		{"GET / \r\n" + host, errRequestLine},
		{"GET\t/\tHTTP/1.1\r\n" + host, errRequestLine},
		{"GET / HTTP/1.2\r\n" + host, errVersion},
		{"GET / HTTP/2.0\r\n" + host, errVersion},
		{"GET / HTTP/0.9\r\n" + host, errVersion},
		{"PRI * HTTP/2.0\r\n", errVersion},
		{" GET / HTTP/1.1\r\n" + host, errMethod},
		{"G(T / HTTP/1.1\r\n" + host, errMethod},
		{"G\x00T / HTTP/1.1\r\n" + host, errMethod},
		{"\x16\x03\x01 / HTTP/1.1\r\n" + host, errMethod},
		{"GET /\x00 HTTP/1.1\r\n" + host, errTarget},
		{"GET /\x7f HTTP/1.1\r\n" + host, errTarget},
		{"GET /\t HTTP/1.1\r\n" + host, errTarget},
		{"GET /#x HTTP/1.1\r\n" + host, errTarget},
		{"GET x HTTP/1.1\r\n" + host, errTarget},
		{"GET ?x HTTP/1.1\r\n" + host, errTarget},
		{"GET * HTTP/1.1\r\n" + host, errTarget},
		{"GET a:80 HTTP/1.1\r\n" + host, errTarget},
		{"GET ftp://a/ HTTP/1.1\r\n" + host, errTarget},
		{"GET http:/a HTTP/1.1\r\n" + host, errTarget},
		{"GET http:///a HTTP/1.1\r\n" + host, errTarget},
		{"GET http://u@a/ HTTP/1.1\r\n" + host, errTarget},
		{"GET http://a:99999/ HTTP/1.1\r\n" + host, errTarget},
		{"CONNECT a HTTP/1.1\r\n" + host, errTarget},
		{"CONNECT a: HTTP/1.1\r\n" + host, errTarget},
		{"CONNECT :80 HTTP/1.1\r\n" + host, errTarget},
		{"CONNECT / HTTP/1.1\r\n" + host, errTarget},
		{"CONNECT [::1] HTTP/1.1\r\n" + host, errTarget},
		{"CONNECT http://a:80/ HTTP/1.1\r\n" + host, errTarget},
		{"CONNECT a:80 HTTP/1.1\r\n" + host + "Content-Length: 5\r\n", errConnectBody},
		{"CONNECT a:80 HTTP/1.1\r\n" + host + "Content-Length: 0\r\n", errConnectBody},
		{"CONNECT a:80 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n", errConnectBody},
		{"CONNECT a:80 HTTP/1.0\r\n" + host + "Content-Length: 5\r\n", errConnectBody},
		// A CR alone ends a line for some: what follows must not be lost or read.
		{"GET / HTTP/1.1\rXHost: a\r\n", errControl},
		{"GET / HTTP/1.1\r\r\n" + host, errControl},
		{"GET / HTTP/1.1\n" + host, nil},
		{"GET / HTTP/1.1\r\nHost: a\n", nil},
		// Fields.
		{"GET / HTTP/1.1\r\n" + host + "A : b\r\n", errFieldName},
		{"GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n", errFold},
		{"GET / HTTP/1.1\r\n A: b\r\n" + host, errFold},
		{"GET / HTTP/1.1\r\n" + host + "A: b\rC: d\r\n", errControl},
		// Host.
		{"GET / HTTP/1.1\r\n", errNoHost},
		{"GET http://a/ HTTP/1.1\r\n", errNoHost},
		{"GET / HTTP/1.1\r\n" + host + host, errManyHosts},
		{"GET / HTTP/1.0\r\n" + host + host, errManyHosts},
		{"GET / HTTP/1.1\r\nHost:\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: a, b\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: a b\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: u@a\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: a:99999\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: a:+80\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: [::1\r\n", errHost},
		{"GET / HTTP/1.1\r\nHost: ::1\r\n", errHost},
		{"GET / HTTP/1.0\r\nHost: [x]\r\n", errHost},
		// Framing.
		{"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", errLengthCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: x\r\n", errLengthCoding},
		{"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", errLengthCoding},
		{"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n", errManyLengths},
		{"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n", errManyLengths},
		{"POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n", errLength},
		{"POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n", errLength},
		{"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n", errCoding10},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked,\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: ,chunked\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked;q=1\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n", errCoding},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0bchunked\r\n", errControl},
		{"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n", errCodingOther},
		{"GET / HTTP/1.1\r\n" + host + "Expect: x\r\n", errExpect},
		{"GET / HTTP/1.1\r\n" + host + "Expect: 100-continue, x\r\n", errExpect},
		{"GET / HTTP/1.1\r\n" + host + "Expect: x\r\nExpect: 100-continue\r\n", errExpect},
	}
	for _, tt := range tests {
		in := tt.in + "\r\n"
		_, n, err := parseRequest(in, &defaultLimits)
		if n != 0 || err == nil || tt.want != nil && err != error(tt.want) {
			t.Errorf("%q: %d, %v, want %v", in, n, err, tt.want)
		}
		// In pieces it is refused too, no later than at the end.
		scanned := 0
		for i := range len(in) + 1 {
			n, err = consumeRequestHead([]byte(in[:i]), scanned, &defaultLimits, new(header.Request), new(framing))
			if n > 0 {
				t.Errorf("first %d bytes of %q were accepted", i, in)
			}
			if err != nil {
				break
			}
			scanned = i
		}
		if err == nil {
			t.Errorf("%q byte by byte: no error", in)
		}
	}
}

func TestConsumeRequestHeadLimits(t *testing.T) {
	t.Parallel()
	lim := defaultLimits
	fields := func(n int) string { return "Host: a\r\n" + strings.Repeat("A: b\r\n", n-1) }
	sized := func(n int) string { // a head of n bytes
		const start, end = "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n"
		return start + strings.Repeat("x", n-len(start)-len(end)) + end
	}
	target := func(n int) string {
		return "GET /" + strings.Repeat("x", n-1) + " HTTP/1.1\r\nHost: a\r\n\r\n"
	}
	tests := []struct {
		name string
		in   string
		want *parseError
	}{
		{"head, largest", sized(lim.MaxHeadBytes), nil},
		{"head, one more", sized(lim.MaxHeadBytes + 1), errHeadTooLarge},
		{"head behind an empty line, largest", "\r\n" + sized(lim.MaxHeadBytes), nil},
		{"head behind an empty line, one more", "\r\n" + sized(lim.MaxHeadBytes+1), errHeadTooLarge},
		{"fields, most", "GET / HTTP/1.1\r\n" + fields(lim.MaxFields) + "\r\n", nil},
		{"fields, one more", "GET / HTTP/1.1\r\n" + fields(lim.MaxFields+1) + "\r\n", errTooManyFields},
		{"target, longest", target(lim.MaxTargetBytes), nil},
		{"target, one more", target(lim.MaxTargetBytes + 1), errTargetTooLong},
		{"target of 8000 bytes", target(8000), nil}, // RFC 9112 section 3
	}
	for _, tt := range tests {
		_, n, err := parseRequest(tt.in, &lim)
		if tt.want == nil && (n != len(tt.in) || err != nil) || tt.want != nil && err != error(tt.want) {
			t.Errorf("%s: %d, %v, want %v", tt.name, n, err, tt.want)
		}
	}
	// One that has no end is refused when it has reached the limit.
	partial := sized(2 * lim.MaxHeadBytes)[:lim.MaxHeadBytes]
	if _, n, err := parseRequest(partial[:len(partial)-1], &lim); n != 0 || err != nil {
		t.Errorf("partial head, one byte below the limit: %d, %v, want 0", n, err)
	}
	if _, _, err := parseRequest(partial, &lim); err != error(errHeadTooLarge) {
		t.Errorf("partial head at the limit: %v, want %v", err, errHeadTooLarge)
	}
	line := target(2 * lim.MaxHeadBytes)[:lim.MaxHeadBytes]
	if _, _, err := parseRequest(line, &lim); err != error(errTargetTooLong) {
		t.Errorf("partial request line at the limit: %v, want %v", err, errTargetTooLong)
	}
}

// A client that speaks something else learns it from the first byte.
func TestConsumeRequestHeadNotHTTP(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"\x16\x03\x01", " ", "\x00", "\xff", "{", "\n"} {
		if _, n, err := parseRequest(in, &defaultLimits); n != 0 || err == nil {
			t.Errorf("%q: %d, %v, want an error", in, n, err)
		}
	}
}

func TestAppendRequestHead(t *testing.T) {
	t.Parallel()
	var fields header.Fields
	fields.Add("Host", "a")
	for _, name := range []string{"Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive", "Upgrade", "Proxy-Connection", "HTTP2-Settings"} {
		fields.Add(name, "9")
	}
	fields.Add("x-Y", "z")
	tests := []struct {
		req                 header.Request
		connection, upgrade string
		want                string
	}{
		{header.Request{Method: "GET", Target: "/"}, "", "", "GET / HTTP/1.1\r\nHost: a\r\nx-Y: z\r\n\r\n"},
		{header.Request{Method: "GET", Target: "/", Proto: header.HTTP10}, "", "", "GET / HTTP/1.1\r\nHost: a\r\nx-Y: z\r\n\r\n"},
		{header.Request{Method: "POST", Target: "/"}, "", "", "POST / HTTP/1.1\r\nHost: a\r\nx-Y: z\r\nContent-Length: 0\r\n\r\n"},
		{header.Request{Method: "GET", Target: "/", Length: 7}, "", "", "GET / HTTP/1.1\r\nHost: a\r\nx-Y: z\r\nContent-Length: 7\r\n\r\n"},
		{header.Request{Method: "GET", Target: "/", Length: -1}, "TE", "", "GET / HTTP/1.1\r\nHost: a\r\nx-Y: z\r\nTransfer-Encoding: chunked\r\nConnection: TE\r\n\r\n"},
		{header.Request{Method: "GET", Target: "/"}, "Upgrade", "w", "GET / HTTP/1.1\r\nHost: a\r\nx-Y: z\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n"},
	}
	for _, tt := range tests {
		tt.req.Fields = fields
		if got := string(appendRequestHead(nil, &tt.req, tt.connection, tt.upgrade)); got != tt.want {
			t.Errorf("%+v is written as %q, want %q", tt.req, got, tt.want)
		}
	}
}

// requestSeeds are requests of the classes that smuggling is made of, good and
// bad ones. What a fuzz target has found goes to testdata.
var requestSeeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\nT: v\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n00\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nHost: b\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.1\rXHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://b?d HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nraw",
	"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /\xff?\xff HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET //x/../y HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
	"GET / HTTP/1.0\r\nExpect: more\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x02\x00",
}

func FuzzConsumeRequestHead(f *testing.F) {
	for _, seed := range requestSeeds {
		f.Add([]byte(seed))
	}
	// What is written may be longer than what was read, and has a Host.
	wide := Limits{MaxHeadBytes: 1 << 20, MaxFields: 1000, MaxTargetBytes: 1 << 20}.withDefaults()
	f.Fuzz(func(t *testing.T, in []byte) {
		var head header.Request
		n, err := consumeRequestHead(in, 0, &defaultLimits, &head, new(framing))
		if n <= 0 || err != nil {
			return // incomplete or rejected
		}
		if head.Proto == header.HTTP10 {
			head.Fields.Del("Expect") // so does the proxy: it means nothing there (RFC 9110 section 10.1.1)
			if head.Host() == "" {
				head.SetHost("a") // HTTP/1.1 wants one
			}
		}
		// What we forward must mean to the next parser what it meant to us.
		out := appendRequestHead(nil, &head, "", "")
		var again header.Request
		m, err := consumeRequestHead(out, 0, &wide, &again, new(framing))
		head.Fields.DelFunc(func(f header.Field) bool { return isFraming(f.Name) })
		again.Fields.DelFunc(func(f header.Field) bool { return isFraming(f.Name) })
		if m != len(out) || err != nil || !again.Equal(&head) {
			t.Errorf("%q was forwarded as %q, which reads differently: %v", in[:n], out, err)
		}
		// However the bytes arrive, the message ends at the same place.
		scanned := 0
		for i := range n {
			if k, err := consumeRequestHead(in[:i], scanned, &defaultLimits, new(header.Request), new(framing)); k != 0 || err != nil {
				t.Fatalf("first %d of %d bytes: n = %d, %v, want 0 (need more)", i, n, k, err)
			}
			scanned = i
		}
		var pieces header.Request
		if k, err := consumeRequestHead(in[:n], scanned, &defaultLimits, &pieces, new(framing)); k != n || err != nil {
			t.Errorf("%q in pieces: n = %d, %v, want %d", in[:n], k, err, n)
		}
	})
}

// benchRequest is what a browser sends.
const benchRequest = "GET /assets/app.js?v=3 HTTP/1.1\r\nHost: www.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://www.example.com/\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\r\n"

func TestConsumeRequestHeadAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var req header.Request
	var fr framing
	in := []byte(benchRequest)
	got := testing.AllocsPerRun(100, func() {
		req.Reset()
		fr = framing{}
		if n, err := consumeRequestHead(in, 0, &defaultLimits, &req, &fr); n != len(in) || err != nil {
			t.Fatalf("n = %d, %v, want %d", n, err, len(in))
		}
	})
	if got > 1 { // the string that all others are cut from
		t.Errorf("%v allocations per head, want at most 1", got)
	}
}

func BenchmarkConsumeRequestHead(b *testing.B) {
	var req header.Request
	in := []byte(benchRequest)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		req.Reset()
		var fr framing
		if n, err := consumeRequestHead(in, 0, &defaultLimits, &req, &fr); n != len(in) || err != nil {
			b.Fatalf("n = %d, %v, want %d", n, err, len(in))
		}
	}
}

func BenchmarkAppendRequestHead(b *testing.B) {
	req, _, err := parseRequest(benchRequest, &defaultLimits)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(benchRequest)))
	for b.Loop() {
		buf = appendRequestHead(buf[:0], &req, "", "")
	}
}
