// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import "strings"

// MaxWeight is the weight of an element that names none, in thousandths.
const MaxWeight = 1000

// ParseWeight parses a quality value (RFC 9110 section 12.4.2) and returns it
// in thousandths: 0 for "0", 250 for "0.25", 1000 for "1" and "1.000".
//
//	qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
func ParseWeight(s string) (weight int, ok bool) {
	if s == "" || len(s) > len("0.000") || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	weight = int(s[0]-'0') * MaxWeight
	place := MaxWeight / 10
	for i := 2; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		weight += int(s[i]-'0') * place
		place /= 10
	}
	return weight, weight <= MaxWeight
}

// PreferredCoding returns the one of offers, content codings in our order of
// preference, that the Accept-Encoding fields of a request like best (RFC 9110
// section 12.5.3). "identity", no coding, is always on offer, last unless
// named. Between codings of equal weight the earlier wins.
//
// A coding other than identity is only chosen if the client lists it, or "*".
// A coding listed twice has the weight that comes first; an element with a
// malformed weight is ignored. ok is false if the client excludes everything,
// which takes "identity;q=0" or "*;q=0".
func PreferredCoding(f *Fields, offers ...string) (coding string, ok bool) {
	best := 0
	for _, offer := range offers {
		if w := codingWeight(f, offer); w > best {
			coding, best = offer, w
		}
	}
	if w := codingWeight(f, "identity"); w > best {
		coding, best = "identity", w
	}
	return coding, best > 0
}

// codingWeight returns the weight of coding in the Accept-Encoding fields.
func codingWeight(f *Fields, coding string) int {
	rest := 0 // for what is not listed
	if EqualName(coding, "identity") {
		rest = 1 // acceptable, after everything that is listed
	}
	star := false
	for elem := range List(f, "Accept-Encoding") {
		name, params := CutParams(elem)
		w, ok := elementWeight(params)
		switch {
		case !ok:
		case sameCoding(name, coding):
			return w
		case name == "*" && !star:
			rest, star = w, true
		}
	}
	return rest
}

// sameCoding reports whether a, as a client wrote it, is the coding b.
// "x-gzip" and "x-compress" are old names (RFC 9110 section 8.4.1).
func sameCoding(a, b string) bool {
	if len(a) == len(b)+2 && (EqualName(a, "x-gzip") || EqualName(a, "x-compress")) {
		a = a[2:]
	}
	return EqualName(a, b)
}

// PreferredType returns the one of offers, media types in our order of
// preference, that the Accept fields of a request like best (RFC 9110 section
// 12.5.1). Each offer is judged by the most specific range that matches it;
// between offers of equal weight the earlier wins. Elements that are malformed
// are ignored. Without Accept, or if nothing in it can be read, it is the
// first offer. ok is false if none is acceptable.
//
// An offer may have parameters, "text/html;level=1"; a range matches if the
// offer has all parameters of the range.
func PreferredType(f *Fields, offers ...string) (mediaType string, ok bool) {
	best := 0
	for _, offer := range offers {
		if w := typeWeight(f, offer); w > best {
			mediaType, best = offer, w
		}
	}
	return mediaType, best > 0
}

// typeWeight returns the weight of the media type offer in the Accept fields.
func typeWeight(f *Fields, offer string) int {
	weight, specific, read := 0, 0, false
	for elem := range List(f, "Accept") {
		pattern, params := CutParams(elem)
		w, ok := elementWeight(params)
		if !ok || !validRange(pattern) {
			continue
		}
		read = true
		if n := matchRange(pattern, params, offer); n > specific {
			weight, specific = w, n
		}
	}
	if !read {
		return MaxWeight
	}
	return weight
}

// validRange reports whether s is "type/subtype", "type/*" or "*/*".
func validRange(s string) bool {
	typ, sub, ok := strings.Cut(s, "/")
	return ok && ValidToken(typ) && ValidToken(sub) && (typ != "*" || sub == "*")
}

// matchRange returns how specifically the media range, pattern with params,
// matches offer: 0 not at all, 1 for "*/*", 2 for "type/*", 3 for the type
// and 1 more for each parameter.
func matchRange(pattern, params, offer string) int {
	offered, offeredParams := CutParams(offer)
	specific := 0
	switch typ, ok := strings.CutSuffix(pattern, "/*"); {
	case ok && typ == "*":
		specific = 1
	case ok && len(offered) > len(typ) && offered[len(typ)] == '/' && EqualName(offered[:len(typ)], typ):
		specific = 2
	case EqualName(pattern, offered):
		specific = 3
	default:
		return 0
	}
	for name, want := range Params(params) {
		if EqualName(name, "q") {
			continue
		}
		got, ok := Param(offeredParams, name)
		if !ok || !EqualName(got, want) {
			return 0
		}
		specific++
	}
	return specific
}

// elementWeight returns the weight that the parameter q in params gives, and
// whether it can be read. Without q it is MaxWeight.
func elementWeight(params string) (weight int, ok bool) {
	for rest := params; rest != ""; {
		var pair string
		pair, rest = cutUnquoted(rest, ';')
		name, value, _ := strings.Cut(pair, "=")
		if EqualName(trimOWS(name), "q") {
			return ParseWeight(trimOWS(value))
		}
	}
	return MaxWeight, true
}
