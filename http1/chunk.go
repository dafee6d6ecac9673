// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"strconv"

	"github.com/belay-proxy/belay/header"
)

// maxChunkDigits is the number of hexadecimal digits of a chunk size that
// always fit an int64.
const maxChunkDigits = 15

// consumeChunkSize parses the line that starts a chunk,
//
//	chunk-size [ chunk-ext ] CRLF
//
// (RFC 9112 section 7.1), at the start of b. It returns the size, the number
// of bytes of extensions and the number of bytes taken: 0 if b does not yet
// hold the whole line. Extensions are skipped, but not unread: a bare CR or
// LF in one, even inside quotes, is how requests are hidden in them. maxExt
// is how many bytes of extensions there may be.
func consumeChunkSize(b []byte, maxExt int) (size int64, ext, n int, err error) {
	digits := 0
	for digits < len(b) {
		d := hexDigit(b[digits])
		if d < 0 {
			break
		}
		if digits == maxChunkDigits {
			return 0, 0, 0, errChunkSize
		}
		size = size<<4 | int64(d)
		digits++
	}
	if digits == len(b) {
		return 0, 0, 0, nil
	}
	if digits == 0 {
		return 0, 0, 0, errChunkSize
	}
	end := digits
	for end < len(b) && b[end] != '\r' {
		if c := b[end]; c < ' ' && c != '\t' || c == 0x7f {
			return 0, 0, 0, errChunkSize
		}
		end++
	}
	ext = end - digits
	if ext > maxExt {
		return 0, 0, 0, errChunkExt
	}
	if ext > 0 {
		// chunk-ext = *( BWS ";" … ): after white space only a semicolon.
		if rest := bytes.TrimLeft(b[digits:end], " \t"); len(rest) > 0 && rest[0] != ';' || len(rest) == 0 && end < len(b) {
			return 0, 0, 0, errChunkSize
		}
	}
	switch {
	case end+1 >= len(b):
		return 0, 0, 0, nil
	case b[end+1] != '\n':
		return 0, 0, 0, errChunkSize
	}
	return size, ext, end + 2, nil
}

// allowedExt returns how many bytes of extensions a chunk of size bytes may
// have without counting against the limit of the whole body (RFC 9112 section
// 7.1.1).
func allowedExt(size int64) int64 { return 16 + 2*size }

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// consumeTrailers parses the trailers and the empty line that end a chunked
// body, at the start of b, into fields. It returns the number of bytes taken,
// 0 if b does not yet hold all of it. scanned is as for headEnd. Trailers
// that would change the meaning of the message are left out (RFC 9110 section
// 6.5.1).
func consumeTrailers(b []byte, scanned int, lim *Limits, fields *header.Fields) (n int, err error) {
	switch {
	case len(b) >= 2 && b[0] == '\r' && b[1] == '\n':
		return 2, nil
	case len(b) >= 1 && b[0] == '\r' && len(b) >= 2:
		return 0, errControl
	}
	n, err = headEnd(b, scanned)
	if err != nil {
		return 0, err
	}
	if n > lim.MaxTrailerBytes || n == 0 && len(b) > lim.MaxTrailerBytes {
		return 0, errTrailerTooLong
	}
	if n == 0 {
		return 0, nil
	}
	if err := parseFields(string(b[:n-2]), fields, lim.MaxFields, false, nil); err != nil {
		fields.Reset()
		return 0, err
	}
	fields.DelFunc(func(f header.Field) bool { return !trailerAllowed(f.Name) })
	return n, nil
}

// trailerAllowed reports whether a field may stand in trailers: not if it is
// needed for framing, routing, authentication or the handling of content.
func trailerAllowed(name string) bool {
	if isFraming(name) {
		return false
	}
	switch len(name) {
	case len("TE"):
		return !header.EqualName(name, "TE")
	case len("Host"):
		return !header.EqualName(name, "Host")
	case len("Range"):
		return !header.EqualName(name, "Range")
	case len("Expect"): // and Cookie
		return !header.EqualName(name, "Expect") && !header.EqualName(name, "Cookie")
	case len("Trailer"):
		return !header.EqualName(name, "Trailer")
	case len("Set-Cookie"):
		return !header.EqualName(name, "Set-Cookie")
	case len("Max-Forwards"): // and Content-Type
		return !header.EqualName(name, "Max-Forwards") && !header.EqualName(name, "Content-Type")
	case len("Authorization"): // and Cache-Control, Content-Range
		return !header.EqualName(name, "Authorization") && !header.EqualName(name, "Cache-Control") &&
			!header.EqualName(name, "Content-Range")
	case len("Content-Encoding"):
		return !header.EqualName(name, "Content-Encoding")
	case len("Proxy-Authorization"):
		return !header.EqualName(name, "Proxy-Authorization")
	}
	return true
}

// appendChunkSize appends the line that starts a chunk of n bytes.
func appendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, crlf...)
}

// appendLastChunk appends the end of a chunked body. trailers may be nil.
func appendLastChunk(dst []byte, trailers *header.Fields) []byte {
	dst = append(dst, "0\r\n"...)
	if trailers != nil {
		for i := range trailers.Len() {
			if f := trailers.At(i); trailerAllowed(f.Name) {
				dst = appendField(dst, f.Name, f.Value)
			}
		}
	}
	return append(dst, crlf...)
}
