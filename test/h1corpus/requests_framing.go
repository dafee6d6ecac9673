// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

// hello is the message that most of the valid inputs here amount to.
var hello = posts("/a", "hello")

// withHidden is a Content-Length that covers the hidden request.
const withHidden = "38"

var contentLength = []Case{
	{ID: "CL-01", Class: "9112 6.2: plain", Input: post + "Content-Length: 5\r\n\r\nhello", Want: one(hello)},
	{ID: "CL-02", Class: "9112 6.2: zero", Input: post + "Content-Length: 0\r\n\r\n", Want: one(posts("/a", ""))},
	{ID: "CL-03", Class: "9110 5.1: letter case of the name", Input: post + "cOnTENT-lENGTH: 5\r\n\r\nhello", Want: one(hello)},
	{ID: "CL-04", Class: "9110 5.5: white space around the value", Input: post + "Content-Length: \t 5 \t \r\n\r\nhello", Want: one(hello)},
	{ID: "CL-05", Class: "9110 5.5: no white space", Input: post + "Content-Length:5\r\n\r\nhello", Want: one(hello)},
	{ID: "CL-06", Class: "9112 6.3: body of GET", Input: get + "Content-Length: " + withHidden + "\r\n\r\n" + hidden,
		Want: or(one(Message{Method: "GET", Target: "/a", Body: hidden}), reject(400)), Why: "9110 9.3.1: such a request may be rejected"},
	{ID: "CL-07", Class: "9112 6.3: body of HEAD", Input: "HEAD /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + withHidden + "\r\n\r\n" + hidden,
		Want: or(one(Message{Method: "HEAD", Target: "/a", Body: hidden}), reject(400)), Why: "9110 9.3.2: such a request may be rejected"},
	{ID: "CL-08", Class: "9112 6.3: body of DELETE", Input: "DELETE /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
		Want: or(one(Message{Method: "DELETE", Target: "/a", Body: "hello"}), reject(400)), Why: "9110 9.3.5: such a request may be rejected"},
	{ID: "CL-09", Class: "9112 6.3: body of OPTIONS", Input: "OPTIONS /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
		Want: one(Message{Method: "OPTIONS", Target: "/a", Body: "hello"})},
	{ID: "CL-10", Class: "9112 6.3: leading zeros", Input: post + "Content-Length: 005\r\n\r\nhello",
		Want: or(one(hello), reject(400)), Why: "the grammar allows them; some readers take octal"},
	{ID: "CL-11", Class: "9112 6.3: many leading zeros", Input: post + "Content-Length: 00000000000000000000000005\r\n\r\nhello",
		Want: or(one(hello), reject(400)), Why: "the grammar allows them; a bound on digits is sane"},

	{ID: "CL-20", Class: "policy: two equal fields", Input: post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-21", Class: "9112 6.3: two different fields", Input: post + "Content-Length: 5\r\nContent-Length: 43\r\n\r\nhello" + hidden, Want: reject(400)},
	{ID: "CL-22", Class: "9112 6.3: two different fields, other order", Input: post + "Content-Length: 43\r\nContent-Length: 5\r\n\r\nhello" + hidden, Want: reject(400)},
	{ID: "CL-23", Class: "9112 6.3: two fields apart", Input: post + "Content-Length: 5\r\nX-A: b\r\ncontent-length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-24", Class: "9112 6.3: second field empty", Input: post + "Content-Length: 5\r\nContent-Length:\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-25", Class: "policy: list of equal values", Input: post + "Content-Length: 5, 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-26", Class: "9112 6.3: list of different values", Input: post + "Content-Length: 5, 43\r\n\r\nhello" + hidden, Want: reject(400)},
	{ID: "CL-27", Class: "9112 6.3: list with an empty member", Input: post + "Content-Length: 5,\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-28", Class: "9112 6.3: zero and another", Input: post + "Content-Length: 0\r\nContent-Length: 38\r\n\r\n" + hidden, Want: reject(400)},

	{ID: "CL-30", Class: "9112 6.2: plus sign", Input: post + "Content-Length: +5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-31", Class: "9112 6.2: minus sign", Input: post + "Content-Length: -5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-32", Class: "9112 6.2: minus zero", Input: post + "Content-Length: -0\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "CL-33", Class: "9112 6.2: hexadecimal", Input: post + "Content-Length: 0x5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-34", Class: "9112 6.2: hexadecimal digit", Input: post + "Content-Length: a\r\n\r\n0123456789", Want: reject(400)},
	{ID: "CL-35", Class: "9112 6.2: underscore between digits", Input: post + "Content-Length: 0_5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-36", Class: "9112 6.2: space between digits", Input: post + "Content-Length: 0 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-37", Class: "9112 6.2: fraction", Input: post + "Content-Length: 5.0\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-38", Class: "9112 6.2: exponent", Input: post + "Content-Length: 5e0\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-39", Class: "9112 6.2: empty", Input: post + "Content-Length:\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "CL-40", Class: "9112 6.2: only white space", Input: post + "Content-Length: \t\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "CL-41", Class: "9112 6.2: quotes", Input: post + "Content-Length: \"5\"\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-42", Class: "9112 6.2: parameter", Input: post + "Content-Length: 5;a=b\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-43", Class: "9112 6.2: digits that are not ASCII", Input: post + "Content-Length: \xd9\xa5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-44", Class: "9110 5.5: NUL after the digits", Input: post + "Content-Length: 5\x00\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-45", Class: "9110 5.5: vertical tab before the digits", Input: post + "Content-Length: \x0b5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-46", Class: "9110 5.5: form feed after the digits", Input: post + "Content-Length: 5\x0c\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-47", Class: "9112 6.2: no-break space", Input: post + "Content-Length: \xa05\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-48", Class: "9112 6.2: text", Input: post + "Content-Length: five\r\n\r\nhello", Want: reject(400)},

	{ID: "CL-50", Class: "integers: 2^8 + 5", Input: post + "Content-Length: 261\r\n\r\nhello", HalfClose: true, Want: abort()},
	{ID: "CL-51", Class: "integers: 2^16 + 5", Input: post + "Content-Length: 65541\r\n\r\nhello", HalfClose: true, Want: abort()},
	{ID: "CL-52", Class: "integers: 2^31 + 5", Input: post + "Content-Length: 2147483653\r\n\r\nhello", HalfClose: true, Want: abort()},
	{ID: "CL-53", Class: "integers: 2^32 + 5", Input: post + "Content-Length: 4294967301\r\n\r\nhello", HalfClose: true, Want: abort()},
	{ID: "CL-54", Class: "integers: 2^63 - 1", Input: post + "Content-Length: 9223372036854775807\r\n\r\nhello", HalfClose: true, Want: abort()},
	{ID: "CL-55", Class: "integers: 2^63", Input: post + "Content-Length: 9223372036854775808\r\n\r\nhello", Want: reject(400, 413)},
	{ID: "CL-56", Class: "integers: 2^64 + 5", Input: post + "Content-Length: 18446744073709551621\r\n\r\nhello", Want: reject(400, 413)},
	{ID: "CL-57", Class: "integers: 40 digits", Input: post + "Content-Length: 1000000000000000000000000000000000000005\r\n\r\nhello", Want: reject(400, 413)},

	{ID: "CL-60", Class: "9112 5.1: space before the colon", Input: post + "Content-Length : 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-61", Class: "9112 5.1: tab before the colon", Input: post + "Content-Length\t: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-62", Class: "9112 5.2: folded value", Input: post + "Content-Length:\r\n 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-63", Class: "9112 5.2: folded into the field before", Input: post + "X-A: b\r\n Content-Length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-64", Class: "9112 2.2: behind a bare LF", Input: post + "X-A: b\nContent-Length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-65", Class: "9112 2.2: behind a bare CR", Input: post + "X-A: b\rContent-Length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-66", Class: "twin: underscore", Input: post + "Content_Length: " + withHidden + "\r\n\r\n" + hidden,
		Want: or(one(posts("/a", "").lacks("Content_Length"), gets("/hidden")), reject(400)), Why: "such a field may be removed or refused"},
	{ID: "CL-67", Class: "9110 5.1: dash that is not ASCII", Input: post + "Content\xe2\x80\x93Length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-68", Class: "9110 5.1: NUL in the name", Input: post + "Content-\x00Length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "CL-69", Class: "9112 6.3: body cut short", Input: post + "Content-Length: 5\r\n\r\nhell", HalfClose: true, Want: abort()},
	{ID: "CL-70", Class: "9112 6.3: no body at all", Input: post + "Content-Length: 5\r\n\r\n", HalfClose: true, Want: abort()},
}

// plain is a chunked body for the inputs below that say chunked in some odd
// way; the request behind it is hidden from a reader that takes it for one
// body, and seen by one that does not.
const plain = "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

var transferEncoding = []Case{
	{ID: "TE-01", Class: "9112 6.1: plain", Input: post + "Transfer-Encoding: chunked" + plain, Want: one(hello)},
	{ID: "TE-02", Class: "9112 7: letter case", Input: post + "TRANSFER-encoding: cHUNKEd" + plain, Want: one(hello)},
	{ID: "TE-03", Class: "9110 5.5: tabs around the value", Input: post + "Transfer-Encoding:\tchunked\t" + plain, Want: one(hello)},
	{ID: "TE-04", Class: "9110 5.5: no white space", Input: post + "Transfer-Encoding:chunked" + plain, Want: one(hello)},
	{ID: "TE-05", Class: "9112 6.3: body of GET", Input: get + "Transfer-Encoding: chunked" + plain,
		Want: or(one(Message{Method: "GET", Target: "/a", Body: "hello"}), reject(400)), Why: "9110 9.3.1: such a request may be rejected"},

	{ID: "TE-10", Class: "policy: with Content-Length", Input: post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "TE-11", Class: "policy: with Content-Length, other order", Input: post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "TE-12", Class: "policy: with Content-Length 0", Input: post + "Content-Length: 0\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-13", Class: "policy: with an invalid Content-Length", Input: post + "Content-Length: x\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-14", Class: "policy: with an empty Content-Length", Input: post + "Content-Length:\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-15", Class: "policy: identity with Content-Length", Input: post + "Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello", Want: reject(400)},
	{ID: "TE-16", Class: "policy: unknown with Content-Length", Input: post + "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\nhello", Want: reject(400)},
	{ID: "TE-17", Class: "policy: empty with Content-Length", Input: post + "Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello", Want: reject(400)},
	{ID: "TE-18", Class: "9112 6.1: in HTTP/1.0", Input: "POST /a HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-19", Class: "9112 6.1: in HTTP/1.0 with Content-Length", Input: "POST /a HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},

	{ID: "TE-20", Class: "9112 6.1: list ending in chunked", Input: post + "Transfer-Encoding: gzip, chunked" + plain, Want: reject(400, 501)},
	{ID: "TE-21", Class: "9112 6.3: chunked not last", Input: post + "Transfer-Encoding: chunked, gzip" + plain, Want: reject(400, 501)},
	{ID: "TE-22", Class: "9112 6.1: chunked twice", Input: post + "Transfer-Encoding: chunked, chunked" + plain, Want: reject(400)},
	{ID: "TE-23", Class: "9112 6.1: chunked on two lines", Input: post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-24", Class: "policy: chunked and identity on two lines", Input: post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity" + plain, Want: reject(400, 501)},
	{ID: "TE-25", Class: "policy: unknown and chunked on two lines", Input: post + "Transfer-Encoding: x\r\nTransfer-encoding: chunked" + plain, Want: reject(400, 501)},
	{ID: "TE-26", Class: "9112 6.3: identity", Input: post + "Transfer-Encoding: identity\r\n\r\n" + hidden, Want: reject(400, 501)},
	{ID: "TE-27", Class: "9112 6.3: gzip only", Input: post + "Transfer-Encoding: gzip\r\n\r\n" + hidden, Want: reject(400, 501)},
	{ID: "TE-28", Class: "9112 6.1: identity, chunked", Input: post + "Transfer-Encoding: identity, chunked" + plain, Want: reject(400, 501)},
	{ID: "TE-29", Class: "9112 6.3: unknown coding without body", Input: get + "Transfer-Encoding: x\r\n\r\n", Want: reject(400, 501)},

	{ID: "TE-30", Class: "9112 7: prefix", Input: post + "Transfer-Encoding: xchunked" + plain, Want: reject(400, 501)},
	{ID: "TE-31", Class: "9112 7: suffix", Input: post + "Transfer-Encoding: chunkedx" + plain, Want: reject(400, 501)},
	{ID: "TE-32", Class: "9112 7: two words", Input: post + "Transfer-Encoding: x chunked" + plain, Want: reject(400, 501)},
	{ID: "TE-33", Class: "9112 7: quotes", Input: post + "Transfer-Encoding: \"chunked\"" + plain, Want: reject(400, 501)},
	{ID: "TE-34", Class: "9112 7: parameter", Input: post + "Transfer-Encoding: chunked;q=1" + plain, Want: reject(400, 501)},
	{ID: "TE-35", Class: "9110 5.6.1: empty last member", Input: post + "Transfer-Encoding: chunked," + plain, Want: reject(400)},
	{ID: "TE-36", Class: "9110 5.6.1: empty first member", Input: post + "Transfer-Encoding: ,chunked" + plain, Want: reject(400, 501)},
	{ID: "TE-37", Class: "9112 6.1: empty", Input: post + "Transfer-Encoding:" + plain, Want: reject(400, 501)},
	{ID: "TE-38", Class: "9110 5.5: NUL inside", Input: post + "Transfer-Encoding: chun\x00ked" + plain, Want: reject(400)},
	{ID: "TE-39", Class: "9110 5.5: vertical tab before", Input: post + "Transfer-Encoding: \x0bchunked" + plain, Want: reject(400)},
	{ID: "TE-40", Class: "9110 5.5: form feed after", Input: post + "Transfer-Encoding: chunked\x0c" + plain, Want: reject(400)},
	{ID: "TE-41", Class: "9112 7: byte order mark", Input: post + "Transfer-Encoding: \xef\xbb\xbfchunked" + plain, Want: reject(400, 501)},
	{ID: "TE-42", Class: "9112 7: no-break space", Input: post + "Transfer-Encoding: chunked\xa0" + plain, Want: reject(400, 501)},
	{ID: "TE-43", Class: "9112 7: comment", Input: post + "Transfer-Encoding: chunked (a)" + plain, Want: reject(400, 501)},

	{ID: "TE-50", Class: "9112 5.1: space before the colon", Input: post + "Transfer-Encoding : chunked" + plain, Want: reject(400)},
	{ID: "TE-51", Class: "9112 5.1: tab before the colon", Input: post + "Transfer-Encoding\t: chunked" + plain, Want: reject(400)},
	{ID: "TE-52", Class: "9112 5.2: folded value", Input: post + "Transfer-Encoding:\r\n chunked" + plain, Want: reject(400)},
	{ID: "TE-53", Class: "9112 5.2: folded after the value", Input: post + "Transfer-Encoding: chunked\r\n , x" + plain, Want: reject(400)},
	{ID: "TE-54", Class: "9112 5.2: folded into the field before", Input: post + "X-A: b\r\n\tTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-55", Class: "9112 2.2: behind a bare LF", Input: post + "Content-Length: 20\r\nX-A: b\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-56", Class: "9112 2.2: behind a bare CR", Input: post + "Content-Length: 20\r\nX-A: b\rTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "TE-57", Class: "9112 2.2: CR twice", Input: post + "Transfer-Encoding: chunked\r\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Want: reject(400)},
	{ID: "TE-58", Class: "twin: underscore", Input: post + "Content-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\nhello",
		Want: or(one(hello.lacks("Transfer_Encoding")), reject(400)), Why: "such a field may be removed or refused"},
	{ID: "TE-59", Class: "9110 5.1: another field", Input: post + "Content-Length: 5\r\nTransferEncoding: chunked\r\n\r\nhello", Want: one(hello)},
	{ID: "TE-60", Class: "9110 5.1: prefix of the name", Input: post + "Content-Length: 5\r\nX-Transfer-Encoding: chunked\r\n\r\nhello", Want: one(hello)},
	{ID: "TE-61", Class: "9112 2.2: before the request line", Input: "Transfer-Encoding: chunked\r\n" + post + plain, Want: reject(400)},
}
