// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/belay-proxy/belay/header"
)

// consumeRequestHead parses the request head at the start of b into req and
// returns the number of bytes it took, or 0 if b does not yet hold a whole
// head. scanned is as for headEnd; req is empty when called. All strings of
// req are cut from one copy of the head.
func consumeRequestHead(b []byte, scanned int, lim *Limits, req *header.Request, fr *framing) (n int, err error) {
	// RFC 9112 section 2.2: ignore an empty line before the request line.
	lead := 0
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		lead = 2
		b = b[2:]
		scanned = max(scanned-2, 0)
	}
	n, err = headEnd(b, scanned)
	if n == 0 && err == nil {
		return 0, checkPartialRequest(b, lim)
	}
	if err != nil {
		return 0, err
	}
	if n > lim.MaxHeadBytes {
		return 0, errHeadTooLarge
	}
	line, fields, err := cutStartLine(string(b[:n-2])) // without the empty line
	if err != nil {
		return 0, err
	}
	if err := parseRequestLine(line, lim, req); err != nil {
		return 0, err
	}
	if err := parseFields(fields, &req.Fields, lim.MaxFields, false, fr); err != nil {
		return 0, err
	}
	if err := setRequestLength(req, fr); err != nil {
		return 0, err
	}
	if err := setHost(req, fr); err != nil {
		return 0, err
	}
	if fr.expect != "" && req.Proto == header.HTTP11 && !header.EqualName(fr.expect, "100-continue") {
		return 0, errExpect // RFC 9110 section 10.1.1: in HTTP/1.0 it means nothing
	}
	return lead + n, nil
}

// checkPartialRequest refuses the start of a head that cannot become a valid
// one: something that is not HTTP, or too much of it.
func checkPartialRequest(b []byte, lim *Limits) error {
	if len(b) > 0 && !header.IsTokenByte(b[0]) && b[0] != '\r' {
		return errMethod
	}
	if len(b) < lim.MaxHeadBytes {
		return nil
	}
	if bytes.IndexByte(b, '\n') < 0 {
		return errTargetTooLong
	}
	return errHeadTooLarge
}

// parseRequestLine parses
//
//	request-line = method SP request-target SP HTTP-version
//
// (RFC 9112 section 3), without its CRLF. Its parts are separated by exactly
// one space.
func parseRequestLine(line string, lim *Limits, req *header.Request) error {
	method, rest, ok := strings.Cut(line, " ")
	if !ok {
		return errRequestLine
	}
	if !header.ValidName(method) {
		return errMethod
	}
	target, version, ok := strings.Cut(rest, " ")
	if !ok {
		return errRequestLine
	}
	switch version {
	case "HTTP/1.1":
		req.Proto = header.HTTP11
	case "HTTP/1.0":
		req.Proto = header.HTTP10
	default:
		if len(version) == len("HTTP/1.1") && version[:5] == "HTTP/" && isDigit(version[5]) && version[6] == '.' && isDigit(version[7]) {
			return errVersion
		}
		return errRequestLine
	}
	if len(target) > lim.MaxTargetBytes {
		return errTargetTooLong
	}
	if !validTarget(target) {
		return errTarget
	}
	req.Method = method
	req.Target = target
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// validTarget reports whether t has only bytes that may be forwarded in a
// request line: no white space, no control, no "#", which starts a fragment.
// Bytes beyond ASCII pass, as raw UTF-8 paths are common and harmless.
func validTarget(t string) bool {
	for i := range len(t) {
		if c := t[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return t != ""
}

// setRequestLength decides the length of the body (RFC 9112 section 6.3). A
// request that says it in more than one way, or unclearly, is refused.
func setRequestLength(req *header.Request, fr *framing) error {
	switch {
	case fr.codings == 0 && fr.lengths == 0:
		req.Length = 0
		return nil
	case fr.codings > 0 && fr.lengths > 0:
		return errLengthCoding
	case fr.lengths > 1:
		return errManyLengths
	case fr.lengths == 1:
		if fr.length < 0 {
			return errLength
		}
		req.Length = fr.length
		return nil
	case req.Proto == header.HTTP10:
		return errCoding10
	case fr.codings > 1:
		return errCoding
	case !header.EqualName(fr.coding, "chunked"):
		return otherCoding(fr.coding)
	}
	req.Length = header.UnknownLength
	return nil
}

// otherCoding tells a list of codings that ends in chunked, which is valid
// but not supported, from one that leaves the length open.
func otherCoding(value string) error {
	first, last, ok := strings.Cut(value, ",")
	if ok && header.EqualName(trimSpace(last), "chunked") && header.ValidName(trimSpace(first)) &&
		!header.EqualName(trimSpace(first), "chunked") {
		return errCodingOther
	}
	return errCoding
}

// setHost brings target and Host into one form: the target of anything but
// CONNECT and OPTIONS * is a path, and Host names the authority, that of a
// CONNECT too (RFC 9112 section 3.2).
func setHost(req *header.Request, fr *framing) error {
	if fr.hosts > 1 {
		return errManyHosts
	}
	if fr.hosts == 0 && req.Proto == header.HTTP11 {
		return errNoHost
	}
	if fr.hosts == 1 && !header.ValidHost(fr.host) {
		return errHost
	}
	switch {
	case req.Method == "CONNECT":
		return setConnect(req, fr)
	case req.Target[0] == '/':
		return nil
	case req.Target == "*":
		if req.Method != "OPTIONS" {
			return errTarget
		}
		return nil
	}
	return setAbsolute(req)
}

// setConnect checks a CONNECT. Its target is an authority with a port (RFC 9112
// section 3.2.3), which also replaces Host: what decides by the one must not be
// told another by the other. A body has no meaning (RFC 9110 section 9.3.6);
// an origin that does not read it would take it for a request.
func setConnect(req *header.Request, fr *framing) error {
	if fr.lengths > 0 || fr.codings > 0 {
		return errConnectBody
	}
	if port := req.Target[strings.LastIndexByte(req.Target, ':')+1:]; port == "" || port == req.Target ||
		port[len(port)-1] == ']' || !header.ValidHost(req.Target) {
		return errTarget
	}
	req.Fields.SetFirst("Host", req.Target)
	return nil
}

// setAbsolute turns a target in absolute-form into a path, and its authority
// into the Host field, whatever that was (RFC 9112 section 3.2.2).
func setAbsolute(req *header.Request) error {
	scheme, rest, ok := strings.Cut(req.Target, "://")
	if !ok || !header.EqualName(scheme, "http") && !header.EqualName(scheme, "https") {
		return errTarget
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	if !header.ValidHost(authority) {
		return errTarget
	}
	switch {
	case path == "" && req.Method == "OPTIONS":
		path = "*"
	case path == "":
		path = "/"
	case path[0] == '?':
		path = "/" + path
	}
	req.Target = path
	req.Fields.SetFirst("Host", authority)
	return nil
}

// appendRequestHead appends the head of req in wire form, the empty line
// included. The framing comes from req.Length. connection is the value of the
// Connection field, or "" for none; upgrade that of Upgrade.
func appendRequestHead(dst []byte, req *header.Request, connection, upgrade string) []byte {
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, req.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = appendFields(dst, &req.Fields)
	switch {
	case req.Length > 0 || req.Length == 0 && sendsZero(req.Method):
		dst = appendLength(dst, req.Length)
	case req.Length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if connection != "" {
		dst = appendField(dst, "Connection", connection)
	}
	if upgrade != "" {
		dst = appendField(dst, "Upgrade", upgrade)
	}
	return append(dst, crlf...)
}

// sendsZero reports whether a request without content says so: methods that
// usually have some should (RFC 9110 section 8.6).
func sendsZero(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT":
		return false
	}
	return true
}

// appendFields appends all fields but those that frame the message.
func appendFields(dst []byte, fields *header.Fields) []byte {
	for i := range fields.Len() {
		if f := fields.At(i); !isFraming(f.Name) {
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, crlf...)
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, crlf...)
}
