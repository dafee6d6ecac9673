// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

import (
	"fmt"
	"strings"
)

// The limits of package http1 if nothing else is configured.
const (
	maxHeadBytes     = 64 << 10
	maxFields        = 100
	maxTargetBytes   = 16 << 10
	maxChunkExtBytes = 8 << 10
	maxTrailerBytes  = 16 << 10
)

// pad returns n bytes for the inside of a field value or target.
func pad(n int) string { return strings.Repeat("p", n) }

// filled returns start, a field with a value, and end, together n bytes.
func filled(start, name, end string, n int) string {
	return start + name + ": " + pad(n-len(start)-len(name)-len(": ")-len(end)) + end
}

// fieldLines returns n field lines.
func fieldLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
	}
	return b.String()
}

// extended returns a chunked body of n one-byte chunks, each with an
// extension of ext bytes, its semicolon included.
func extended(n, ext int) string {
	return strings.Repeat("1;"+pad(ext-1)+"\r\nx\r\n", n) + lastly
}

// limits has the cases on both sides of each limit.
func limits() []Case {
	const end = "\r\n\r\n"
	target := func(n int) string { return "/" + pad(n-1) }
	tooLarge, tooLong := reject(431), reject(414)
	return []Case{
		{ID: "LI-01", Class: "limit: largest head", Input: filled(get, "X-A", end, maxHeadBytes), Want: one(gets("/a"))},
		{ID: "LI-02", Class: "limit: head one byte too large", Input: filled(get, "X-A", end, maxHeadBytes+1), Want: tooLarge},
		{ID: "LI-03", Class: "limit: head of 256 KiB", Input: filled(get, "X-A", end, 256<<10), Want: tooLarge},
		{ID: "LI-04", Class: "limit: head of 256 KiB in small fields", Input: get + strings.Repeat("X: y\r\n", 256<<10/6) + "\r\n", Want: tooLarge},
		{ID: "LI-05", Class: "limit: long name", Input: get + pad(256<<10) + ": b" + end, Want: tooLarge},
		{ID: "LI-06", Class: "limit: most fields", Input: get + fieldLines(maxFields-1) + "\r\n", Want: one(gets("/a"))},
		{ID: "LI-07", Class: "limit: one field too many", Input: get + fieldLines(maxFields) + "\r\n", Want: tooLarge},
		{ID: "LI-08", Class: "limit: 5000 fields", Input: get + fieldLines(5000) + "\r\n", Want: tooLarge},
		{ID: "LI-09", Class: "9112 3: target of 8000 bytes", Input: line("GET " + target(8000) + " HTTP/1.1"), Want: one(gets(target(8000)))},
		{ID: "LI-10", Class: "limit: longest target", Input: line("GET " + target(maxTargetBytes) + " HTTP/1.1"), Want: one(gets(target(maxTargetBytes)))},
		{ID: "LI-11", Class: "limit: target one byte too long", Input: line("GET " + target(maxTargetBytes+1) + " HTTP/1.1"), Want: tooLong},
		{ID: "LI-12", Class: "limit: target of 256 KiB", Input: line("GET " + target(256<<10) + " HTTP/1.1"), Want: tooLong},
		{ID: "LI-13", Class: "limit: long method", Input: line(pad(256<<10) + " /a HTTP/1.1"), Want: reject(400, 414, 431, 501)},
		{ID: "LI-14", Class: "limit: most bytes of chunk extensions together", Input: chunked + extended(64, 18+2*maxChunkExtBytes/64), Want: one(posts("/a", strings.Repeat("x", 64)))},
		{ID: "LI-15", Class: "limit: chunk extensions too large together", Input: chunked + extended(64, 18+2*maxChunkExtBytes/64+1), Want: abort()},
		{ID: "LI-16", Class: "limit: one chunk extension too large", Input: chunked + extended(1, maxChunkExtBytes+1), Want: abort()},
		{ID: "LI-17", Class: "limit: one chunk extension of 256 KiB", Input: chunked + extended(1, 256<<10), Want: abort()},
		{ID: "LI-23", Class: "limit: largest chunk extension", Input: chunked + extended(1, maxChunkExtBytes), Want: one(posts("/a", "x"))},
		{ID: "LI-24", Class: "9112 7.1.1: extensions that are small beside the data", Input: chunked + strings.Repeat("40;sig="+pad(76)+"\r\n"+pad(64)+"\r\n", 500) + lastly,
			Want: one(posts("/a", pad(64*500)))},
		{ID: "LI-18", Class: "limit: largest trailers", Input: chunked + "5\r\nhello\r\n0\r\n" + filled("", "X-A", end, maxTrailerBytes), Want: one(hello)},
		{ID: "LI-19", Class: "limit: trailers one byte too large", Input: chunked + "5\r\nhello\r\n0\r\n" + filled("", "X-A", end, maxTrailerBytes+1), Want: abort()},
		{ID: "LI-20", Class: "limit: trailers of 256 KiB", Input: chunked + "5\r\nhello\r\n0\r\n" + filled("", "X-A", end, 256<<10), Want: abort()},
		{ID: "LI-21", Class: "limit: most trailers", Input: chunked + "5\r\nhello\r\n0\r\n" + fieldLines(maxFields) + "\r\n", Want: one(hello)},
		{ID: "LI-22", Class: "limit: one trailer too many", Input: chunked + "5\r\nhello\r\n0\r\n" + fieldLines(maxFields+1) + "\r\n", Want: abort()},
	}
}
