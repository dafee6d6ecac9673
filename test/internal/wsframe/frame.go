// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package wsframe reads and writes the frames of WebSocket (RFC 6455 section 5),
// strictly, for tests.
package wsframe

import (
	"encoding/binary"
	"fmt"
	"io"
)

// An Opcode says what a frame is (RFC 6455 section 5.2).
type Opcode byte

const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// Control reports whether frames of this kind may come between the fragments
// of a message.
func (op Opcode) Control() bool { return op >= Close }

// A Frame is one WebSocket frame.
type Frame struct {
	Op      Opcode
	Final   bool
	Masked  bool // by Mask, on the wire; payload is always in clear
	Mask    [4]byte
	Payload []byte
}

// Append appends the frame to b in the shortest form.
func (f Frame) Append(b []byte) []byte {
	first, masked := byte(f.Op), byte(0)
	if f.Final {
		first |= 0x80
	}
	if f.Masked {
		masked = 0x80
	}
	b = append(b, first)
	switch n := len(f.Payload); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if !f.Masked {
		return append(b, f.Payload...)
	}
	b = append(b, f.Mask[:]...)
	for i, c := range f.Payload {
		b = append(b, c^f.Mask[i&3])
	}
	return b
}

// MaxPayload bounds what Read takes, in bytes.
const MaxPayload = 4 << 20

// Read reads one frame strictly: no reserved bits, lengths in the
// shortest form, control frames short and whole.
func Read(r io.Reader) (f Frame, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return f, err
	}
	f.Final, f.Op, f.Masked = b[0]&0x80 != 0, Opcode(b[0]&0x0f), b[1]&0x80 != 0
	if b[0]&0x70 != 0 || f.Op > Pong || f.Op > Binary && f.Op < Close {
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
		if n = binary.BigEndian.Uint64(b[:]); n < 1<<16 || n > MaxPayload {
			return f, fmt.Errorf("length %d in eight bytes", n)
		}
	}
	if f.Op.Control() && (n > 125 || !f.Final) {
		return f, fmt.Errorf("control Frame of %d bytes, final %v", n, f.Final)
	}
	if f.Masked {
		if _, err := io.ReadFull(r, f.Mask[:]); err != nil {
			return f, cut(err)
		}
	}
	f.Payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return f, cut(err)
	}
	if f.Masked {
		for i := range f.Payload {
			f.Payload[i] ^= f.Mask[i&3]
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
