// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"iter"
	"math"
)

// ValidToken reports whether s is a token (RFC 9110 section 5.6.2): a method,
// a field name, a connection option. The empty string is not.
func ValidToken(s string) bool { return ValidName(s) }

// Elements iterates over the elements of value, one line of a field whose
// grammar is a comma-separated list (RFC 9110 section 5.6.1). White space
// around an element is removed and empty elements are skipped. A comma inside
// a quoted string separates nothing; a quoted string that is never closed
// reaches to the end of the value.
//
// Lists of entity tags need a reader of their own: a backslash is an ordinary
// byte of a tag and escapes nothing.
func Elements(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := value; rest != ""; {
			var elem string
			elem, rest = cutUnquoted(rest, ',')
			if elem != "" && !yield(elem) {
				return
			}
		}
	}
}

// List iterates over the elements of all lines of the field called name, as
// if they were one list (RFC 9110 section 5.2).
func List(f *Fields, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for value := range f.Values(name) {
			for rest := value; rest != ""; {
				var elem string
				elem, rest = cutUnquoted(rest, ',')
				if elem != "" && !yield(elem) {
					return
				}
			}
		}
	}
}

// HasToken reports whether the list in the fields called name has the element
// token, ASCII case apart: HasToken(f, "Connection", "close"). An element with
// parameters does not count.
func HasToken(f *Fields, name, token string) bool {
	for elem := range List(f, name) {
		if EqualName(elem, token) {
			return true
		}
	}
	return false
}

// ParseLength parses the value of a Content-Length field and reports whether
// it is valid: one or more digits (RFC 9110 section 8.6), at most 2^63-1. A
// sign, white space, a list such as "5, 5" and the empty string are not.
func ParseLength(s string) (n int64, ok bool) {
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, s != ""
}

// cutUnquoted cuts s at the first sep that is outside a quoted string and
// returns the part before it, without white space around it, and the part
// after it. Without such a sep, the first is all of s and the second empty.
func cutUnquoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++ // what it escapes cannot end the string
		case c == sep && !quoted:
			return trimOWS(s[:i]), s[i+1:]
		}
	}
	return trimOWS(s), ""
}
