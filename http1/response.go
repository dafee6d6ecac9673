// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"strconv"
	"strings"

	"github.com/belay-proxy/belay/header"
)

// consumeResponseHead parses the response head at the start of b into res and
// returns the number of bytes it took, or 0 if b does not yet hold a whole
// head. scanned is as for headEnd; res is empty when called. All strings of
// res are cut from one copy of the head. res.Length is left to
// responseFraming.
func consumeResponseHead(b []byte, scanned int, lim *Limits, res *header.Response, fr *framing) (n int, err error) {
	n, err = headEnd(b, scanned)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		if len(b) >= lim.MaxHeadBytes {
			return 0, errHeadTooLarge
		}
		return 0, checkPartialResponse(b)
	}
	if n > lim.MaxHeadBytes {
		return 0, errHeadTooLarge
	}
	line, fields, err := cutStartLine(string(b[:n-2])) // without the empty line
	if err != nil {
		return 0, err
	}
	if err := parseStatusLine(line, res); err != nil {
		return 0, err
	}
	if err := parseFields(fields, &res.Fields, lim.MaxFields, true, fr); err != nil {
		return 0, err
	}
	return n, nil
}

// checkPartialResponse refuses at once what does not start like a response.
func checkPartialResponse(b []byte) error {
	const start = "HTTP/1."
	if n := min(len(b), len(start)); string(b[:n]) != start[:n] {
		return errStatusLine
	}
	return nil
}

// parseStatusLine parses
//
//	status-line = HTTP-version SP status-code SP [ reason-phrase ]
//
// (RFC 9112 section 4), without its CRLF. The second space may be missing if
// there is no reason phrase: many servers leave it out.
func parseStatusLine(line string, res *header.Response) error {
	rest, ok := strings.CutPrefix(line, "HTTP/1.")
	if !ok || len(rest) < len("1 200") || rest[1] != ' ' {
		return errStatusLine
	}
	switch rest[0] {
	case '1':
		res.Proto = header.HTTP11
	case '0':
		res.Proto = header.HTTP10
	default:
		return errStatusLine
	}
	if !isDigit(rest[2]) || !isDigit(rest[3]) || !isDigit(rest[4]) || rest[2] == '0' {
		return errStatusLine
	}
	res.Status = int(rest[2]-'0')*100 + int(rest[3]-'0')*10 + int(rest[4]-'0')
	switch reason := rest[5:]; {
	case reason == "":
	case reason[0] != ' ' || !header.ValidValue(reason):
		return errStatusLine
	default:
		res.Reason = reason[1:]
	}
	return nil
}

// responseFraming decides how the body of res is delimited (RFC 9112 section
// 6.3) and sets res.Length. method is that of the request. With laxLength an
// unusable Content-Length means until close instead of an error.
func responseFraming(res *header.Response, fr *framing, method string, laxLength bool) (bodyKind, error) {
	if fr.codings > 0 && fr.lengths > 0 {
		return 0, errLengthCoding
	}
	res.Length = header.UnknownLength
	if fr.lengths > 0 {
		switch {
		case laxLength && (fr.lengths > 1 || fr.length < 0):
		case fr.lengths > 1:
			return 0, errManyLengths
		case fr.length < 0:
			return 0, errLength
		default:
			res.Length = fr.length
		}
	}
	if !res.HasBody(method) {
		return bodyNone, nil
	}
	switch {
	case fr.codings > 1:
		return 0, errCoding
	case fr.codings == 1 && res.Proto == header.HTTP10:
		// RFC 9112 section 6.1: faulty framing. Read until the close, it
		// could give the client chunk sizes as content.
		return 0, errCoding10
	case fr.codings == 1:
		if !header.EqualName(fr.coding, "chunked") {
			return 0, otherCoding(fr.coding)
		}
		return bodyChunked, nil
	case res.Length >= 0:
		return bodyFixed, nil
	}
	return bodyUntilClose, nil
}

// appendStatusLine appends the status line of res as HTTP/1.1: a server says
// its own version (RFC 9110 section 6.2), whatever the origin's.
func appendStatusLine(dst []byte, res *header.Response) []byte {
	if res.Status == 200 && res.Reason == "OK" {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	reason := res.Reason
	if reason == "" || !header.ValidValue(reason) {
		reason = header.StatusText(res.Status)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(res.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, crlf...)
}
