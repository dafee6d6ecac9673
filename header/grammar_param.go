// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"iter"
	"strings"
)

// CutParams splits a list element such as "text/html; level=1" into what
// stands before the first semicolon and the parameters after it.
func CutParams(elem string) (item, params string) { return cutUnquoted(elem, ';') }

// Params iterates over the parameters in s, "level=1; title=\"a b\"", in
// order (RFC 9110 section 5.6.6). Values come without their quotes; this
// allocates only if a value has a backslash in it. What is not a parameter is
// skipped. Names are to be compared with EqualName.
func Params(s string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := s; rest != ""; {
			var pair string
			pair, rest = cutUnquoted(rest, ';')
			if name, value, ok := parseParam(pair); ok && !yield(name, value) {
				return
			}
		}
	}
}

// Param returns the value of the first parameter called name in s, and
// whether there is one. Params describes s and the value.
func Param(s, name string) (value string, ok bool) {
	for n, v := range Params(s) {
		if EqualName(n, name) {
			return v, true
		}
	}
	return "", false
}

// parseParam parses one parameter:
//
//	parameter = token "=" ( token / quoted-string )
func parseParam(s string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(s, "=")
	if !ok || !ValidToken(name) {
		return "", "", false
	}
	if ValidToken(value) {
		return name, value, true
	}
	value, ok = Unquote(value)
	return name, value, ok
}

// Unquote returns the content of s, a quoted string (RFC 9110 section 5.6.4)
// with its quotes, and whether s is one. It allocates only if s has escapes.
func Unquote(s string) (content string, ok bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	escapes := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			return "", false
		}
		if s[i] == '\\' {
			escapes++
			if i++; i == len(s) {
				return "", false // it escapes the closing quote
			}
		}
		if !valueByte[s[i]] {
			return "", false
		}
	}
	if escapes == 0 {
		return s, true
	}
	b := make([]byte, 0, len(s)-escapes)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b), true
}

// AppendQuoted appends s to dst as the value of a parameter: as it is if it is
// a token, and as a quoted string otherwise. Bytes that no field value may
// contain become spaces.
func AppendQuoted(dst []byte, s string) []byte {
	if ValidToken(s) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case !valueByte[c]:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
