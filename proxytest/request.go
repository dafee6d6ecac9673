// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bufio"
	"net/netip"
	"strconv"
	"strings"

	"github.com/belay-proxy/belay/header"
)

// A RecordedRequest is a request as an [Origin] received it. It must not be
// modified.
type RecordedRequest struct {
	Conn  int // number of the connection it came on, from 1
	Index int // its place on that connection, from 1

	Head   []byte // from the request line to the empty line, as received
	Method string
	Target string
	Proto  header.Proto
	Fields header.Fields

	Framing  Framing
	Body     []byte // without chunk framing
	Trailers header.Fields
}

// Text returns the body as a string.
func (r *RecordedRequest) Text() string { return string(r.Body) }

// ReadRequest reads one request strictly, for use in a [Script]. The error is
// a *SyntaxError if the input is not a valid request, io.EOF if it ends before
// the first byte, io.ErrUnexpectedEOF if it ends later, or that of the
// connection. The request then holds what could be read.
func ReadRequest(br *bufio.Reader) (RecordedRequest, error) {
	w := wire{br: br}
	req, n, err := w.requestHead()
	if err != nil {
		return req, err
	}
	req.Body, req.Trailers, err = w.body(req.Framing, n)
	return req, err
}

// requestHead reads the head of a request and returns it with the length of
// the body, if that is framed by length.
func (w *wire) requestHead() (req RecordedRequest, n int64, err error) {
	defer func() { req.Head = w.raw[:len(w.raw):len(w.raw)] }()
	line, err := w.line("request line")
	if err != nil {
		return req, 0, err
	}
	if err = req.parseLine(line); err != nil {
		return req, 0, err
	}
	if req.Fields, err = w.fields("field"); err != nil {
		return req, 0, err
	}
	if err = checkHost(&req.Fields, req.Proto); err != nil {
		return req, 0, err
	}
	req.Framing, n, err = framing(&req.Fields, req.Proto)
	return req, n, err
}

// parseLine parses the request line.
//
//	request-line = method SP request-target SP HTTP-version
func (r *RecordedRequest) parseLine(line string) error {
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return malformed("request line", "%.80q has %d spaces", line, len(parts)-1)
	}
	var ok bool
	r.Method, r.Target = parts[0], parts[1]
	if r.Proto, ok = parseProto(parts[2]); !ok {
		return malformed("request line", "version %.20q", parts[2])
	}
	if !isToken(r.Method) {
		return malformed("request line", "method %.80q", r.Method)
	}
	return checkTarget(r.Method, r.Target)
}

// checkTarget checks the form of a target (RFC 9112 section 3.2). In paths it
// lets everything but white space, controls and "#" pass, as origins do,
// though RFC 3986 knows fewer characters.
func checkTarget(method, target string) error {
	visible := func(c byte) bool { return c > ' ' && c != 0x7f && c != '#' }
	ok := isAll(target, visible)
	switch {
	case !ok:
	case method == "CONNECT":
		ok = checkAuthority(target) && strings.Contains(target, ":")
	case target == "*":
		ok = method == "OPTIONS"
	case target[0] != '/':
		scheme, rest, found := strings.Cut(target, "://")
		authority, _, _ := strings.Cut(rest, "/")
		authority, _, _ = strings.Cut(authority, "?")
		ok = found && isToken(scheme) && authority != "" && checkAuthority(authority)
	}
	if !ok {
		return malformed("request line", "target %.80q for %s", target, method)
	}
	return nil
}

// checkHost checks that there is one valid Host field (RFC 9112 section 3.2);
// HTTP/1.0 may do without.
func checkHost(f *header.Fields, proto header.Proto) error {
	n := 0
	for host := range f.Values("Host") {
		if n++; n > 1 {
			return malformed("field", "several Host fields")
		}
		if host != "" && !checkAuthority(host) {
			return malformed("field", "Host %.80q", host)
		}
	}
	if n == 0 && proto == header.HTTP11 {
		return malformed("field", "no Host field")
	}
	return nil
}

// checkAuthority reports whether s is a host with an optional port and without
// user information (RFC 3986 section 3.2).
func checkAuthority(s string) bool {
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.Contains(s[i:], "]") {
		host, port = s[:i], s[i+1:]
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	return isAll(host, func(c byte) bool {
		return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c != 0 && strings.IndexByte("-._~%!$&'()*+,;=", c) >= 0
	})
}
