// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"strings"

	"github.com/belay-proxy/belay/header"
)

// A parseError says why a message was refused and with which status a server
// answers. Its values are the constants below: refusing costs no allocation.
type parseError struct {
	status int
	why    string
}

func (e *parseError) Error() string { return e.why }

func refuse(status int, why string) *parseError { return &parseError{status, why} }

// The reasons for which a message is refused.
var (
	errBareLF        = refuse(400, "line not ended by CRLF")
	errControl       = refuse(400, "control character in head")
	errFold          = refuse(400, "folded field line")
	errFieldName     = refuse(400, "invalid field name")
	errFieldNoColon  = refuse(400, "field line without colon")
	errTooManyFields = refuse(431, "too many fields")
	errHeadTooLarge  = refuse(431, "head too large")

	errRequestLine   = refuse(400, "malformed request line")
	errMethod        = refuse(400, "invalid method")
	errTarget        = refuse(400, "invalid request target")
	errTargetTooLong = refuse(414, "request target too long")
	errVersion       = refuse(505, "unsupported HTTP version")
	errNoHost        = refuse(400, "missing Host")
	errManyHosts     = refuse(400, "several Host fields")
	errHost          = refuse(400, "invalid Host")
	errExpect        = refuse(417, "unknown expectation")
	errConnectBody   = refuse(400, "CONNECT with a body")

	errManyLengths  = refuse(400, "several Content-Length fields")
	errLength       = refuse(400, "invalid Content-Length")
	errLengthCoding = refuse(400, "both Content-Length and Transfer-Encoding")
	errCoding       = refuse(400, "invalid Transfer-Encoding")
	errCodingOther  = refuse(501, "unsupported transfer coding")
	errCoding10     = refuse(400, "Transfer-Encoding in HTTP/1.0")

	errStatusLine = refuse(502, "malformed status line")

	errChunkSize      = refuse(400, "malformed chunk size")
	errChunkEnd       = refuse(400, "chunk data not followed by CRLF")
	errChunkExt       = refuse(400, "too many bytes of chunk extensions")
	errTrailerTooLong = refuse(400, "trailers too large")
)

const crlf = "\r\n"

// headEnd returns the length of the head at the start of b, its empty line
// included, or 0 if b does not hold a whole head. scanned is the number of
// bytes that an earlier call has already looked at. A line that is not ended
// by CRLF is an error at once, so that a client that sends bare LFs is not
// left waiting.
func headEnd(b []byte, scanned int) (n int, err error) {
	for i := max(scanned-3, 0); ; {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return 0, nil
		}
		i += lf
		if i == 0 || b[i-1] != '\r' {
			return 0, errBareLF
		}
		i++
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2, nil
		}
	}
}

// cutStartLine splits a head into its first line and the lines behind it. A CR
// that no LF follows is an error: to some it ends the line.
func cutStartLine(head string) (line, fields string, err error) {
	end := strings.IndexByte(head, '\r')
	if end < 0 || end+1 >= len(head) || head[end+1] != '\n' {
		return "", "", errControl
	}
	return head[:end], head[end+2:], nil
}

// A framing collects what the fields of one head say about the length of the
// body and the fate of the connection.
type framing struct {
	lengths int   // Content-Length fields
	length  int64 // value of the only one; -1 if invalid
	codings int   // Transfer-Encoding fields
	coding  string
	hosts   int
	host    string

	closes     bool // Connection: close
	keepAlive  bool // Connection: keep-alive
	connUpg    bool // Connection: upgrade
	nominates  bool // Connection lists further names
	upgrade    string
	expect     string
	keepParams string // Keep-Alive
}

// parseFields parses the field lines in s, each ended by CRLF, into fields,
// and notes in fr what they say about framing. Strings are cut from s. With
// spaceOK, white space between name and colon is removed instead of refused:
// RFC 9112 section 5.1 wants that of a proxy for responses.
func parseFields(s string, fields *header.Fields, limit int, spaceOK bool, fr *framing) error {
	for s != "" {
		end := strings.IndexByte(s, '\r')
		if end < 0 || end+1 >= len(s) || s[end+1] != '\n' {
			return errControl
		}
		line := s[:end]
		s = s[end+2:]
		colon := 0
		for colon < len(line) && header.IsTokenByte(line[colon]) {
			colon++
		}
		name := line[:colon]
		if colon == len(line) {
			return errFieldNoColon
		}
		if line[colon] != ':' {
			if name == "" && (line[0] == ' ' || line[0] == '\t') {
				return errFold
			}
			if !spaceOK {
				return errFieldName
			}
			for colon < len(line) && (line[colon] == ' ' || line[colon] == '\t') {
				colon++
			}
			if colon == len(line) || line[colon] != ':' {
				return errFieldName
			}
		}
		if name == "" {
			return errFieldName
		}
		value := trimSpace(line[colon+1:])
		if !header.ValidValue(value) {
			return errControl
		}
		if fields.Len() == limit {
			return errTooManyFields
		}
		fields.AddValid(name, value)
		if fr != nil {
			fr.note(name, value)
		}
	}
	return nil
}

// trimSpace removes optional white space from both ends of v.
func trimSpace(v string) string {
	for v != "" && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for v != "" && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}

// note looks at one field. The switch on the length keeps it away from most.
func (fr *framing) note(name, value string) {
	switch len(name) {
	case len("Host"):
		if header.EqualName(name, "Host") {
			fr.hosts++
			fr.host = value
		}
	case len("Expect"):
		if header.EqualName(name, "Expect") {
			fr.noteExpect(value)
		}
	case len("Upgrade"):
		if header.EqualName(name, "Upgrade") {
			fr.upgrade = value
		}
	case len("Connection"): // and Keep-Alive
		if header.EqualName(name, "Connection") {
			fr.noteConnection(value)
		} else if header.EqualName(name, "Keep-Alive") {
			fr.keepParams = value
		}
	case len("Content-Length"):
		if header.EqualName(name, "Content-Length") {
			fr.lengths++
			n, ok := header.ParseLength(value)
			if !ok {
				n = -1
			}
			fr.length = n
		}
	case len("Transfer-Encoding"):
		if header.EqualName(name, "Transfer-Encoding") {
			fr.codings++
			fr.coding = value
		}
	}
}

// noteExpect keeps the first expectation that is not known, if there is one.
func (fr *framing) noteExpect(value string) {
	if fr.expect == "" || header.EqualName(fr.expect, "100-continue") {
		fr.expect = value
	}
}

func (fr *framing) noteConnection(value string) {
	for option := range strings.SplitSeq(value, ",") { // options are tokens: a quote hides nothing
		switch option = trimSpace(option); {
		case header.EqualName(option, "close"):
			fr.closes = true
		case header.EqualName(option, "keep-alive"):
			fr.keepAlive = true
		case header.EqualName(option, "upgrade"):
			fr.connUpg = true
		case option != "" && !header.EqualName(option, "te"):
			fr.nominates = true
		}
	}
}

// persistent reports whether the sender of a head with this framing wants the
// connection to stay open (RFC 9112 section 9.3).
func (fr *framing) persistent(p header.Proto) bool {
	if fr.closes {
		return false
	}
	return p == header.HTTP11 || fr.keepAlive
}

// isFraming reports whether a field is made by the writer of a message and
// never copied from another: it describes one connection or one framing.
// Connection, Upgrade and TE are written where a stream decides so.
func isFraming(name string) bool {
	switch len(name) {
	case len("Connection"): // and Keep-Alive
		return header.EqualName(name, "Connection") || header.EqualName(name, "Keep-Alive")
	case len("Content-Length"): // and HTTP2-Settings
		return header.EqualName(name, "Content-Length") || header.EqualName(name, "HTTP2-Settings")
	case len("Transfer-Encoding"):
		return header.EqualName(name, "Transfer-Encoding")
	case len("Proxy-Connection"):
		return header.EqualName(name, "Proxy-Connection")
	case len("Upgrade"):
		return header.EqualName(name, "Upgrade")
	}
	return false
}
