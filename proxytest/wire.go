// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/belay-proxy/belay/header"
)

// Bounds on what the kit keeps in memory. They are not policy: a proxy under
// test has limits far below them.
const (
	maxLine = 1 << 20 // bytes of one line
	maxRaw  = 1 << 20 // bytes of a message kept to show what was wrong with it
)

// A SyntaxError says how received bytes break the grammar of RFC 9112.
type SyntaxError struct {
	Part   string // "request line", "field", "chunk"
	Detail string // what is wrong with it
}

// Error returns, for example, "malformed field: bare LF".
func (e *SyntaxError) Error() string { return "malformed " + e.Part + ": " + e.Detail }

func malformed(part, format string, args ...any) error {
	return &SyntaxError{Part: part, Detail: fmt.Sprintf(format, args...)}
}

// Framing says how the end of a body is found (RFC 9112 section 6.3).
type Framing string

// The ways.
const (
	NoBody   Framing = "none"
	ByLength Framing = "length"
	ByChunks Framing = "chunked"
	ByClose  Framing = "close" // the end of the connection; responses only
)

// A wire reads the parts of HTTP/1 messages and keeps the bytes it has read.
//
// An error is a *SyntaxError, io.EOF if the input ended before the first byte
// of a message, io.ErrUnexpectedEOF if it ended later, or what the connection
// returned.
type wire struct {
	br  *bufio.Reader
	raw []byte // of the current message, at most maxRaw bytes
}

func (w *wire) keep(p []byte) {
	if room := maxRaw - len(w.raw); room > 0 {
		w.raw = append(w.raw, p[:min(room, len(p))]...)
	}
}

// cut turns an end of input inside a message into io.ErrUnexpectedEOF.
func (w *wire) cut(err error) error {
	if err == io.EOF && len(w.raw) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line reads one line and returns it without its CRLF.
func (w *wire) line(part string) (string, error) {
	var line []byte
	for {
		piece, err := w.br.ReadSlice('\n')
		w.keep(piece)
		line = append(line, piece...)
		if err == bufio.ErrBufferFull && len(line) < maxLine {
			continue
		}
		if err == bufio.ErrBufferFull {
			return "", malformed(part, "longer than %d bytes", maxLine)
		}
		if err != nil {
			return "", w.cut(err)
		}
		text, ok := bytes.CutSuffix(line, []byte("\r\n"))
		if !ok {
			return "", malformed(part, "bare LF in %.80q", line)
		}
		if bytes.IndexByte(text, '\r') >= 0 {
			return "", malformed(part, "bare CR in %.80q", line)
		}
		return string(text), nil
	}
}

// fields reads field lines up to and including the empty line.
//
//	field-line = field-name ":" OWS field-value OWS
func (w *wire) fields(part string) (header.Fields, error) {
	var f header.Fields
	for {
		line, err := w.line(part)
		if err != nil || line == "" {
			return f, err
		}
		name, value, ok := strings.Cut(line, ":")
		switch {
		case line[0] == ' ' || line[0] == '\t':
			return f, malformed(part, "folded line %.80q", line)
		case !ok:
			return f, malformed(part, "no colon in %.80q", line)
		case !isToken(name):
			return f, malformed(part, "invalid name %.80q", name)
		case strings.IndexFunc(value, isControl) >= 0:
			return f, malformed(part, "control character in %.80q", line)
		}
		f.AddValid(name, strings.Trim(value, " \t"))
	}
}

// framing returns how the body of a message with the fields f is delimited,
// as far as Content-Length and Transfer-Encoding tell, and its length if that
// is by length.
func framing(f *header.Fields, proto header.Proto) (Framing, int64, error) {
	lengths := slices.Collect(f.Values("Content-Length"))
	codings := slices.Collect(f.Values("Transfer-Encoding"))
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return NoBody, 0, malformed("framing", "Content-Length and Transfer-Encoding")
	case len(codings) > 0 && proto == header.HTTP10:
		return NoBody, 0, malformed("framing", "Transfer-Encoding in HTTP/1.0")
	case len(codings) > 1 || len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return NoBody, 0, malformed("framing", "Transfer-Encoding %q", codings)
	case len(codings) == 1:
		return ByChunks, 0, nil
	case len(lengths) > 1:
		return NoBody, 0, malformed("framing", "%d Content-Length fields", len(lengths))
	case len(lengths) == 0:
		return NoBody, 0, nil
	}
	if !isAll(lengths[0], isDigit) {
		return NoBody, 0, malformed("framing", "Content-Length %q", lengths[0])
	}
	n, err := strconv.ParseInt(lengths[0], 10, 64)
	if err != nil {
		return NoBody, 0, malformed("framing", "Content-Length %q", lengths[0])
	}
	return ByLength, n, nil
}

// body reads a body. On error it returns what had arrived.
func (w *wire) body(how Framing, n int64) (body []byte, trailers header.Fields, err error) {
	switch how {
	case ByLength:
		body, err = w.data(nil, n)
	case ByChunks:
		body, trailers, err = w.chunks()
	case ByClose:
		body, err = io.ReadAll(w.br)
	}
	return body, trailers, err
}

// data appends n bytes of input to dst.
func (w *wire) data(dst []byte, n int64) ([]byte, error) {
	for n > 0 {
		piece := int(min(n, 32<<10)) // the announced length may be a lie
		dst = slices.Grow(dst, piece)
		m, err := io.ReadFull(w.br, dst[len(dst):len(dst)+piece])
		dst = dst[:len(dst)+m]
		w.keep(dst[len(dst)-m:])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return dst, err
		}
		n -= int64(m)
	}
	return dst, nil
}

// chunks reads a chunked body (RFC 9112 section 7.1).
//
//	chunked-body = *chunk last-chunk trailer-section CRLF
//	chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
func (w *wire) chunks() (body []byte, trailers header.Fields, err error) {
	for {
		line, err := w.line("chunk")
		if err != nil {
			return body, trailers, err
		}
		size, err := chunkSize(line)
		if err != nil {
			return body, trailers, err
		}
		if size == 0 {
			trailers, err = w.trailers()
			return body, trailers, err
		}
		if body, err = w.data(body, size); err != nil {
			return body, trailers, err
		}
		if end, err := w.line("chunk"); err != nil {
			return body, trailers, err
		} else if end != "" {
			return body, trailers, malformed("chunk", "%.20q after the data", end)
		}
	}
}

// trailers reads a trailer section. Fields that frame or route a message must
// not be in it (RFC 9110 section 6.5.1).
func (w *wire) trailers() (header.Fields, error) {
	f, err := w.fields("trailer")
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Host", "Trailer", "Connection"} {
		if err == nil && f.Has(name) {
			err = malformed("trailer", "%s", name)
		}
	}
	return f, err
}

// chunkSize parses the first line of a chunk.
//
//	chunk-size = 1*HEXDIG
//	chunk-ext  = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
func chunkSize(line string) (int64, error) {
	digits := len(line) - len(strings.TrimLeft(line, "0123456789abcdefABCDEF"))
	size, err := strconv.ParseInt(line[:digits], 16, 64)
	if err != nil {
		return 0, malformed("chunk", "size in %.40q", line)
	}
	for ext := line[digits:]; ext != ""; {
		rest, ok := strings.CutPrefix(skipSpace(ext), ";")
		name, rest := cutToken(skipSpace(rest))
		if !ok || name == "" {
			return 0, malformed("chunk", "extension %.40q", ext)
		}
		if value, ok := strings.CutPrefix(skipSpace(rest), "="); ok {
			value = skipSpace(value)
			if rest, ok = cutValue(value); !ok {
				return 0, malformed("chunk", "extension %.40q", ext)
			}
		}
		ext = rest
	}
	return size, nil
}

// cutValue removes a token or a quoted-string from the front of s.
func cutValue(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest := cutToken(s)
		return rest, value != ""
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[i+1:], true
		case c == '\\':
			i++
			if i == len(s) || isControl(rune(s[i])) {
				return "", false
			}
		case isControl(rune(c)):
			return "", false
		}
	}
	return "", false
}

func cutToken(s string) (token, rest string) {
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

func skipSpace(s string) string { return strings.TrimLeft(s, " \t") }

// parseProto parses the name of a version.
func parseProto(s string) (header.Proto, bool) {
	switch s {
	case "HTTP/1.1":
		return header.HTTP11, true
	case "HTTP/1.0":
		return header.HTTP10, true
	}
	return 0, false
}

// hasToken reports whether a list-valued field of f has the given member,
// letter case apart.
func hasToken(f *header.Fields, name, member string) bool {
	for value := range f.Values(name) {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), member) {
				return true
			}
		}
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isTokenByte(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// isControl reports whether c must not occur in a field value.
func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// isAll reports whether s is not empty and every byte of it satisfies is.
func isAll(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return s != ""
}

func isToken(s string) bool { return isAll(s, isTokenByte) }
