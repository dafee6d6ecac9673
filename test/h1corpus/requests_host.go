// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

// withHost returns a request with the given Host line.
func withHost(s string) string { return "GET /a HTTP/1.1\r\n" + s + "\r\n\r\n" }

var hosts = []Case{
	{ID: "HO-01", Class: "9110 7.2: port", Input: withHost("Host: a.test:8080"), Want: one(gets("/a").host("a.test:8080"))},
	{ID: "HO-02", Class: "9110 7.2: letter case", Input: withHost("hOST: A.Test"), Want: or(one(gets("/a").host("A.Test")), one(gets("/a"))), Why: "a proxy may fold it"},
	{ID: "HO-03", Class: "9110 7.2: trailing dot", Input: withHost("Host: a.test."), Want: one(gets("/a").host("a.test."))},
	{ID: "HO-04", Class: "9110 7.2: IPv6", Input: withHost("Host: [::1]"), Want: one(gets("/a").host("[::1]"))},
	{ID: "HO-05", Class: "9110 7.2: IPv6 and port", Input: withHost("Host: [::1]:8080"), Want: one(gets("/a").host("[::1]:8080"))},
	{ID: "HO-06", Class: "9110 7.2: IPv4", Input: withHost("Host: 127.0.0.1"), Want: one(gets("/a").host("127.0.0.1"))},
	{ID: "HO-07", Class: "3986 3.2.2: underscore", Input: withHost("Host: a_b.test"), Want: one(gets("/a").host("a_b.test"))},
	{ID: "HO-08", Class: "3986 3.2.3: empty port", Input: withHost("Host: a.test:"), Want: or(one(gets("/a").host("a.test:")), one(gets("/a")), reject(400)), Why: "valid and pointless"},
	{ID: "HO-09", Class: "9112 3.2: not the first field", Input: withHost("X-A: b\r\nHost: a.test"), Want: one(gets("/a").has("X-A: b"))},

	{ID: "HO-20", Class: "9112 3.2: missing", Input: "GET /a HTTP/1.1\r\n\r\n", Want: reject(400)},
	{ID: "HO-21", Class: "9112 3.2: two equal", Input: withHost("Host: a.test\r\nHost: a.test"), Want: reject(400)},
	{ID: "HO-22", Class: "9112 3.2: two different", Input: withHost("Host: a.test\r\nHost: b.test"), Want: reject(400)},
	{ID: "HO-23", Class: "9112 3.2: two apart in other letters", Input: withHost("Host: a.test\r\nX-A: b\r\nhOST: b.test"), Want: reject(400)},
	{ID: "HO-24", Class: "9110 4.2.1: empty", Input: withHost("Host:"), Want: or(reject(400), one(Message{Method: "GET", Target: "/a"})), Why: "valid only for targets without authority"},
	{ID: "HO-25", Class: "9112 3.2: second empty", Input: withHost("Host: a.test\r\nHost:"), Want: reject(400)},
	{ID: "HO-26", Class: "9110 7.2: user information", Input: withHost("Host: u@a.test"), Want: reject(400)},
	{ID: "HO-27", Class: "3986 3.2.3: port too large", Input: withHost("Host: a.test:99999"), Want: reject(400)},
	{ID: "HO-28", Class: "3986 3.2.3: port that is no number", Input: withHost("Host: a.test:80a"), Want: reject(400)},
	{ID: "HO-29", Class: "3986 3.2.3: port with a sign", Input: withHost("Host: a.test:+80"), Want: reject(400)},
	{ID: "HO-30", Class: "3986 3.2.3: two ports", Input: withHost("Host: a.test:80:81"), Want: reject(400)},
	{ID: "HO-31", Class: "3986 3.2.2: bracket without partner", Input: withHost("Host: [::1"), Want: reject(400)},
	{ID: "HO-32", Class: "3986 3.2.2: IPv6 without brackets", Input: withHost("Host: ::1"), Want: reject(400)},
	{ID: "HO-33", Class: "3986 3.2.2: no address in brackets", Input: withHost("Host: [zz]"), Want: reject(400)},
	{ID: "HO-34", Class: "3986 3.2.2: malformed address in brackets", Input: withHost("Host: [1::2::3]"), Want: reject(400)},
	{ID: "HO-35", Class: "3986 3.2.2: text behind brackets", Input: withHost("Host: [::1]a.test"), Want: reject(400)},
	{ID: "HO-36", Class: "6874: zone", Input: withHost("Host: [fe80::1%25eth0]"), Want: reject(400)},
	{ID: "HO-37", Class: "policy: comma", Input: withHost("Host: a.test,b.test"), Want: reject(400)},
	{ID: "HO-38", Class: "policy: comma and space", Input: withHost("Host: a.test, b.test"), Want: reject(400)},
	{ID: "HO-39", Class: "3986 3.2.2: space", Input: withHost("Host: a.test b.test"), Want: reject(400)},
	{ID: "HO-40", Class: "3986 3.2.2: tab", Input: withHost("Host: a.test\tb.test"), Want: reject(400)},
	{ID: "HO-41", Class: "3986 3.2.2: slash", Input: withHost("Host: a.test/b"), Want: reject(400)},
	{ID: "HO-42", Class: "3986 3.2.2: question mark", Input: withHost("Host: a.test?b"), Want: reject(400)},
	{ID: "HO-43", Class: "3986 3.2.2: number sign", Input: withHost("Host: a.test#b"), Want: reject(400)},
	{ID: "HO-44", Class: "3986 3.2.2: backslash", Input: withHost("Host: a.test\\b"), Want: reject(400)},
	{ID: "HO-45", Class: "3986 3.2.2: a whole URI", Input: withHost("Host: http://a.test"), Want: reject(400)},
	{ID: "HO-46", Class: "3986 3.2.2: bytes beyond ASCII", Input: withHost("Host: \xc3\xa4.test"), Want: reject(400)},
	{ID: "HO-47", Class: "9110 5.5: NUL", Input: withHost("Host: a.test\x00b.test"), Want: reject(400)},
	{ID: "HO-48", Class: "9112 5.1: space before the colon", Input: withHost("Host : a.test"), Want: reject(400)},
	{ID: "HO-49", Class: "9112 5.1: space before the colon beside another", Input: withHost("Host: a.test\r\nHost : b.test"), Want: reject(400)},
	{ID: "HO-50", Class: "9112 5.2: folded", Input: withHost("Host:\r\n a.test"), Want: reject(400)},
	{ID: "HO-51", Class: "9112 2.2: white space before", Input: withHost(" Host: a.test"), Want: reject(400)},
	{ID: "HO-52", Class: "9112 3.2.2: absolute-form and no Host", Input: "GET http://a.test/ HTTP/1.1\r\n\r\n", Want: reject(400)},
	{ID: "HO-53", Class: "9112 3.2.2: absolute-form and two Hosts", Input: "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", Want: reject(400)},
	{ID: "HO-54", Class: "9112 3.2: absolute-form and an invalid Host", Input: "GET http://a.test/ HTTP/1.1\r\nHost: a b\r\n\r\n", Want: reject(400)},
	{ID: "HO-55", Class: "3986 3.2.2: angle bracket", Input: withHost("Host: <a>.test"), Want: reject(400)},
	{ID: "HO-56", Class: "3986 3.2.2: quotes", Input: withHost("Host: \"a.test\""), Want: reject(400)},
	{ID: "HO-57", Class: "3986 3.2.3: only a port", Input: withHost("Host: :80"), Want: reject(400)},
}
