// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

// parseResponse parses a response head that is whole, to a request with the
// given method.
func parseResponse(in, method string, lax bool) (res header.Response, kind bodyKind, n int, err error) {
	var fr framing
	n, err = consumeResponseHead([]byte(in), 0, &defaultLimits, &res, &fr)
	if n > 0 {
		kind, err = responseFraming(&res, &fr, method, lax)
	}
	return res, kind, n, err
}

func TestConsumeResponseHead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want string // status, reason, version and fields
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", `200 "OK" HTTP/1.1 `},
		{"HTTP/1.1 200 \r\n\r\n", `200 "" HTTP/1.1 `},
		{"HTTP/1.1 200\r\n\r\n", `200 "" HTTP/1.1 `}, // many leave the space out
		{"HTTP/1.0 999 \xe9t\xe9 x\r\n\r\n", `999 "\xe9t\xe9 x" HTTP/1.0 `},
		{"HTTP/1.1 200  two\r\n\r\n", `200 " two" HTTP/1.1 `},
		{"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n", `100 "Continue" HTTP/1.1 A: b` + "\n"},
		{"HTTP/1.1 200 OK\r\nA : b\r\nC:d\r\n\r\n", `200 "OK" HTTP/1.1 A: b` + "\nC: d\n"}, // RFC 9112 section 5.1
	}
	for _, tt := range tests {
		for i := range len(tt.in) {
			var res header.Response
			if n, err := consumeResponseHead([]byte(tt.in[:i]), 0, &defaultLimits, &res, new(framing)); n != 0 || err != nil {
				t.Errorf("first %d bytes of %q: %d, %v, want 0", i, tt.in, n, err)
			}
		}
		res, _, n, err := parseResponse(tt.in+"behind", "GET", false)
		got := fmt.Sprintf("%d %q %s %s", res.Status, res.Reason, res.Proto, res.Fields.String())
		if n != len(tt.in) || err != nil || got != tt.want {
			t.Errorf("%q: %d, %v, %q, want %d, %q", tt.in, n, err, got, len(tt.in), tt.want)
		}
	}
}

func TestConsumeResponseHeadRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want *parseError
	}{
		{"HTTP/1.1 200 OK\nA: b\n\n", errBareLF},
		{"HTTP/1.1 200 OK\rXA: b\r\n\r\n", nil},
		{"\r\nHTTP/1.1 200 OK\r\n\r\n", nil},
		{"http/1.1 200 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.2 200 OK\r\n\r\n", errStatusLine},
		{"HTTP/2.0 200 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1  200 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 20 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 2000 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 099 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 +20 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 2x0 OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 200OK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 200\tOK\r\n\r\n", errStatusLine},
		{"HTTP/1.1 200 O\x00K\r\n\r\n", errStatusLine},
		{"HTTP/1.1 200 O\nK\r\n\r\n", nil},
		{"HTTP/1.1\r\n\r\n", errStatusLine},
		{"220 ready\r\n", errStatusLine},
		{"X", errStatusLine},
		{"HTTX", errStatusLine},
		{"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", errFold},
		{"HTTP/1.1 200 OK\r\nA\r\n\r\n", errFieldNoColon},
		{"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", errFieldName},
		{"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", nil},
	}
	for _, tt := range tests {
		if _, _, n, err := parseResponse(tt.in, "GET", false); n != 0 || err == nil || tt.want != nil && err != error(tt.want) {
			t.Errorf("%q: %d, %v, want %v", tt.in, n, err, tt.want)
		}
	}
}

func TestConsumeResponseHeadLimits(t *testing.T) {
	t.Parallel()
	lim := defaultLimits
	sized := func(n int) string {
		const start, end = "HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n"
		return start + strings.Repeat("x", n-len(start)-len(end)) + end
	}
	tests := []struct {
		name string
		in   string
		want *parseError
	}{
		{"head, largest", sized(lim.MaxHeadBytes), nil},
		{"head, one more", sized(lim.MaxHeadBytes + 1), errHeadTooLarge},
		{"head, one more, not whole", sized(lim.MaxHeadBytes + 1)[:lim.MaxHeadBytes], errHeadTooLarge},
		{"fields, most", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", lim.MaxFields) + "\r\n", nil},
		{"fields, one more", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", lim.MaxFields+1) + "\r\n", errTooManyFields},
	}
	for _, tt := range tests {
		_, _, n, err := parseResponse(tt.in, "GET", false)
		if tt.want == nil && (n != len(tt.in) || err != nil) || tt.want != nil && err != error(tt.want) {
			t.Errorf("%s: %d, %v, want %v", tt.name, n, err, tt.want)
		}
	}
}

func TestResponseFraming(t *testing.T) {
	t.Parallel()
	const cl, cl2, te = "Content-Length: 5\r\n", "Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n"
	tests := []struct {
		method, head string
		lax          bool
		kind         bodyKind
		length       int64
		err          *parseError
	}{
		{"GET", "1.1 200 OK\r\n", false, bodyUntilClose, -1, nil},
		{"GET", "1.0 200 OK\r\n", false, bodyUntilClose, -1, nil},
		{"GET", "1.1 200 OK\r\n" + cl, false, bodyFixed, 5, nil},
		{"GET", "1.0 200 OK\r\n" + cl, false, bodyFixed, 5, nil},
		{"GET", "1.1 200 OK\r\nContent-Length: 0\r\n", false, bodyFixed, 0, nil},
		{"GET", "1.1 200 OK\r\n" + te, false, bodyChunked, -1, nil},
		// No body, whatever the fields say (RFC 9112 section 6.3).
		{"HEAD", "1.1 200 OK\r\n" + cl, false, bodyNone, 5, nil},
		{"HEAD", "1.1 200 OK\r\n" + te, false, bodyNone, -1, nil},
		{"HEAD", "1.1 200 OK\r\n", false, bodyNone, -1, nil},
		{"GET", "1.1 304 x\r\n" + cl, false, bodyNone, 5, nil},
		{"GET", "1.1 304 x\r\n", false, bodyNone, -1, nil},
		{"GET", "1.1 204 x\r\n" + cl, false, bodyNone, 5, nil},
		{"GET", "1.1 101 x\r\n" + te, false, bodyNone, -1, nil},
		{"CONNECT", "1.1 200 OK\r\n" + cl, false, bodyNone, 5, nil},
		{"CONNECT", "1.1 200 OK\r\n" + te, false, bodyNone, -1, nil},
		{"CONNECT", "1.1 403 x\r\n" + cl, false, bodyFixed, 5, nil},
		// Nothing ambiguous.
		{"GET", "1.1 200 OK\r\n" + cl + te, false, 0, 0, errLengthCoding},
		{"GET", "1.1 200 OK\r\n" + cl + te, true, 0, 0, errLengthCoding},
		{"HEAD", "1.1 200 OK\r\n" + cl + te, false, 0, 0, errLengthCoding},
		{"GET", "1.1 200 OK\r\n" + cl + cl, false, 0, 0, errManyLengths},
		{"GET", "1.1 200 OK\r\n" + cl + cl2, false, 0, 0, errManyLengths},
		{"GET", "1.1 200 OK\r\n" + te + te, false, 0, 0, errCoding},
		{"GET", "1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", false, 0, 0, errCodingOther},
		{"GET", "1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n", false, 0, 0, errCoding},
		{"GET", "1.1 200 OK\r\nTransfer-Encoding: identity\r\n", false, 0, 0, errCoding},
		{"GET", "1.0 200 OK\r\n" + te, false, 0, 0, errCoding10},
		{"GET", "1.1 200 OK\r\nContent-Length: -1\r\n", false, 0, 0, errLength},
		{"GET", "1.1 200 OK\r\nContent-Length: abc\r\n", false, 0, 0, errLength},
		{"GET", "1.1 200 OK\r\nContent-Length: 1.5\r\n", false, 0, 0, errLength},
		{"GET", "1.1 200 OK\r\nContent-Length: \r\n", false, 0, 0, errLength},
		{"GET", "1.1 200 OK\r\nContent-Length: 123abc\r\n", false, 0, 0, errLength},
		// AllowInvalidContentLength.
		{"GET", "1.1 200 OK\r\nContent-Length: -1\r\n", true, bodyUntilClose, -1, nil},
		{"GET", "1.1 200 OK\r\n" + cl + cl2, true, bodyUntilClose, -1, nil},
		{"GET", "1.1 200 OK\r\n" + cl, true, bodyFixed, 5, nil},
	}
	for _, tt := range tests {
		res, kind, _, err := parseResponse("HTTP/"+tt.head+"\r\n", tt.method, tt.lax)
		switch {
		case tt.err != nil:
			if err != error(tt.err) {
				t.Errorf("%s %q: %v, want %v", tt.method, tt.head, err, tt.err)
			}
		case err != nil || kind != tt.kind || res.Length != tt.length:
			t.Errorf("%s %q: kind %d, length %d, %v, want %d, %d", tt.method, tt.head, kind, res.Length, err, tt.kind, tt.length)
		}
	}
}

func TestAppendStatusLine(t *testing.T) {
	t.Parallel()
	for want, res := range map[string]header.Response{
		"HTTP/1.1 200 OK\r\n":              {Status: 200},
		"HTTP/1.1 200 OK \r\n":             {Status: 200, Reason: "OK "},
		"HTTP/1.1 404 Not Found\r\n":       {Status: 404, Proto: header.HTTP10},
		"HTTP/1.1 404 Gone fishing\r\n":    {Status: 404, Reason: "Gone fishing"},
		"HTTP/1.1 599 \r\n":                {Status: 599},
		"HTTP/1.1 500 \xe9\r\n":            {Status: 500, Reason: "\xe9"},
		"HTTP/1.1 502 Bad Gateway\r\n":     {Status: 502, Reason: "a\r\nX: y"},
		"HTTP/1.1 501 Not Implemented\r\n": {Status: 501, Reason: "\x00"},
	} {
		if got := string(appendStatusLine(nil, &res)); got != want {
			t.Errorf("%d %q is written as %q, want %q", res.Status, res.Reason, got, want)
		}
	}
}

func FuzzConsumeResponseHead(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200\r\n\r\n",
		"HTTP/1.0 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 5\r\nA: \xff\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\rXA: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\nA: b\n\n",
	} {
		f.Add([]byte(seed))
	}
	wide := Limits{MaxHeadBytes: 1 << 20, MaxFields: 1000}.withDefaults()
	f.Fuzz(func(t *testing.T, in []byte) {
		var res header.Response
		var fr framing
		n, err := consumeResponseHead(in, 0, &defaultLimits, &res, &fr)
		if n <= 0 || err != nil {
			return
		}
		scanned := 0
		for i := range n {
			if k, err := consumeResponseHead(in[:i], scanned, &defaultLimits, new(header.Response), new(framing)); k != 0 || err != nil {
				t.Fatalf("first %d of %d bytes: n = %d, %v, want 0 (need more)", i, n, k, err)
			}
			scanned = i
		}
		kind, err := responseFraming(&res, &fr, "GET", false)
		if err != nil {
			return
		}
		// What a client gets from us must mean to it what it meant to us.
		out := appendStatusLine(nil, &res)
		out = appendFields(out, &res.Fields)
		if res.Length >= 0 {
			out = appendLength(out, res.Length)
		} else if kind == bodyChunked {
			out = append(out, "Transfer-Encoding: chunked\r\n"...)
		}
		out = append(out, crlf...)
		var again header.Response
		fr = framing{}
		m, err := consumeResponseHead(out, 0, &wide, &again, &fr)
		if m != len(out) || err != nil {
			t.Fatalf("%q was forwarded as %q: %d, %v, want %d", in[:n], out, m, err, len(out))
		}
		kind2, err := responseFraming(&again, &fr, "GET", false)
		res.Fields.DelFunc(func(f header.Field) bool { return isFraming(f.Name) })
		again.Fields.DelFunc(func(f header.Field) bool { return isFraming(f.Name) })
		if err != nil || kind2 != kind || !again.Equal(&res) {
			t.Errorf("%q was forwarded as %q, which reads differently: %v", in[:n], out, err)
		}
	})
}
