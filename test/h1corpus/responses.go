// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

import "strings"

// A ResponseCase is bytes sent by an origin in answer to one request, and what
// the client may see of them.
type ResponseCase struct {
	ID    string
	Class string // the section of the RFC or the policy, and what is odd

	Request string // empty is a plain GET
	Answer  string
	Later   string // sent when the client has the response, before the next request
	Then    Then   // what the origin does after Answer

	// Want has the acceptable outcomes. Why says why there are several.
	Want []ResponseOutcome
	Why  string
}

// Then is what a scripted origin does after its answer.
type Then string

// The choices.
const (
	Stays  Then = ""      // reads the next request
	Closes Then = "close" // in good order
	Resets Then = "reset"
)

// A ResponseOutcome is what the client may see, and what becomes of the
// connection to the origin.
type ResponseOutcome struct {
	Status        int
	Informational []int  // status codes of the 1xx responses before
	Body          string // compared if the response must be whole and is not the proxy's own
	Cut           bool   // the response must not look whole
	Own           bool   // it is the proxy's own: an error response with any body
	Has, Lacks    []string
	Reuse         Reuse
}

// Reuse says whether the next request may go to the origin on the same
// connection.
type Reuse string

// The choices.
const (
	MayReuse  Reuse = "may"
	MustReuse Reuse = "must"
	NoReuse   Reuse = "no"
)

// badGateway is the outcome for an answer that cannot be forwarded.
func badGateway() []ResponseOutcome {
	return []ResponseOutcome{{Status: 502, Own: true, Reuse: NoReuse}}
}

// cutOff is the outcome for an answer that fails in its body. A proxy that had
// not yet sent the head may answer 502.
func cutOff() []ResponseOutcome {
	return append(badGateway(), ResponseOutcome{Status: 200, Cut: true, Reuse: NoReuse})
}

// whole is the outcome for an answer that is forwarded.
func whole(body string, reuse Reuse) []ResponseOutcome {
	return []ResponseOutcome{{Status: 200, Body: body, Reuse: reuse}}
}

func either(lists ...[]ResponseOutcome) []ResponseOutcome {
	var all []ResponseOutcome
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// The start of most answers, and what must not be taken for one.
const (
	okHead    = "HTTP/1.1 200 OK\r\n"
	okLength  = okHead + "Content-Length: 5\r\n\r\nhello"
	okChunked = okHead + "Transfer-Encoding: chunked\r\n\r\n"
	evil      = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	headOf    = "HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
	oldGet    = "GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n"
)

// Responses returns all response cases.
func Responses() []ResponseCase {
	var all []ResponseCase
	for _, list := range [][]ResponseCase{goodResponses, badHeads, badBodies, leftovers, responseLimits()} {
		all = append(all, list...)
	}
	return all
}

var goodResponses = []ResponseCase{
	{ID: "RS-01", Class: "9112 6.2: length", Answer: okLength, Want: whole("hello", MustReuse)},
	{ID: "RS-02", Class: "9112 7.1: chunks", Answer: okChunked + "2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n", Want: whole("hello", MustReuse)},
	{ID: "RS-03", Class: "9112 6.3: ended by close", Answer: okHead + "\r\nhello", Then: Closes, Want: whole("hello", NoReuse)},
	{ID: "RS-04", Class: "9112 6.3: HTTP/1.0 ended by close", Answer: "HTTP/1.0 200 OK\r\n\r\nhello", Then: Closes, Want: whole("hello", NoReuse)},
	{ID: "RS-05", Class: "9112 9.3: HTTP/1.0 with a length", Answer: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Want: whole("hello", NoReuse)},
	{ID: "RS-06", Class: "9112 9.6: Connection: close", Answer: okHead + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", Want: whole("hello", NoReuse)},
	{ID: "RS-07", Class: "9112 6.3: 204", Answer: "HTTP/1.1 204 No Content\r\n\r\n", Want: []ResponseOutcome{{Status: 204, Reuse: MustReuse}}},
	{ID: "RS-08", Class: "9112 6.3: 304 with a length", Answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Want: []ResponseOutcome{{Status: 304, Reuse: MustReuse}}},
	{ID: "RS-09", Class: "9112 6.3: HEAD", Request: headOf, Answer: okHead + "Content-Length: 5\r\n\r\n", Want: []ResponseOutcome{{Status: 200, Has: []string{"Content-Length: 5"}, Reuse: MustReuse}}},
	{ID: "RS-10", Class: "9112 6.3: HEAD with chunked", Request: headOf, Answer: okChunked, Want: whole("", MustReuse)},
	{ID: "RS-11", Class: "9110 15.2: 103", Answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okLength,
		Want: []ResponseOutcome{{Status: 200, Informational: []int{103}, Body: "hello", Reuse: MustReuse}}},
	{ID: "RS-12", Class: "9110 15.2: several 1xx", Answer: "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + okLength,
		Want: []ResponseOutcome{{Status: 200, Informational: []int{102, 103, 103}, Body: "hello", Reuse: MustReuse}}},
	{ID: "RS-13", Class: "9110 15.2: 100 that nobody expects", Answer: "HTTP/1.1 100 Continue\r\n\r\n" + okLength,
		Want: either(whole("hello", MayReuse), []ResponseOutcome{{Status: 200, Informational: []int{100}, Body: "hello"}}), Why: "it may be forwarded or dropped"},
	{ID: "RS-14", Class: "9110 15.2: 1xx to an HTTP/1.0 client", Request: oldGet, Answer: "HTTP/1.1 103 Early Hints\r\n\r\n" + okLength, Want: whole("hello", MayReuse)},
	{ID: "RS-15", Class: "9112 6.1: chunks to an HTTP/1.0 client", Request: oldGet, Answer: okChunked + "5\r\nhello\r\n0\r\n\r\n",
		Want: []ResponseOutcome{{Status: 200, Body: "hello", Lacks: []string{"Transfer-Encoding"}, Reuse: MayReuse}}},
	{ID: "RS-16", Class: "9110 7.6.1: nominated fields", Answer: okHead + "Connection: X-A\r\nX-A: b\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello",
		Want: []ResponseOutcome{{Status: 200, Body: "hello", Lacks: []string{"X-A", "Keep-Alive"}, Reuse: MayReuse}}},
	{ID: "RS-17", Class: "9110 5.3: repeated fields", Answer: okHead + "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 5\r\n\r\nhello",
		Want: []ResponseOutcome{{Status: 200, Body: "hello", Has: []string{"Set-Cookie: a=1", "Set-Cookie: b=2"}}}},
	{ID: "RS-18", Class: "9112 4: empty reason phrase", Answer: "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", Want: whole("hello", MustReuse)},
	{ID: "RS-19", Class: "9112 4: reason phrase beyond ASCII", Answer: "HTTP/1.1 200 \xc3\xa4\r\nContent-Length: 5\r\n\r\nhello", Want: whole("hello", MustReuse)},
	{ID: "RS-20", Class: "9110 15: unknown status", Answer: "HTTP/1.1 299 Odd\r\nContent-Length: 5\r\n\r\nhello", Want: []ResponseOutcome{{Status: 299, Body: "hello"}}},
	{ID: "RS-21", Class: "9110 7.6.1: nominates Content-Length", Answer: okHead + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", Want: either(whole("hello", MayReuse), badGateway()), Why: "it may be ignored or refused"},
}

var badHeads = []ResponseCase{
	{ID: "RS-30", Class: "9112 4: two digits", Answer: "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", Want: badGateway()},
	{ID: "RS-31", Class: "9112 4: four digits", Answer: "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", Want: badGateway()},
	{ID: "RS-32", Class: "9112 4: no digits", Answer: "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", Want: badGateway()},
	{ID: "RS-33", Class: "9110 15: status below 100", Answer: "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", Want: badGateway()},
	{ID: "RS-34", Class: "9112 4: another version", Answer: "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", Want: badGateway()},
	{ID: "RS-35", Class: "9112 4: no version", Answer: "200 OK\r\nContent-Length: 0\r\n\r\n", Want: badGateway()},
	{ID: "RS-36", Class: "9112 4: space before", Answer: " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Want: badGateway()},
	{ID: "RS-37", Class: "not HTTP", Answer: "SSH-2.0-OpenSSH_9.2\r\n", Then: Closes, Want: badGateway()},
	{ID: "RS-38", Class: "9112 4: no space after the status", Answer: "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", Want: either(whole("hello", MayReuse), badGateway()), Why: "invalid, yet common"},
	{ID: "RS-39", Class: "9112 2.2: bare LF", Answer: "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Want: badGateway()},
	{ID: "RS-40", Class: "9110 5.5: NUL in a value", Answer: okHead + "X-A: b\x00c\r\nContent-Length: 5\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-41", Class: "9112 2.2: bare CR in a value", Answer: okHead + "X-A: b\rc\r\nContent-Length: 5\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-42", Class: "9112 5.2: folded value", Answer: okHead + "X-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello",
		Want: either(badGateway(), []ResponseOutcome{{Status: 200, Body: "hello", Has: []string{"X-A: b c"}}}), Why: "a proxy must refuse it or unfold it"},
	{ID: "RS-43", Class: "9112 5.1: space before the colon", Answer: okHead + "X-A : b\r\nContent-Length: 5\r\n\r\nhello",
		Want: either(badGateway(), []ResponseOutcome{{Status: 200, Body: "hello", Has: []string{"X-A: b"}}}), Why: "a proxy must remove it; refusing is safe as well"},
	{ID: "RS-44", Class: "9110 5.1: empty name", Answer: okHead + ": b\r\nContent-Length: 5\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-45", Class: "9112 5: no colon", Answer: okHead + "X-A\r\nContent-Length: 5\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-46", Class: "9112 8: closed before the head", Answer: "", Then: Closes, Want: badGateway()},
	{ID: "RS-47", Class: "9112 8: reset before the head", Answer: "", Then: Resets, Want: badGateway()},
	{ID: "RS-48", Class: "9112 8: closed inside the head", Answer: okHead + "Content-Le", Then: Closes, Want: badGateway()},
	{ID: "RS-49", Class: "9110 15.2: closed after 103", Answer: "HTTP/1.1 103 Early Hints\r\n\r\n", Then: Closes,
		Want: []ResponseOutcome{{Status: 502, Informational: []int{103}, Own: true, Reuse: NoReuse}}},
	{ID: "RS-50", Class: "9110 7.8: 101 that nobody asked for", Answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Want: badGateway()},
	{ID: "RS-51", Class: "9110 7.8: 101 for another protocol", Request: upgrade + "Upgrade: websocket\r\n\r\n",
		Answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", Want: badGateway()},
	{ID: "RS-52", Class: "9110 7.8: 101 without Upgrade", Request: upgrade + "Upgrade: websocket\r\n\r\n",
		Answer: "HTTP/1.1 101 Switching Protocols\r\n\r\n", Want: badGateway()},

	{ID: "RS-60", Class: "9112 6.3: length and chunked", Answer: okHead + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Want: badGateway()},
	{ID: "RS-61", Class: "9112 6.3: two different lengths", Answer: okHead + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", Want: badGateway()},
	{ID: "RS-62", Class: "9112 6.3: two equal lengths", Answer: okHead + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Want: either(badGateway(), whole("hello", MayReuse)), Why: "it may be refused or mended"},
	{ID: "RS-63", Class: "9112 6.3: list of equal lengths", Answer: okHead + "Content-Length: 5, 5\r\n\r\nhello", Want: either(badGateway(), whole("hello", MayReuse)), Why: "it may be refused or mended"},
	{ID: "RS-64", Class: "9112 6.2: plus sign", Answer: okHead + "Content-Length: +5\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-65", Class: "9112 6.2: minus sign", Answer: okHead + "Content-Length: -5\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-66", Class: "integers: 2^64 + 5", Answer: okHead + "Content-Length: 18446744073709551621\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-67", Class: "9112 6.2: empty", Answer: okHead + "Content-Length:\r\n\r\nhello", Want: badGateway()},
	{ID: "RS-68", Class: "policy: coding that is not chunked", Answer: okHead + "Transfer-Encoding: gzip\r\n\r\nhello", Then: Closes, Want: badGateway()},
	{ID: "RS-69", Class: "9112 6.1: chunked twice", Answer: okHead + "Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Want: badGateway()},
	{ID: "RS-70", Class: "9112 6.1: chunked on two lines", Answer: okHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Want: badGateway()},
	{ID: "RS-71", Class: "9112 6.1: chunked in HTTP/1.0", Answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Then: Closes,
		Want: either(badGateway(), whole("hello", NoReuse)), Why: "9112 6.1: the framing is faulty; reading the chunks and closing is allowed"},
}

var badBodies = []ResponseCase{
	{ID: "RS-80", Class: "9112 8: closed inside the length", Answer: okHead + "Content-Length: 5\r\n\r\nhel", Then: Closes, Want: cutOff()},
	{ID: "RS-81", Class: "9112 8: reset inside the length", Answer: okHead + "Content-Length: 5\r\n\r\nhel", Then: Resets, Want: cutOff()},
	{ID: "RS-82", Class: "9112 8: no body", Answer: okHead + "Content-Length: 5\r\n\r\n", Then: Closes, Want: cutOff()},
	{ID: "RS-83", Class: "9112 8: reset of a body ended by close", Answer: okHead + "\r\nhello", Then: Resets, Want: cutOff()},
	{ID: "RS-84", Class: "9112 8: closed inside a chunk", Answer: okChunked + "5\r\nhel", Then: Closes, Want: cutOff()},
	{ID: "RS-85", Class: "9112 8: closed between chunks", Answer: okChunked + "5\r\nhello\r\n", Then: Closes, Want: cutOff()},
	{ID: "RS-86", Class: "9112 8: closed after the last chunk", Answer: okChunked + "5\r\nhello\r\n0\r\n", Then: Closes, Want: cutOff()},
	{ID: "RS-87", Class: "9112 8: closed inside the trailers", Answer: okChunked + "5\r\nhello\r\n0\r\nX-A: b\r\n", Then: Closes, Want: cutOff()},
	{ID: "RS-88", Class: "9112 7.1: no size", Answer: okChunked + "\r\nhello\r\n0\r\n\r\n", Want: cutOff()},
	{ID: "RS-89", Class: "9112 7.1: size is not a number", Answer: okChunked + "5\r\nhello\r\nx\r\n\r\n", Want: cutOff()},
	{ID: "RS-90", Class: "integers: size of 2^64 + 5", Answer: okChunked + "10000000000000005\r\nhello\r\n0\r\n\r\n", Want: cutOff()},
	{ID: "RS-91", Class: "9112 7.1: data too long", Answer: okChunked + "5\r\nhelloXX\r\n0\r\n\r\n", Want: cutOff()},
	{ID: "RS-92", Class: "9112 2.2: bare LF after the size", Answer: okChunked + "5\nhello\r\n0\r\n\r\n", Want: cutOff()},
	{ID: "RS-93", Class: "9112 2.2: bare LF after the data", Answer: okChunked + "5\r\nhello\n0\r\n\r\n", Want: cutOff()},
	{ID: "RS-94", Class: "9112 7.1.1: bare LF in an extension", Answer: okChunked + "5;a\nb\r\nhello\r\n0\r\n\r\n", Want: cutOff()},
	{ID: "RS-95", Class: "9112 5.2: folded trailer", Answer: okChunked + "5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n", Want: cutOff()},
	{ID: "RS-96", Class: "9110 6.5.1: Content-Length in trailers", Answer: okChunked + "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", Want: either(whole("hello", MayReuse), cutOff()), Why: "it may be removed or refused"},
}

// What an origin sends beyond its response must not be the answer to the next
// request.
var leftovers = []ResponseCase{
	{ID: "RS-100", Class: "9112 9.3: response behind a length", Answer: okLength + evil, Want: whole("hello", NoReuse)},
	{ID: "RS-101", Class: "9112 9.3: response behind chunks", Answer: okChunked + "5\r\nhello\r\n0\r\n\r\n" + evil, Want: whole("hello", NoReuse)},
	{ID: "RS-102", Class: "9112 6.3: body of 204", Answer: "HTTP/1.1 204 No Content\r\n\r\n" + evil, Want: []ResponseOutcome{{Status: 204, Reuse: NoReuse}}},
	{ID: "RS-103", Class: "9112 6.3: body of 304", Answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", Want: []ResponseOutcome{{Status: 304, Reuse: NoReuse}}},
	{ID: "RS-104", Class: "9112 6.3: body of a response to HEAD", Request: headOf, Answer: okHead + "Content-Length: 42\r\n\r\n" + evil, Want: []ResponseOutcome{{Status: 200, Reuse: NoReuse}}},
	{ID: "RS-105", Class: "9112 9.3: bytes behind a length", Answer: okLength + "!", Want: whole("hello", NoReuse)},
	{ID: "RS-106", Class: "9112 9.3: CRLF behind a length", Answer: okLength + "\r\n", Want: whole("hello", NoReuse)},
	{ID: "RS-109", Class: "9112 9.3: response on an idle connection", Answer: okLength, Later: evil, Want: whole("hello", NoReuse)},
	{ID: "RS-110", Class: "9112 9.3: byte on an idle connection", Answer: okLength, Later: "!", Want: whole("hello", NoReuse)},
	{ID: "RS-111", Class: "9112 9.3: response on a connection idle after chunks", Answer: okChunked + lastly, Later: evil, Want: whole("", NoReuse)},
	{ID: "RS-107", Class: "9112 6.3: 204 with a length", Answer: "HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n" + evil,
		Want: either(badGateway(), []ResponseOutcome{{Status: 204, Lacks: []string{"Content-Length"}, Reuse: NoReuse}}), Why: "9110 8.6 forbids the field; it may be removed"},
	{ID: "RS-108", Class: "9112 6.3: 103 with a length", Answer: "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + okLength,
		Want: either(badGateway(), whole("hello", MayReuse), []ResponseOutcome{{Status: 200, Informational: []int{103}, Body: "hello"}}), Why: "9110 8.6 forbids the field; it may be removed, or the response dropped"},
}

// responseLimits has the cases on both sides of each limit.
func responseLimits() []ResponseCase {
	const rest = "\r\nContent-Length: 5\r\n\r\n"
	trailed := func(n int) string {
		return okChunked + "5\r\nhello\r\n0\r\n" + filled("", "X-A", "\r\n\r\n", n)
	}
	return []ResponseCase{
		{ID: "RS-120", Class: "limit: largest head", Answer: filled(okHead, "X-A", rest, maxHeadBytes) + "hello", Want: whole("hello", MustReuse)},
		{ID: "RS-121", Class: "limit: head one byte too large", Answer: filled(okHead, "X-A", rest, maxHeadBytes+1) + "hello", Want: badGateway()},
		{ID: "RS-122", Class: "limit: head of 256 KiB", Answer: filled(okHead, "X-A", rest, 256<<10) + "hello", Want: badGateway()},
		{ID: "RS-123", Class: "limit: most fields", Answer: okHead + fieldLines(maxFields-1) + rest[2:] + "hello", Want: whole("hello", MustReuse)},
		{ID: "RS-124", Class: "limit: one field too many", Answer: okHead + fieldLines(maxFields) + rest[2:] + "hello", Want: badGateway()},
		{ID: "RS-125", Class: "limit: most bytes of chunk extensions", Answer: okChunked + extended(64, 18+2*maxChunkExtBytes/64), Want: whole(strings.Repeat("x", 64), MustReuse)},
		{ID: "RS-126", Class: "limit: chunk extensions too large", Answer: okChunked + extended(64, 18+2*maxChunkExtBytes/64+1), Want: cutOff()},
		{ID: "RS-127", Class: "limit: largest trailers", Answer: trailed(maxTrailerBytes), Want: whole("hello", MustReuse)},
		{ID: "RS-128", Class: "limit: trailers one byte too large", Answer: trailed(maxTrailerBytes + 1), Want: cutOff()},
	}
}
