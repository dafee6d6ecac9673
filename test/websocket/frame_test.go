// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"encoding/binary"
	"fmt"
	"io"
)

// An opcode says what a frame is (RFC 6455 section 5.2).
type opcode byte

const (
	continuation opcode = 0
	text         opcode = 1
	binaryData   opcode = 2
	closing      opcode = 8
	ping         opcode = 9
	pong         opcode = 10
)

// control reports whether frames of this kind may come between the fragments
// of a message.
func (op opcode) control() bool { return op >= closing }

// frame is one WebSocket frame.
type frame struct {
	op      opcode
	final   bool
	masked  bool // by mask, on the wire; payload is always in clear
	mask    [4]byte
	payload []byte
}

// append appends the frame to b in the shortest form.
func (f frame) append(b []byte) []byte {
	first, masked := byte(f.op), byte(0)
	if f.final {
		first |= 0x80
	}
	if f.masked {
		masked = 0x80
	}
	b = append(b, first)
	switch n := len(f.payload); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if !f.masked {
		return append(b, f.payload...)
	}
	b = append(b, f.mask[:]...)
	for i, c := range f.payload {
		b = append(b, c^f.mask[i&3])
	}
	return b
}

// maxPayload bounds what readFrame takes, in bytes.
const maxPayload = 4 << 20

// readFrame reads one frame strictly: no reserved bits, lengths in the
// shortest form, control frames short and whole.
func readFrame(r io.Reader) (f frame, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return f, err
	}
	f.final, f.op, f.masked = b[0]&0x80 != 0, opcode(b[0]&0x0f), b[1]&0x80 != 0
	if b[0]&0x70 != 0 || f.op > pong || f.op > binaryData && f.op < closing {
		return f, fmt.Errorf("first byte %#x", b[0])
	}
	n := uint64(b[1] & 0x7f)
	switch n {
	case 126:
		if _, err := io.ReadFull(r, b[:2]); err != nil {
			return f, cut(err)
		}
		if n = uint64(binary.BigEndian.Uint16(b[:])); n < 126 {
			return f, fmt.Errorf("length %d in two bytes", n)
		}
	case 127:
		if _, err := io.ReadFull(r, b[:8]); err != nil {
			return f, cut(err)
		}
		if n = binary.BigEndian.Uint64(b[:]); n < 1<<16 || n > maxPayload {
			return f, fmt.Errorf("length %d in eight bytes", n)
		}
	}
	if f.op.control() && (n > 125 || !f.final) {
		return f, fmt.Errorf("control frame of %d bytes, final %v", n, f.final)
	}
	if f.masked {
		if _, err := io.ReadFull(r, f.mask[:]); err != nil {
			return f, cut(err)
		}
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, cut(err)
	}
	if f.masked {
		for i := range f.payload {
			f.payload[i] ^= f.mask[i&3]
		}
	}
	return f, nil
}

// cut makes the end of input inside a frame an error.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
