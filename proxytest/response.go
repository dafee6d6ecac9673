// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

// A Response is a response as a [Client] received it.
type Response struct {
	Conn int // number of the client's connection it came on, from 1

	Head   []byte // from the status line to the empty line, as received
	Proto  header.Proto
	Status int
	Reason string
	Fields header.Fields

	Framing  Framing
	Body     []byte // without chunk framing; what had arrived if Err is set
	Trailers header.Fields

	// Informational are the 1xx responses that came before this one.
	Informational []*Response

	// Complete reports that the message ended where its framing says. A
	// body that ends with the connection is complete if the connection was
	// closed in good order.
	Complete bool

	// Err is nil if Complete, and otherwise says what went wrong: a
	// *SyntaxError if the bytes are not a valid response,
	// io.ErrUnexpectedEOF if the connection was closed in the middle of it,
	// io.EOF if it was closed before the first byte, or that of the
	// connection.
	Err error
}

// Text returns the body as a string.
func (r *Response) Text() string { return string(r.Body) }

// KeepAlive reports whether the connection may be used for another request
// (RFC 9112 section 9.3).
func (r *Response) KeepAlive() bool {
	switch {
	case !r.Complete || r.Framing == ByClose || r.Status == 101 || hasToken(&r.Fields, "Connection", "close"):
		return false
	case r.Proto == header.HTTP10:
		return hasToken(&r.Fields, "Connection", "keep-alive")
	}
	return true
}

// Check reports an error to t unless r is complete and has this status and
// body.
func (r *Response) Check(t testing.TB, status int, body string) {
	t.Helper()
	if !r.Complete || r.Status != status || r.Text() != body {
		t.Errorf("got %v, want %d and a whole body %.200q", r, status, body)
	}
}

// String describes r for a failure message.
func (r *Response) String() string {
	s := fmt.Sprintf("%d with %d bytes %.200q", r.Status, len(r.Body), r.Body)
	if r.Err != nil {
		s += ", cut: " + r.Err.Error()
	}
	return s
}

// response reads one response, informational or final, to a request with the
// given method. It never returns nil.
func (w *wire) response(method string) *Response {
	r := new(Response)
	n, err := w.responseHead(r, method)
	r.Head = w.raw[:len(w.raw):len(w.raw)]
	if err == nil {
		r.Body, r.Trailers, err = w.body(r.Framing, n)
	}
	r.Complete, r.Err = err == nil, err
	return r
}

func (w *wire) responseHead(r *Response, method string) (n int64, err error) {
	line, err := w.line("status line")
	if err != nil {
		return 0, err
	}
	if err := r.parseLine(line); err != nil {
		return 0, err
	}
	if r.Fields, err = w.fields("field"); err != nil {
		return 0, err
	}
	r.Framing, n, err = framing(&r.Fields, r.Proto)
	if err != nil {
		return 0, err
	}
	bodiless := r.Status < 200 || r.Status == 204
	switch {
	case bodiless && r.Framing != NoBody, method == "CONNECT" && r.Status < 300 && r.Framing != NoBody:
		return 0, malformed("framing", "body length in a %d response to %s", r.Status, method)
	case bodiless, r.Status == 304, method == "HEAD", method == "CONNECT" && r.Status < 300:
		r.Framing = NoBody
	case r.Framing == NoBody:
		r.Framing = ByClose
	}
	return n, nil
}

// parseLine parses the status line.
//
//	status-line = HTTP-version SP 3DIGIT SP [ reason-phrase ]
func (r *Response) parseLine(line string) error {
	proto, rest, _ := strings.Cut(line, " ")
	code, reason, ok := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !ok || err != nil || len(code) != 3 || !isAll(code, isDigit) || status < 100 || strings.IndexFunc(reason, isControl) >= 0 {
		return malformed("status line", "%.80q", line)
	}
	if r.Proto, ok = parseProto(proto); !ok {
		return malformed("status line", "version %.20q", proto)
	}
	r.Status, r.Reason = status, reason
	return nil
}
