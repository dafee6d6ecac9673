// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bufio"
	"net"
	"time"
)

// An OriginOption changes how a test origin behaves.
type OriginOption func(*Origin)

// originConfig is what the options set. It does not change once the origin
// has started.
type originConfig struct {
	protocol Protocol
	unix     bool

	// What happens instead of an answer.
	refuse, neverRead, neverAnswer, resetBeforeHead, closeOnReuse bool
	script                                                        func(net.Conn, *bufio.Reader)
	handle                                                        func(RecordedRequest) []byte
	upgrade                                                       string

	// When.
	delay                    time.Duration
	early, ignoreExpectation bool

	// The answer.
	http10         bool
	status         int
	fields         []string // lines
	informational  []string // whole heads
	body           []byte
	declared       int64 // Content-Length to announce; -1 is that of body
	chunk          int   // size of chunks; 0 is not chunked
	trailers       []string
	closeDelimited bool
	drip           int // bytes at a time; 0 is all
	dripEvery      time.Duration

	// How it ends.
	resetAfter, closeAfter int // body bytes; -1 is never
	extra                  string
	closeIdle              bool
}

// Speak makes the origin speak p. The default is [H1].
func Speak(p Protocol) OriginOption { return func(o *Origin) { o.conf.protocol = p } }

// OnUnix makes the origin listen on a Unix socket.
func OnUnix() OriginOption { return func(o *Origin) { o.conf.unix = true } }

// Refuse makes connections to the origin be refused, as if nothing listened.
func Refuse() OriginOption { return func(o *Origin) { o.conf.refuse = true } }

// NeverRead makes the origin accept connections and never read from them.
func NeverRead() OriginOption { return func(o *Origin) { o.conf.neverRead = true } }

// NeverAnswer makes the origin read and record requests and never answer.
func NeverAnswer() OriginOption { return func(o *Origin) { o.conf.neverAnswer = true } }

// ResetBeforeHead makes the origin reset the connection where its answer would
// begin.
func ResetBeforeHead() OriginOption { return func(o *Origin) { o.conf.resetBeforeHead = true } }

// CloseOnReuse makes the origin close a connection as soon as the first byte
// of a second request arrives on it: the pooled connection that went stale
// while it was being chosen. That request is not recorded.
func CloseOnReuse() OriginOption { return func(o *Origin) { o.conf.closeOnReuse = true } }

// Script hands every connection to f, with a reader to be used for all reads,
// and closes it when f returns. Nothing is recorded but connections and bytes;
// f may use [ReadRequest]. When the origin stops, reads and writes fail.
func Script(f func(c net.Conn, br *bufio.Reader)) OriginOption {
	return func(o *Origin) { o.conf.script = f }
}

// Handle answers each request with the bytes that f returns, head and all,
// after the delay and the informational responses of other options. A nil
// answer closes the connection. f may run on many goroutines at once.
func Handle(f func(req RecordedRequest) []byte) OriginOption {
	return func(o *Origin) { o.conf.handle = f }
}

// Upgrade makes the origin answer a request to upgrade to protocol with 101,
// and then send back every byte it receives until the client closes its side.
// Requests without that Upgrade field get the usual answer.
func Upgrade(protocol string) OriginOption { return func(o *Origin) { o.conf.upgrade = protocol } }

// Delay makes the origin wait d before its response head.
func Delay(d time.Duration) OriginOption { return func(o *Origin) { o.conf.delay = d } }

// AnswerEarly makes the origin answer when it has the request head, and read
// the body afterwards.
func AnswerEarly() OriginOption { return func(o *Origin) { o.conf.early = true } }

// IgnoreExpectation keeps the origin from sending 100 (Continue) to a request
// that expects it. It waits for the body without.
func IgnoreExpectation() OriginOption { return func(o *Origin) { o.conf.ignoreExpectation = true } }

// HTTP10 makes the origin answer as HTTP/1.0, and so close the connection
// after each answer.
func HTTP10() OriginOption { return func(o *Origin) { o.conf.http10 = true } }

// Status sets the status code. The default is 200.
func Status(code int) OriginOption { return func(o *Origin) { o.conf.status = code } }

// Field adds a line to the response head, unchecked.
func Field(name, value string) OriginOption {
	return func(o *Origin) { o.conf.fields = append(o.conf.fields, name+": "+value+"\r\n") }
}

// Informational sends a 1xx response before the final one, with fields given
// as name and value in turn. It may be used more than once.
func Informational(status int, fields ...string) OriginOption {
	return func(o *Origin) {
		head := statusLine("HTTP/1.1", status)
		for i := 0; i+1 < len(fields); i += 2 {
			head += fields[i] + ": " + fields[i+1] + "\r\n"
		}
		o.conf.informational = append(o.conf.informational, head+"\r\n")
	}
}

// Body sets the body.
func Body(s string) OriginOption { return func(o *Origin) { o.conf.body = []byte(s) } }

// BodySize sets a body of n bytes, those of [Pattern].
func BodySize(n int) OriginOption { return func(o *Origin) { o.conf.body = Pattern(n) } }

// ContentLength announces n bytes whatever the body is. If the body is
// shorter, the connection is closed after it; if it is longer, the rest is
// sent all the same.
func ContentLength(n int64) OriginOption { return func(o *Origin) { o.conf.declared = n } }

// Chunked sends the body in chunks of up to size bytes.
func Chunked(size int) OriginOption { return func(o *Origin) { o.conf.chunk = size } }

// Trailer adds a trailer field, which makes the body chunked.
func Trailer(name, value string) OriginOption {
	return func(o *Origin) {
		o.conf.trailers = append(o.conf.trailers, name+": "+value+"\r\n")
		if o.conf.chunk == 0 {
			o.conf.chunk = 4096
		}
	}
}

// CloseDelimited sends the body without a length and ends it by closing the
// connection.
func CloseDelimited() OriginOption { return func(o *Origin) { o.conf.closeDelimited = true } }

// Drip sends the body n bytes at a time, with a pause before each further
// piece.
func Drip(n int, every time.Duration) OriginOption {
	return func(o *Origin) { o.conf.drip, o.conf.dripEvery = n, every }
}

// ResetAfter makes the origin reset the connection after n body bytes. The
// receiver can miss some of the bytes before the reset.
func ResetAfter(n int) OriginOption { return func(o *Origin) { o.conf.resetAfter = n } }

// CloseAfter makes the origin close the connection in good order after n body
// bytes.
func CloseAfter(n int) OriginOption { return func(o *Origin) { o.conf.closeAfter = n } }

// Extra sends s after each response, in one write with its last bytes.
func Extra(s string) OriginOption { return func(o *Origin) { o.conf.extra = s } }

// CloseIdle closes the connection after each response, although nothing in
// the response says so.
func CloseIdle() OriginOption { return func(o *Origin) { o.conf.closeIdle = true } }

// Pattern returns n bytes that do not repeat within a short distance, so that
// lost, doubled or displaced parts of a body are noticed.
func Pattern(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = 'a' + byte((x>>24)%26)
	}
	return p
}
