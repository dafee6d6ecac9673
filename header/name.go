// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

// tokenByte tells which bytes may occur in a token (RFC 9110 section 5.6.2),
// valueByte which may occur in a field value: visible ASCII, space, tab and
// obs-text (section 5.5).
var tokenByte, valueByte = makeTables()

func makeTables() (token, value [256]bool) {
	for c := range 256 {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			token[c] = true
		}
		value[c] = c >= ' ' && c != 0x7f || c == '\t'
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		token[c] = true
	}
	return token, value
}

// IsTokenByte reports whether c may occur in a token, and so in a method or a
// field name.
func IsTokenByte(c byte) bool { return tokenByte[c] }

// ValidName reports whether s is a field name: a token, so not empty.
func ValidName(s string) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// ValidValue reports whether s has only bytes that a field value may contain.
// CR, LF and NUL are not among them. The empty string is valid.
func ValidValue(s string) bool {
	// Eight bytes at a time: values are most of a head.
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		const ones, highs = 0x0101010101010101, 0x8080808080808080
		below := (x - ' '*ones) &^ x & highs // not 0 if a byte is less than a space
		del := x ^ 0x7f*ones
		del = (del - ones) &^ del & highs // not 0 if a byte is DEL
		if below|del != 0 && !validValueSlow(s[:8]) {
			return false
		}
		s = s[8:]
	}
	return validValueSlow(s)
}

func validValueSlow(s string) bool {
	for i := range len(s) {
		if !valueByte[s[i]] {
			return false
		}
	}
	return true
}

// EqualName reports whether the names a and b are equal, ASCII case apart.
func EqualName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	if a == b {
		return true
	}
	for i := range len(a) {
		if x, y := a[i], b[i]; x != y {
			if x |= 0x20; x != y|0x20 || x < 'a' || x > 'z' {
				return false
			}
		}
	}
	return true
}
