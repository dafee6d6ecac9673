// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A kind says what a message is.
type kind uint8

// The kinds of messages. doc.go has their order.
const (
	hello   kind = 1 // magic, version, program
	sockets kind = 2 // name and address of each; their descriptors come along
	state   kind = 3 // name, whether this is the last piece, piece
	end     kind = 4 // how many sockets and states there were
	ready   kind = 5 // the sockets that have been taken, by number
	yours   kind = 6
	mine    kind = 7
	fail    kind = 8 // reason
)

const (
	magic     = "belay-upgrade"
	headBytes = 5 // kind and length
)

// appendMessage appends a message whose content is what body appends.
func appendMessage(dst []byte, k kind, body func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, byte(k), 0, 0, 0, 0)
	if body != nil {
		dst = body(dst)
	}
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-headBytes))
	return dst
}

// consumeMessage returns the message at the start of b and how many bytes it
// took. n is 0 if b does not yet hold a whole one and -1 if it is too long.
// body aliases b.
func consumeMessage(b []byte) (k kind, body []byte, n int) {
	if len(b) < headBytes {
		return 0, nil, 0
	}
	size := binary.BigEndian.Uint32(b[1:])
	if size > MaxMessage {
		return 0, nil, -1
	}
	n = headBytes + int(size)
	if len(b) < n {
		return 0, nil, 0
	}
	return kind(b[0]), b[headBytes:n], n
}

// errMalformed says that the content of a message is not what its kind wants.
var errMalformed = errors.New("malformed message")

// appendText appends a text of at most 64 KiB with its length.
func appendText(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// A reader takes the content of a message apart. After an error everything
// reads as zero, and done returns it.
type reader struct {
	b   []byte
	bad bool
}

// take returns the next n bytes.
func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bool() bool {
	v := r.uint8()
	r.bad = r.bad || v > 1
	return v == 1
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// text returns a text of at most limit bytes.
func (r *reader) text(limit int) string {
	n := int(r.uint16())
	if n > limit {
		r.bad = true
		return ""
	}
	return string(r.take(n))
}

// done returns an error unless everything has been taken and made sense.
func (r *reader) done() error {
	if r.bad || len(r.b) > 0 {
		return errMalformed
	}
	return nil
}

// A greeting is the content of a hello.
type greeting struct {
	version uint16
	program string
}

func (g greeting) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint16(dst, g.version)
	return appendText(dst, g.program)
}

func parseGreeting(b []byte) (g greeting, err error) {
	r := reader{b: b}
	if string(r.take(len(magic))) != magic {
		return g, errors.New("the other side does not speak this protocol")
	}
	g.version = r.uint16()
	g.program = r.text(MaxName)
	if g.version == 0 || r.bad { // a later version may have more to say
		return g, errMalformed
	}
	return g, nil
}

// A label names a socket.
type label struct {
	name, addr string
	shared     bool
}

func appendLabels(dst []byte, labels []label) []byte {
	dst = append(dst, byte(len(labels)))
	for _, l := range labels {
		dst = appendText(dst, l.name)
		dst = appendText(dst, l.addr)
		dst = appendBool(dst, l.shared)
	}
	return dst
}

func parseLabels(b []byte) ([]label, error) {
	r := reader{b: b}
	n := int(r.uint8())
	if n == 0 || n > perMessage {
		return nil, errMalformed
	}
	labels := make([]label, n)
	for i := range labels {
		labels[i] = label{r.text(MaxName), r.text(MaxName), r.bool()}
	}
	return labels, r.done()
}

// A piece is a part of a state.
type piece struct {
	name string
	last bool
	data []byte
}

func (p piece) append(dst []byte) []byte {
	dst = appendText(dst, p.name)
	dst = appendBool(dst, p.last)
	return append(dst, p.data...)
}

// parsePiece parses a piece; its data aliases b.
func parsePiece(b []byte) (p piece, err error) {
	r := reader{b: b}
	p.name = r.text(MaxName)
	p.last = r.bool()
	p.data = r.take(len(r.b))
	return p, r.done()
}

// counts are the content of an end.
type counts struct{ sockets, states int }

func (c counts) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.sockets))
	return binary.BigEndian.AppendUint32(dst, uint32(c.states))
}

func parseCounts(b []byte) (c counts, err error) {
	r := reader{b: b}
	c = counts{int(r.uint32()), int(r.uint32())}
	return c, r.done()
}

// appendTaken appends the numbers of the sockets that have been taken. They
// fit a message because MaxSockets × 2 bytes do.
func appendTaken(dst []byte, taken []int) []byte {
	for _, i := range taken {
		dst = binary.BigEndian.AppendUint16(dst, uint16(i))
	}
	return dst
}

// parseTaken parses numbers below limit, each at most once.
func parseTaken(b []byte, limit int) ([]int, error) {
	if len(b)%2 != 0 {
		return nil, errMalformed
	}
	r := reader{b: b}
	seen := make(map[int]bool)
	taken := make([]int, 0, len(b)/2)
	for len(r.b) > 0 {
		i := int(r.uint16())
		if i >= limit || seen[i] {
			return nil, fmt.Errorf("%w: socket %d of %d", errMalformed, i, limit)
		}
		seen[i] = true
		taken = append(taken, i)
	}
	return taken, nil
}
