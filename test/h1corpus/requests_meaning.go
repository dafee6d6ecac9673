// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

var expect = []Case{
	{ID: "EX-01", Class: "9110 10.1.1: with body", Input: post + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", Want: one(hello)},
	{ID: "EX-02", Class: "9110 10.1.1: with chunks, other letters", Input: post + "Expect: 100-Continue\r\nTransfer-Encoding: chunked" + plain, Want: one(hello)},
	{ID: "EX-03", Class: "9110 10.1.1: without body", Input: get + "Expect: 100-continue\r\n\r\n", Want: or(one(gets("/a")), refuse(400)), Why: "senders must not do this"},
	{ID: "EX-04", Class: "9110 10.1.1: another request behind", Input: post + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + hidden, Want: one(hello, gets("/hidden"))},
	{ID: "EX-05", Class: "9110 10.1.1: in HTTP/1.0", Input: "POST /a HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", Want: ends(Either, hello.lacks("Expect"))},
	{ID: "EX-06", Class: "9110 10.1.1: unknown, in HTTP/1.0", Input: "POST /a HTTP/1.0\r\nHost: a.test\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello", Want: ends(Either, hello.lacks("Expect"))},
	{ID: "EX-10", Class: "9110 10.1.1: unknown", Input: post + "Expect: x\r\nContent-Length: 5\r\n\r\nhello", Want: refuse(417)},
	{ID: "EX-11", Class: "9110 10.1.1: list with an unknown one", Input: post + "Expect: 100-continue, x\r\nContent-Length: 5\r\n\r\nhello", Want: refuse(417)},
	{ID: "EX-12", Class: "9110 10.1.1: unknown one on the first of two lines", Input: post + "Expect: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", Want: refuse(400, 417)},
	{ID: "EX-13", Class: "9110 10.1.1: unknown one on the second of two lines", Input: post + "Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello", Want: refuse(400, 417)},
	{ID: "EX-14", Class: "9110 10.1.1: parameter", Input: post + "Expect: 100-continue;a=b\r\nContent-Length: 5\r\n\r\nhello", Want: refuse(417)},
	{ID: "EX-15", Class: "9110 10.1.1: no hyphen", Input: post + "Expect: 100continue\r\nContent-Length: 5\r\n\r\nhello", Want: refuse(417)},
	{ID: "EX-16", Class: "9112 5.2: folded", Input: post + "Expect:\r\n 100-continue\r\nContent-Length: 5\r\n\r\nhello", Want: reject(400)},
	{ID: "EX-17", Class: "9110 10.1.1: empty", Input: post + "Expect:\r\nContent-Length: 5\r\n\r\nhello", Want: or(one(hello), refuse(400, 417)), Why: "it expects nothing"},
}

const upgrade = get + "Connection: Upgrade\r\n"

// The origin of these cases does not switch protocols: it answers 200, and
// what follows is HTTP.
var upgrades = []Case{
	{ID: "UP-01", Class: "9110 7.8: declined, another request behind", Input: upgrade + "Upgrade: websocket\r\n\r\n" + hidden,
		Want: or(one(gets("/a").has("Upgrade: websocket"), gets("/hidden")), ends(Closed, gets("/a").has("Upgrade: websocket"))), Why: "the proxy may close"},
	{ID: "UP-02", Class: "9110 7.8: declined", Input: upgrade + "Upgrade: websocket\r\n\r\n", Want: ends(Either, gets("/a").has("Upgrade: websocket"))},
	{ID: "UP-03", Class: "policy: h2c is not offered", Input: get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		Want: ends(Either, gets("/a").lacks("Upgrade", "HTTP2-Settings"))},
	{ID: "UP-04", Class: "policy: h2c without HTTP2-Settings", Input: upgrade + "Upgrade: h2c\r\n\r\n", Want: ends(Either, gets("/a").lacks("Upgrade: h2c"))},
	{ID: "UP-05", Class: "policy: h2c in a list", Input: upgrade + "Upgrade: websocket, h2c\r\n\r\n", Want: ends(Either, gets("/a").lacks("Upgrade: h2c"))},
	{ID: "UP-06", Class: "policy: h2c on a second line", Input: upgrade + "Upgrade: websocket\r\nUpgrade: h2c\r\n\r\n", Want: or(ends(Either, gets("/a").lacks("Upgrade: h2c")), reject(400)), Why: "it may be removed or refused"},
	{ID: "UP-07", Class: "policy: H2C in other letters", Input: upgrade + "Upgrade: H2C\r\n\r\n", Want: ends(Either, gets("/a").lacks("Upgrade: H2C"))},
	{ID: "UP-08", Class: "9110 7.8: Upgrade without Connection", Input: get + "Upgrade: websocket\r\n\r\n", Want: one(gets("/a").lacks("Upgrade"))},
	{ID: "UP-09", Class: "9110 7.8: in HTTP/1.0", Input: "GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Want: ends(Either, gets("/a").lacks("Upgrade"))},
	{ID: "UP-10", Class: "9110 7.8: with a body", Input: "POST /a HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 38\r\n\r\n" + hidden,
		Want: or(ends(Either, posts("/a", hidden)), reject(400)), Why: "no protocol in use does this"},
	{ID: "UP-11", Class: "9110 7.8: Connection: upgrade without Upgrade", Input: upgrade + "\r\n", Want: ends(Either, gets("/a").lacks("Upgrade"))},

	{ID: "UP-20", Class: "9110 9.3.6: CONNECT", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", Want: refuse(405, 501)},
	{ID: "UP-21", Class: "9110 9.3.6: CONNECT with Content-Length", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 38\r\n\r\n" + hidden, Want: reject(400, 405, 501)},
	{ID: "UP-22", Class: "9110 9.3.6: CONNECT with chunks", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nTransfer-Encoding: chunked" + plain, Want: reject(400, 405, 501)},
	{ID: "UP-23", Class: "9110 9.3.6: CONNECT and early data", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n" + hidden, Want: reject(400, 405, 501)},
	{ID: "UP-24", Class: "9112 3.2.3: CONNECT without port", Input: "CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", Want: refuse(400, 405, 501)},
	{ID: "UP-25", Class: "9112 3.2.3: CONNECT with a path", Input: "CONNECT /a HTTP/1.1\r\nHost: a.test\r\n\r\n", Want: refuse(400, 405, 501)},
	{ID: "UP-26", Class: "9112 3.2.3: CONNECT with absolute-form", Input: "CONNECT http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", Want: refuse(400, 405, 501)},
}

// A body has no meaning in a CONNECT. An origin that ignores its length takes
// it for the next request, so none may reach one.
var connects = []Case{
	{ID: "CO-01", Class: "9110 9.3.6: with Content-Length", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 38\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "CO-02", Class: "9110 9.3.6: with chunks", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "CO-03", Class: "9110 9.3.6: with Content-Length 0", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 0\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "CO-04", Class: "9110 9.3.6: with Content-Length in HTTP/1.0", Input: "CONNECT a.test:443 HTTP/1.0\r\nContent-Length: 38\r\n\r\n" + hidden, Want: reject(400)},
	{ID: "CO-05", Class: "9112 6.3: with both", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 5\r\nTransfer-Encoding: chunked" + plain, Want: reject(400)},
	{ID: "CO-06", Class: "9112 3.2.3: without port", Input: "CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", Want: reject(400)},
	{ID: "CO-07", Class: "9112 3.2.3: with a path", Input: "CONNECT /a HTTP/1.1\r\nHost: a.test\r\n\r\n", Want: reject(400)},
	{ID: "CO-08", Class: "9112 3.2.3: with absolute-form", Input: "CONNECT http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", Want: reject(400)},
	{ID: "CO-09", Class: "9112 3.2: two Hosts", Input: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nHost: b.test:443\r\n\r\n", Want: reject(400)},
	{ID: "CO-10", Class: "9112 3.2: no Host", Input: "CONNECT a.test:443 HTTP/1.1\r\n\r\n", Want: reject(400)},
}

var connections = []Case{
	{ID: "CN-01", Class: "9110 7.6.1: nominated", Input: get + "Connection: X-A\r\nX-A: b\r\nX-C: d\r\n\r\n", Want: one(gets("/a").lacks("X-A").has("X-C: d"))},
	{ID: "CN-02", Class: "9110 7.6.1: nominated behind the field", Input: get + "X-A: b\r\nConnection: keep-alive, x-a\r\n\r\n", Want: one(gets("/a").lacks("X-A"))},
	{ID: "CN-03", Class: "9110 7.6.1: nominated on two lines", Input: get + "Connection: X-A\r\nConnection: X-B\r\nX-A: b\r\nX-B: c\r\n\r\n", Want: one(gets("/a").lacks("X-A", "X-B"))},
	{ID: "CN-04", Class: "9110 5.6.1: empty members", Input: get + "Connection: ,, X-A ,\t,\r\nX-A: b\r\n\r\n", Want: one(gets("/a").lacks("X-A"))},
	{ID: "CN-05", Class: "9110 7.6.1: nothing of that name", Input: get + "Connection: X-A\r\n\r\n", Want: one(gets("/a").lacks("X-A"))},
	{ID: "CN-06", Class: "9110 7.6.1: every line of the name", Input: get + "X-A: b\r\nConnection: X-A\r\nX-A: c\r\n\r\n", Want: one(gets("/a").lacks("X-A"))},
	{ID: "CN-07", Class: "9110 7.6.1: member that is no token", Input: get + "Connection: X A, (\r\n\r\n", Want: or(one(gets("/a")), reject(400)), Why: "invalid, and harmless"},
	{ID: "CN-08", Class: "9110 7.6.1: the usual hop-by-hop fields", Input: get + "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nHTTP2-Settings: AA\r\nUpgrade: x\r\n\r\n",
		Want: one(gets("/a").lacks("Keep-Alive", "Proxy-Connection", "TE: gzip", "HTTP2-Settings", "Upgrade"))},

	{ID: "CN-20", Class: "forged: nominates Host", Input: get + "Connection: Host\r\n\r\n", Want: or(one(gets("/a")), reject(400)), Why: "it may be ignored or refused"},
	{ID: "CN-21", Class: "forged: nominates Content-Length", Input: post + "Connection: Content-Length\r\nContent-Length: 38\r\n\r\n" + hidden, Want: or(one(posts("/a", hidden)), reject(400)), Why: "it may be ignored or refused"},
	{ID: "CN-22", Class: "forged: nominates Transfer-Encoding", Input: post + "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked" + plain, Want: or(one(hello), reject(400)), Why: "it may be ignored or refused"},
	{ID: "CN-23", Class: "forged: nominates X-Forwarded-For and sends one", Input: get + "Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n", Want: one(gets("/a").has("X-Forwarded-For").lacks("X-Forwarded-For: 6.6.6.6"))},
	{ID: "CN-24", Class: "forged: nominates X-Forwarded-For", Input: get + "Connection: close, X-Forwarded-For\r\n\r\n", Want: ends(Closed, gets("/a").has("X-Forwarded-For"))},
	{ID: "CN-25", Class: "forged: nominates X-Forwarded-Proto", Input: get + "Connection: X-Forwarded-Proto, X-Forwarded-Host\r\n\r\n", Want: one(gets("/a").has("X-Forwarded-Proto"))},
	{ID: "CN-26", Class: "forged: nominates Connection", Input: get + "Connection: Connection, close\r\n\r\n", Want: ends(Closed, gets("/a"))},
	{ID: "CN-27", Class: "forged: nominates Expect", Input: post + "Connection: Expect\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", Want: one(hello)},
	{ID: "CN-28", Class: "9110 7.6.1: close", Input: get + "Connection: close\r\n\r\n", Want: ends(Closed, gets("/a"))},
	{ID: "CN-29", Class: "9110 7.6.1: close in other letters among others", Input: get + "Connection: keep-alive, CLOSE\r\n\r\n", Want: ends(Closed, gets("/a"))},
	{ID: "CN-30", Class: "9112 9.3: requests behind close are not served", Input: get + "Connection: close\r\n\r\n" + hidden, Want: ends(Closed, gets("/a"))},
}

var sequences = []Case{
	{ID: "SQ-01", Class: "9112 9.3.2: three requests", Input: line("GET /1 HTTP/1.1") + line("GET /2 HTTP/1.1") + line("GET /3 HTTP/1.1"), Want: one(gets("/1"), gets("/2"), gets("/3"))},
	{ID: "SQ-02", Class: "9112 9.3.2: behind a body", Input: post + "Content-Length: 5\r\n\r\nhello" + hidden, Want: one(hello, gets("/hidden"))},
	{ID: "SQ-03", Class: "9112 9.3.2: behind HEAD", Input: line("HEAD /1 HTTP/1.1") + hidden, Want: one(Message{Method: "HEAD", Target: "/1"}, gets("/hidden"))},
	{ID: "SQ-04", Class: "9112 2.2: CRLF after a body", Input: post + "Content-Length: 5\r\n\r\nhello\r\n" + hidden, Want: or(one(hello, gets("/hidden")), ends(Closed, hello)), Why: "at least one empty line should be ignored"},
	{ID: "SQ-05", Class: "9112 9.3.2: a malformed second request", Input: line("GET /1 HTTP/1.1") + get + "X-A : b\r\n\r\n", Want: []Outcome{{Forwarded: []Message{gets("/1")}, End: Rejected, Status: []int{400}}}},
	{ID: "SQ-06", Class: "9112 6.3: body longer than its length", Input: post + "Content-Length: 5\r\n\r\nhelloXX / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		Want: one(hello, Message{Method: "XX", Target: "/"})},
	{ID: "SQ-07", Class: "9112 6.3: an ambiguous second request", Input: line("GET /1 HTTP/1.1") + post + "Content-Length: 5\r\nTransfer-Encoding: chunked" + plain,
		Want: []Outcome{{Forwarded: []Message{gets("/1")}, End: Rejected, Status: []int{400}}}},
	{ID: "SQ-08", Class: "9112 9.3.2: chunks and a length in turn", Input: chunked + "5\r\nhello\r\n0\r\n\r\n" + post + "Content-Length: 5\r\n\r\nhello" + chunked + "5\r\nhello\r\n0\r\n\r\n", Want: one(hello, hello, hello)},
}

var http10 = []Case{
	{ID: "V0-01", Class: "9112 9.3: plain", Input: "GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n", Want: ends(Closed, gets("/a"))},
	{ID: "V0-02", Class: "9112 3.2: no Host", Input: "GET /a HTTP/1.0\r\n\r\n", Want: ends(Closed, Message{Method: "GET", Target: "/a"})},
	{ID: "V0-03", Class: "9112 C.2.2: keep-alive", Input: "GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", Want: ends(Either, gets("/a"))},
	{ID: "V0-04", Class: "9112 C.2.2: keep-alive and close", Input: "GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive, close\r\n\r\n", Want: ends(Closed, gets("/a"))},
	{ID: "V0-05", Class: "9112 6.2: body", Input: "POST /a HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", Want: ends(Closed, hello)},
	{ID: "V0-06", Class: "9112 9.3: requests behind are not served", Input: "GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n" + hidden, Want: ends(Closed, gets("/a"))},
	{ID: "V0-07", Class: "9112 3.2: two Hosts", Input: "GET /a HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n", Want: reject(400)},
	{ID: "V0-08", Class: "9112 C.2.2: Proxy-Connection means nothing", Input: "GET /a HTTP/1.0\r\nHost: a.test\r\nProxy-Connection: keep-alive\r\n\r\n", Want: ends(Closed, gets("/a").lacks("Proxy-Connection"))},
	{ID: "V0-09", Class: "9112 3.2.2: absolute-form without Host", Input: "GET http://a.test/b HTTP/1.0\r\n\r\n", Want: ends(Closed, gets("/b"))},
	{ID: "V0-10", Class: "9112 6.3: two lengths", Input: "POST /a HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", Want: reject(400)},
}
