// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

var endOfHead = []byte("\r\n\r\n")

// A responseReader follows a sequence of HTTP/1.1 responses that all have
// status 200 and the same Content-Length, and checks that they do. The caller
// reads into space() and reports the number of bytes to advance.
type responseReader struct {
	buf  []byte // holds the head while it is incomplete
	want int64  // Content-Length that every response must have

	have int   // bytes of an incomplete head in buf
	left int64 // bytes of body still to come; 0 while in a head
}

// space returns where the next bytes go. It is never empty.
func (r *responseReader) space() []byte {
	if r.left > 0 {
		return r.buf
	}
	return r.buf[r.have:]
}

// advance takes note of n bytes, n >= 0, read into space(), and reports
// whether they complete a response. Bytes after the end of a response are an
// error, as no other request has been sent.
func (r *responseReader) advance(n int) (done bool, err error) {
	body := n
	if r.left == 0 {
		r.have += n
		end := bytes.Index(r.buf[:r.have], endOfHead)
		if end < 0 {
			if r.have == len(r.buf) {
				return false, fmt.Errorf("response head is longer than %d bytes", len(r.buf))
			}
			return false, nil
		}
		if err := checkHead(r.buf[:end+2], r.want); err != nil {
			return false, err
		}
		body = r.have - (end + len(endOfHead))
		r.have, r.left = 0, r.want
	}
	r.left -= int64(body)
	if r.left < 0 {
		return false, fmt.Errorf("%d bytes after the end of the response", -r.left)
	}
	return r.left == 0, nil
}

// checkHead returns an error unless head, which ends in CRLF, is that of an
// HTTP/1.1 response with status 200 and a Content-Length of want.
func checkHead(head []byte, want int64) error {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("status line %q, want HTTP/1.1 200", clip(line))
	}
	length, err := contentLength(fields)
	if err != nil {
		return err
	}
	if length != want {
		return fmt.Errorf("Content-Length is %d, want %d", length, want)
	}
	return nil
}

// errNoLength means that a head has no Content-Length field.
var errNoLength = errors.New("no Content-Length")

// contentLength returns the value of the Content-Length field in fields, which
// are lines that end in CRLF.
func contentLength(fields []byte) (int64, error) {
	const name = "content-length"
	for len(fields) > 0 {
		line, rest, _ := bytes.Cut(fields, []byte("\r\n"))
		fields = rest
		if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
			continue
		}
		value := string(bytes.TrimSpace(line[len(name)+1:]))
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return 0, fmt.Errorf("Content-Length %q: %w", clip([]byte(value)), err)
		}
		return int64(n), nil
	}
	return 0, errNoLength
}

// An originRequest is what an origin needs to know of a request.
type originRequest struct {
	kind requestKind
	size int64 // bytes of response body asked for; not of an echo
	body int64 // bytes of request body
}

// A requestKind is what a request asks an origin to do.
type requestKind uint8

const (
	bodyRequest   requestKind = iota // answer with a body
	checkRequest                     // the same, and check the body of the request
	delayRequest                     // answer with a body after a while
	echoRequest                      // answer with the head of the request
	socketRequest                    // become a WebSocket
)

// consumeRequest reads the head at the start of b. It returns the number of
// bytes in the head, 0 if it is incomplete.
func consumeRequest(b []byte) (req originRequest, n int, err error) {
	end := bytes.Index(b, endOfHead)
	if end < 0 {
		return req, 0, nil
	}
	line, fields, _ := bytes.Cut(b[:end+2], []byte("\r\n"))
	_, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	if string(version) != "HTTP/1.1" {
		return req, 0, fmt.Errorf("request line %q is not of HTTP/1.1", clip(line))
	}
	if req, err = parseTarget(target); err != nil {
		return req, 0, err
	}
	if line[0] == 'P' { // POST; a GET of ours never has a body
		if req.body, err = contentLength(fields); err != nil {
			return req, 0, err
		}
	}
	return req, end + len(endOfHead), nil
}

// parseTarget returns what a target asks for.
func parseTarget(target []byte) (req originRequest, err error) {
	switch string(target) {
	case echoTarget:
		return originRequest{kind: echoRequest}, nil
	case webSocketTarget:
		return originRequest{kind: socketRequest}, nil
	}
	for kind, prefix := range []string{bodyRequest: bodyTarget, checkRequest: checkTarget, delayRequest: delayTarget} {
		if digits, ok := bytes.CutPrefix(target, []byte(prefix)); ok {
			size, err := strconv.ParseUint(string(digits), 10, 40)
			if err != nil {
				return req, fmt.Errorf("target %q: %w", clip(target), err)
			}
			return originRequest{kind: requestKind(kind), size: int64(size)}, nil
		}
	}
	return req, fmt.Errorf("unknown target %q", clip(target))
}

// clip shortens b for an error message.
func clip(b []byte) []byte {
	const most = 80
	if len(b) > most {
		return b[:most]
	}
	return b
}
