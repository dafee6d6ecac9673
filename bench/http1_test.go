// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"
)

// feed gives stream to r in reads of at most step bytes and returns how many
// responses were complete.
func feed(r *responseReader, stream string, step int) (responses int, err error) {
	for len(stream) > 0 {
		n := copy(r.space(), stream[:min(step, len(stream))])
		stream = stream[n:]
		done, err := r.advance(n)
		if err != nil {
			return responses, err
		}
		if done {
			responses++
		}
	}
	return responses, nil
}

func TestResponseReader(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nDate: now\r\n\r\n"
	tests := []struct {
		name, stream string
		want         int
		wantErr      string // part of the error, "" for none
	}{
		{"one", head + "hello", 1, ""},
		{"cut in the head", head[:20], 0, ""},
		{"cut in the body", head + "hel", 0, ""},
		{"space around the length", "HTTP/1.1 200 OK\r\nContent-Length:  5 \r\n\r\nhello", 1, ""},
		{"other status", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello", 0, "status line"},
		{"other version", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, "status line"},
		{"other length", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", 0, "Content-Length is 6, want 5"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, "no Content-Length"},
		{"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", 0, "Content-Length"},
		{"head too long", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 200), 0, "longer than 128"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for step := 1; step <= len(tt.stream); step++ {
				r := &responseReader{buf: make([]byte, 128), want: 5}
				got, err := feed(r, tt.stream, step)
				if got != tt.want {
					t.Errorf("in steps of %d: %d responses, want %d", step, got, tt.want)
				}
				if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("in steps of %d: error %v, want %q", step, err, tt.wantErr)
				}
			}
		})
	}
}

func TestResponseReaderSequence(t *testing.T) {
	const one = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	r := &responseReader{buf: make([]byte, 64), want: 5}
	for i := range 3 {
		if got, err := feed(r, one, 7); got != 1 || err != nil {
			t.Fatalf("response %d: %d, %v; want 1, nil", i, got, err)
		}
	}
	if _, err := feed(r, one+"x", 64); err == nil {
		t.Error("a byte after the response was accepted")
	}
}

func TestResponseReaderEmptyBody(t *testing.T) {
	r := &responseReader{buf: make([]byte, 64), want: 0}
	if got, err := feed(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 64); got != 1 || err != nil {
		t.Errorf("%d responses, %v; want 1, nil", got, err)
	}
}

// However the bytes arrive, the reader comes to the same conclusion.
func FuzzResponseReader(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), 3)
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1"), 9)
	f.Fuzz(func(t *testing.T, stream []byte, step int) {
		if step < 1 {
			return
		}
		small := &responseReader{buf: make([]byte, 256), want: 5}
		got, err := feed(small, string(stream), step)
		bytewise := &responseReader{buf: make([]byte, 256), want: 5}
		want, wantErr := feed(bytewise, string(stream), 1)
		if got > want || (err == nil && wantErr == nil && got != want) {
			t.Errorf("in steps of %d: %d responses, %v; byte by byte: %d, %v", step, got, err, want, wantErr)
		}
	})
}

func TestConsumeRequest(t *testing.T) {
	tests := []struct {
		name, in string
		want     originRequest
		wantN    int
		wantErr  bool
	}{
		{"get", "GET /b/100 HTTP/1.1\r\nHost: a\r\n\r\nrest", originRequest{size: 100}, 32, false},
		{"echo", "GET /echo HTTP/1.1\r\n\r\n", originRequest{kind: echoRequest}, 22, false},
		{"delay", "GET /d/7 HTTP/1.1\r\n\r\n", originRequest{kind: delayRequest, size: 7}, 21, false},
		{"socket", "GET /ws HTTP/1.1\r\n\r\n", originRequest{kind: socketRequest}, 20, false},
		{"check", "GET /v/7 HTTP/1.1\r\n\r\n", originRequest{kind: checkRequest, size: 7}, 21, false},
		{"post", "POST /b/0 HTTP/1.1\r\ncontent-length: 7\r\n\r\n", originRequest{body: 7}, 41, false},
		{"incomplete", "GET /b/100 HTTP/1.1\r\n", originRequest{}, 0, false},
		{"no version", "GET /b/100\r\n\r\n", originRequest{}, 0, true},
		{"unknown target", "GET / HTTP/1.1\r\n\r\n", originRequest{}, 0, true},
		{"huge", "GET /b/9999999999999 HTTP/1.1\r\n\r\n", originRequest{}, 0, true},
		{"post without length", "POST /b/0 HTTP/1.1\r\n\r\n", originRequest{}, 0, true},
		{"nothing", "\r\n\r\n", originRequest{}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, n, err := consumeRequest([]byte(tt.in))
			if n != tt.wantN || (err != nil) != tt.wantErr || (err == nil && got != tt.want) {
				t.Errorf("consumeRequest(%q) = %+v, %d, %v; want %+v, %d, error %t", tt.in, got, n, err, tt.want, tt.wantN, tt.wantErr)
			}
		})
	}
}

// What a request is does not depend on what follows it.
func FuzzConsumeRequest(f *testing.F) {
	f.Add([]byte("GET /b/100 HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST /b/1 HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"))
	f.Fuzz(func(t *testing.T, in []byte) {
		req, n, err := consumeRequest(in)
		if err != nil || n == 0 {
			return
		}
		again, m, err := consumeRequest(bytes.Clone(in[:n]))
		if again != req || m != n || err != nil {
			t.Errorf("head alone: %+v, %d, %v; want %+v, %d", again, m, err, req, n)
		}
		if req.size < 0 || req.body < 0 {
			t.Errorf("negative sizes: %+v", req)
		}
	})
}

func BenchmarkResponseReader(b *testing.B) {
	response := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n" +
		"Content-Type: text/html\r\nConnection: keep-alive\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 100))
	r := &responseReader{buf: make([]byte, 8<<10), want: 100}
	b.ReportAllocs()
	for b.Loop() {
		if done, err := r.advance(copy(r.space(), response)); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}

func TestResponseReaderAllocs(t *testing.T) {
	response := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	r := &responseReader{buf: make([]byte, 8<<10), want: 5}
	got := testing.AllocsPerRun(100, func() { _, _ = r.advance(copy(r.space(), response)) })
	if got > 0 {
		t.Errorf("%v allocations per response, want 0", got)
	}
}
