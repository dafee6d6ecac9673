// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"strings"
	"sync/atomic"
	"time"
)

const (
	dayNames   = "SunMonTueWedThuFriSat"
	monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// AppendDate appends t to dst as an HTTP date, "Sun, 06 Nov 1994 08:49:37 GMT"
// (RFC 9110 section 5.6.7), and returns the result. Fractions of a second are
// dropped. The format has no room for years before 0 and after 9999: they are
// written as 0 and 9999.
func AppendDate(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	year = min(max(year, 0), 9999)
	weekday := int(t.Weekday()) * 3
	dst = append(dst, dayNames[weekday:weekday+3]...)
	dst = append(dst, ", "...)
	dst = append2(dst, day, ' ')
	dst = append(dst, monthNames[month*3-3:month*3]...)
	dst = append(dst, ' ', byte('0'+year/1000), byte('0'+year/100%10))
	dst = append2(dst, year%100, ' ')
	dst = append2(dst, hour, ':')
	dst = append2(dst, minute, ':')
	dst = append2(dst, second, ' ')
	return append(dst, "GMT"...)
}

// append2 appends the two digits of n, which is below 100, and end.
func append2(dst []byte, n int, end byte) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10), end)
}

// cachedDate is an HTTP date and the second it stands for.
type cachedDate struct {
	unix int64
	text string
}

// lastDate is what Date returned last. All connections of a process want the
// same text, so it is one for the process.
var lastDate atomic.Pointer[cachedDate]

// Date returns now as an HTTP date, for the Date field of a response. It keeps
// the last result, so that it formats and allocates once per second however
// often it is called. It is safe for concurrent use.
func Date(now time.Time) string {
	last := lastDate.Load()
	if unix := now.Unix(); last == nil || last.unix != unix {
		next := &cachedDate{unix, string(AppendDate(nil, now))}
		lastDate.CompareAndSwap(last, next)
		return next.text
	}
	return last.text
}

// ParseDate parses an HTTP date in any of the three formats that a recipient
// must accept (RFC 9110 section 5.6.7), and reports whether s is one:
//
//	Sun, 06 Nov 1994 08:49:37 GMT
//	Sunday, 06-Nov-94 08:49:37 GMT
//	Sun Nov  6 08:49:37 1994
//
// Names match without regard to case, and UTC stands for GMT too (RFC 9111
// section 4.2). The day of the week must be one, but need not be that of the
// date. The time is in UTC. A year of two digits is taken to be in this
// century, or, if that is more than 50 years from now, in the last.
func ParseDate(s string) (t time.Time, ok bool) {
	day, rest, comma := strings.Cut(s, ", ")
	switch {
	case !comma:
		return parseASCTime(s)
	case len(day) == 3:
		return parseIMFDate(day, rest)
	}
	return parseRFC850(day, rest, time.Now())
}

// parseIMFDate parses "06 Nov 1994 08:49:37 GMT".
func parseIMFDate(day, s string) (t time.Time, ok bool) {
	if len(s) != 24 || s[2] != ' ' || s[6] != ' ' || s[11] != ' ' || !isGMT(s[20:]) || nameIndex(dayNames, day) < 0 {
		return time.Time{}, false
	}
	return makeTime(digits(s[7:11]), s[3:6], digits(s[:2]), s[12:20])
}

// parseRFC850 parses "06-Nov-94 08:49:37 GMT".
func parseRFC850(day, s string, now time.Time) (t time.Time, ok bool) {
	if len(s) != 22 || s[2] != '-' || s[6] != '-' || s[9] != ' ' || !isGMT(s[18:]) || !isLongDay(day) {
		return time.Time{}, false
	}
	year := digits(s[7:9])
	if year < 0 {
		return time.Time{}, false
	}
	year += now.UTC().Year() / 100 * 100
	t, ok = makeTime(year, s[3:6], digits(s[:2]), s[10:18])
	if year > now.UTC().Year()+50 || ok && t.After(now.AddDate(50, 0, 0)) {
		return makeTime(year-100, s[3:6], digits(s[:2]), s[10:18])
	}
	return t, ok
}

// parseASCTime parses "Sun Nov  6 08:49:37 1994".
func parseASCTime(s string) (t time.Time, ok bool) {
	if len(s) != 24 || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' || nameIndex(dayNames, s[:3]) < 0 {
		return time.Time{}, false
	}
	day := s[8:10]
	if day[0] == ' ' {
		day = day[1:]
	}
	return makeTime(digits(s[20:]), s[4:7], digits(day), s[11:19])
}

// makeTime returns the time of a date and a clock, "08:49:37", and whether
// there is such a time. Numbers below 0 stand for what was not a number. A
// leap second is the first second of the next minute.
func makeTime(year int, monthName string, day int, clock string) (t time.Time, ok bool) {
	month := nameIndex(monthNames, monthName) + 1
	if year < 0 || month < 1 || clock[2] != ':' || clock[5] != ':' {
		return time.Time{}, false
	}
	hour, minute, second := digits(clock[:2]), digits(clock[3:5]), digits(clock[6:])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return time.Time{}, false
	}
	if date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC); day < 1 || date.Day() != day {
		return time.Time{}, false // 31 April
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC), true
}

// digits returns the number that s spells, or -1 if s is not all digits.
func digits(s string) int {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// nameIndex returns the place of name, three letters, in names, or -1.
func nameIndex(names, name string) int {
	for i := 0; i < len(names); i += 3 {
		if EqualName(names[i:i+3], name) {
			return i / 3
		}
	}
	return -1
}

// isLongDay reports whether s is the full name of a day of the week.
func isLongDay(s string) bool {
	for day := range time.Saturday + 1 {
		if EqualName(s, day.String()) {
			return true
		}
	}
	return false
}

// isGMT reports whether s is the time zone that ends an HTTP date, with the
// space before it.
func isGMT(s string) bool { return EqualName(s, " GMT") || EqualName(s, " UTC") }
