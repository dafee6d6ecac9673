// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

import (
	"slices"
	"strings"
)

// A Case is bytes sent by a client, and what may come of them.
type Case struct {
	ID    string
	Class string // the section of the RFC ("9112 6.3") or the policy, and what is odd
	Input string

	// HalfClose ends the client's side of the connection after Input.
	HalfClose bool

	// Want has the acceptable outcomes. Why says why there are several.
	Want []Outcome
	Why  string
}

// An Outcome is one acceptable course of events.
type Outcome struct {
	// Forwarded are the requests that the origin must receive whole, in
	// order, and whose responses the client must receive.
	Forwarded []Message

	End    End   // what comes after the responses to these
	Status []int // acceptable status codes, for Rejected and Refused
}

// An End says how a case ends.
type End string

// The ends.
const (
	Open     End = "open"     // the connection can be used for another request
	Closed   End = "closed"   // the proxy closes the connection
	Either   End = "either"   // Open or Closed
	Rejected End = "rejected" // an error response, then Closed; the origin sees nothing
	Refused  End = "refused"  // an error response, then Open or Closed; the origin sees nothing
	Aborted  End = "aborted"  // an error response or none, then Closed; the origin sees no whole request
)

// A Message is what the origin must have received of a request.
type Message struct {
	Method, Target, Body string

	// Host is the value of the Host field. Empty means any.
	Host string

	// Has are lines, "Name: value", that must be there. Lacks are names that
	// must not be there, or lines, "Name: text", for names that may be there
	// but without text in any value.
	Has, Lacks []string
}

// Requests returns all request cases.
func Requests() []Case {
	return slices.Concat(contentLength, transferEncoding, chunks, fieldSyntax, requestLine, hosts,
		expect, upgrades, connections, sequences, http10, limits())
}

// Connects returns the cases for a proxy that lets CONNECT pass.
func Connects() []Case { return connects }

// The start of most inputs, and what is hidden in some of them.
const (
	get      = "GET /a HTTP/1.1\r\nHost: a.test\r\n"
	post     = "POST /a HTTP/1.1\r\nHost: a.test\r\n"
	chunked  = post + "Transfer-Encoding: chunked\r\n\r\n"
	hidden   = "GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n"
	lastly   = "0\r\n\r\n"
	longLine = 4 << 10 // inputs beyond this many bytes are not sent byte by byte
)

// one returns a list of one outcome: msgs arrive and the connection stays
// open.
func one(msgs ...Message) []Outcome { return []Outcome{{Forwarded: msgs, End: Open}} }

// ends returns a list of one outcome: msgs arrive, then end.
func ends(end End, msgs ...Message) []Outcome { return []Outcome{{Forwarded: msgs, End: end}} }

func reject(status ...int) []Outcome { return []Outcome{{End: Rejected, Status: status}} }
func refuse(status ...int) []Outcome { return []Outcome{{End: Refused, Status: status}} }

// abort is the outcome of an error inside a body. A proxy that had not yet
// sent anything may reject.
func abort() []Outcome { return []Outcome{{End: Aborted}} }

// or joins lists of outcomes.
func or(lists ...[]Outcome) []Outcome { return slices.Concat(lists...) }

// gets and posts return the messages that most inputs amount to.
func gets(target string) Message { return Message{Method: "GET", Target: target, Host: "a.test"} }
func posts(target, body string) Message {
	return Message{Method: "POST", Target: target, Body: body, Host: "a.test"}
}

func (m Message) has(lines ...string) Message   { m.Has = lines; return m }
func (m Message) lacks(names ...string) Message { m.Lacks = names; return m }
func (m Message) host(h string) Message         { m.Host = h; return m }

// A Delivery is a way to cut an input into writes.
type Delivery string

// The deliveries.
const (
	Whole  Delivery = "whole"
	Bytes  Delivery = "bytes"  // one byte at a time; long inputs in a bounded number of pieces
	Breaks Delivery = "breaks" // after every CR and every LF
)

// Deliveries are all of them.
var Deliveries = []Delivery{Whole, Bytes, Breaks}

// Pieces cuts input.
func (d Delivery) Pieces(input string) []string {
	var pieces []string
	switch d {
	case Bytes:
		size := (len(input) + longLine - 1) / longLine
		for part := range slices.Chunk([]byte(input), max(size, 1)) {
			pieces = append(pieces, string(part))
		}
	case Breaks:
		for input != "" {
			n := strings.IndexAny(input, "\r\n") + 1
			if n == 0 {
				n = len(input)
			}
			pieces = append(pieces, input[:n])
			input = input[n:]
		}
	default:
		pieces = []string{input}
	}
	return pieces
}
