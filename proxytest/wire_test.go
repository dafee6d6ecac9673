// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

func readRequest(s string) (RecordedRequest, error) {
	return ReadRequest(bufio.NewReader(strings.NewReader(s)))
}

func readResponse(s, method string) *Response {
	w := wire{br: bufio.NewReader(strings.NewReader(s))}
	return w.response(method)
}

func TestReadRequest(t *testing.T) {
	req, err := readRequest("POST /a?b HTTP/1.1\r\nhost: a.test:80\r\nX-A:  v v \r\nX-A:\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"3;a=\"q\\\"\";b\r\nabc\r\n0A \t; c=d\r\n0123456789\r\n00\r\nSum: 1f\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if req.Method != "POST" || req.Target != "/a?b" || req.Proto != header.HTTP11 || req.Framing != ByChunks {
		t.Errorf("got %s %s %v %s, want POST /a?b HTTP/1.1 chunked", req.Method, req.Target, req.Proto, req.Framing)
	}
	if got, want := req.Text(), "abc0123456789"; got != want {
		t.Errorf("body = %q, want %q", got, want)
	}
	if got, want := req.Fields.String(), "host: a.test:80\nX-A: v v\nX-A: \nTransfer-Encoding: chunked\n"; got != want {
		t.Errorf("fields = %q, want %q", got, want)
	}
	if got, want := req.Trailers.String(), "Sum: 1f\n"; got != want {
		t.Errorf("trailers = %q, want %q", got, want)
	}
	if !bytes.HasPrefix(req.Head, []byte("POST /a?b ")) || !bytes.HasSuffix(req.Head, []byte("chunked\r\n\r\n")) {
		t.Errorf("head = %q", req.Head)
	}
}

func TestReadRequestAccepts(t *testing.T) {
	for _, in := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
		"M~ / HTTP/1.1\r\nHost: a\r\nX: \xff\t\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\nx",
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
	} {
		if _, err := readRequest(in); err != nil {
			t.Errorf("%q: %v, want no error", in, err)
		}
	}
}

func TestReadRequestRejects(t *testing.T) {
	const start, post = "GET / HTTP/1.1\r\nHost: a\r\n", "PUT / HTTP/1.1\r\nHost: a\r\n"
	const chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
	for _, in := range []string{
		"\r\n" + start + "\r\n",
		"GET /\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
		"GET / http/1.1\r\nHost: a\r\n\r\n",
		"G:T / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		start + "Host: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
		start + "X : a\r\n\r\n",
		start + ": a\r\n\r\n",
		start + "X\r\n\r\n",
		start + "X: a\r\n b\r\n\r\n",
		start + "X: a\x00\r\n\r\n",
		start + "X: a\rb\r\n\r\n",
		start + "X: a\n\r\n",
		post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		post + "Content-Length: 1, 1\r\n\r\nx",
		post + "Content-Length: +1\r\n\r\nx",
		post + "Content-Length: \r\n\r\nx",
		post + "Content-Length: 9223372036854775808\r\n\r\nx",
		post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		chunked + "\r\n\r\n",
		chunked + "0x1\r\nx\r\n0\r\n\r\n",
		chunked + "-1\r\nx\r\n0\r\n\r\n",
		chunked + "1\nx\r\n0\r\n\r\n",
		chunked + "1\r\nxy\r\n0\r\n\r\n",
		chunked + "1;\r\nx\r\n0\r\n\r\n",
		chunked + "1;a=\r\nx\r\n0\r\n\r\n",
		chunked + "1;a=\"\r\nx\r\n0\r\n\r\n",
		chunked + "1 \r\nx\r\n0\r\n\r\n",
		chunked + "10000000000000000\r\nx\r\n0\r\n\r\n",
		chunked + "0\r\nContent-Length: 1\r\n\r\n",
		chunked + "0\r\nX : 1\r\n\r\n",
	} {
		_, err := readRequest(in)
		if _, ok := errors.AsType[*SyntaxError](err); !ok {
			t.Errorf("%q: error %v, want a SyntaxError", in, err)
		}
	}
}

func TestReadRequestCut(t *testing.T) {
	for _, whole := range []string{
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n",
	} {
		for i := range whole {
			want := io.ErrUnexpectedEOF
			if i == 0 {
				want = io.EOF
			}
			if _, err := readRequest(whole[:i]); err != want {
				t.Errorf("%q: error %v, want %v", whole[:i], err, want)
			}
		}
		if _, err := readRequest(whole); err != nil {
			t.Errorf("%q: error %v, want none", whole, err)
		}
	}
}

func TestReadResponse(t *testing.T) {
	tests := []struct {
		in, method string
		framing    Framing
		body       string
		ok         bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET", ByLength, "hi", true},
		{"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nh", "GET", ByLength, "h", false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "GET", ByChunks, "hi", true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "GET", ByChunks, "hi", false},
		{"HTTP/1.0 200 OK\r\n\r\nhi", "GET", ByClose, "hi", true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD", NoBody, "", true},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "GET", NoBody, "", true},
		{"HTTP/1.1 204 No Content\r\n\r\n", "GET", NoBody, "", true},
		{"HTTP/1.1 103 Early Hints\r\n\r\n", "GET", NoBody, "", true},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "GET", ByLength, "", false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "GET", NoBody, "", false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET", NoBody, "", false},
		{"HTTP/1.1 200\r\n\r\n", "GET", "", "", false},
		{"HTTP/1.1 20 OK\r\n\r\n", "GET", "", "", false},
		{"HTTP/1.1 099 OK\r\n\r\n", "GET", "", "", false},
		{"HTTP/2 200 OK\r\n\r\n", "GET", "", "", false},
		{"", "GET", "", "", false},
	}
	for _, tt := range tests {
		r := readResponse(tt.in, tt.method)
		if r.Framing != tt.framing || r.Text() != tt.body || r.Complete != tt.ok || r.Complete != (r.Err == nil) {
			t.Errorf("%s %q: %s %q complete %v (%v), want %s %q complete %v",
				tt.method, tt.in, r.Framing, r.Body, r.Complete, r.Err, tt.framing, tt.body, tt.ok)
		}
	}
}

// FuzzReadRequest checks that what is accepted means the same when it is
// written again, and that it is not accepted before its last byte.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nT: u\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		src := bytes.NewReader(in)
		br := bufio.NewReader(src)
		req, err := ReadRequest(br)
		if err != nil {
			return
		}
		used := len(in) - src.Len() - br.Buffered()
		if _, err := ReadRequest(bufio.NewReader(bytes.NewReader(in[:used-1]))); err == nil {
			t.Fatalf("%q is accepted without its last byte", in[:used])
		}
		again, err := readRequest(rewrite(&req))
		if err != nil || again.Method != req.Method || again.Target != req.Target || !again.Fields.Equal(&req.Fields) ||
			!bytes.Equal(again.Body, req.Body) || !again.Trailers.Equal(&req.Trailers) {
			t.Fatalf("%q was read as %+v and again as %+v, %v", in[:used], req, again, err)
		}
	})
}

// FuzzReadResponse checks that a response is not whole before its last byte,
// unless the end of the connection is what ends it.
func FuzzReadResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nT: u\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200 OK\r\n\r\nhi"))
	f.Fuzz(func(t *testing.T, in []byte) {
		src := bytes.NewReader(in)
		w := wire{br: bufio.NewReader(src)}
		r := w.response("GET")
		if r.Complete != (r.Err == nil) {
			t.Fatalf("%q: complete %v with error %v", in, r.Complete, r.Err)
		}
		if !r.Complete || r.Framing == ByClose {
			return
		}
		used := len(in) - src.Len() - w.br.Buffered()
		if short := readResponse(string(in[:used-1]), "GET"); short.Complete {
			t.Fatalf("%q is whole without its last byte", in[:used])
		}
	})
}

// rewrite writes a request with one chunk for the body.
func rewrite(req *RecordedRequest) string {
	line := fmt.Sprintf("%s %s %s\r\n", req.Method, req.Target, req.Proto)
	s := line + strings.ReplaceAll(req.Fields.String(), "\n", "\r\n") + "\r\n"
	if req.Framing != ByChunks {
		return s + req.Text()
	}
	if len(req.Body) > 0 {
		s += fmt.Sprintf("%x\r\n%s\r\n", len(req.Body), req.Body)
	}
	return s + "0\r\n" + strings.ReplaceAll(req.Trailers.String(), "\n", "\r\n") + "\r\n"
}
