// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// The ways in which a program can break the promise of its own head.
var (
	errBodyTooLong  = errors.New("http1: body longer than its declared length")
	errBodyTooShort = errors.New("http1: body shorter than its declared length")
)

// An output is the sending half of a connection for one message: it gathers
// small writes, so that a head and a short body leave in one system call, and
// frames the body.
type output struct {
	conn    *netio.Conn
	timeout time.Duration // for each wait
	buf     *bytebuf.Buf  // nil while nothing is pending

	tunnel bool // the end of the message ends our direction of the connection

	kind bodyKind
	left int64 // of a fixed body
	done bool  // the message is complete
	sent int64 // bytes written to the connection

	bodySent int64 // of these, or of what is pending, those of the body without its framing

	failed bool // a write did: the other side may miss some of what was written
}

// pending returns a buffer to append to.
func (o *output) pending() *bytebuf.Buf {
	if o.buf == nil {
		o.buf = bytebuf.Get(bytebuf.Medium)
	}
	return o.buf
}

// start begins the body: what is appended to pending by now is the head.
func (o *output) start(kind bodyKind, length int64) {
	o.kind = kind
	o.left = length
	o.done = false
}

// flush writes what is pending.
func (o *output) flush() error {
	if o.buf == nil || len(o.buf.B) == 0 {
		return nil
	}
	return o.write(nil, nil)
}

// write writes what is pending, then data and tail.
func (o *output) write(data, tail []byte) error {
	var head []byte
	if o.buf != nil {
		head = o.buf.B
	}
	n, err := o.conn.Write(head, data, tail, o.timeout)
	o.sent += int64(n)
	o.release() // nothing is held while the other side takes its time
	if err != nil {
		o.failed = true
	}
	return err
}

// release gives the buffer back.
func (o *output) release() {
	if o.buf != nil {
		o.buf.Release()
		o.buf = nil
	}
}

// tails of a chunk
var (
	chunkTail     = []byte("\r\n")
	lastChunkTail = []byte("\r\n0\r\n\r\n")
	lastChunkOnly = []byte("0\r\n\r\n")
)

// body adds a piece of the body. Small pieces stay in the buffer until flush,
// large ones are written at once, together with what is pending. The last one
// ends the message and flushes.
func (o *output) body(piece []byte, last bool) error {
	if o.done {
		return nil
	}
	switch o.kind {
	case bodyNone:
		piece = nil
	case bodyFixed:
		if int64(len(piece)) > o.left {
			return errBodyTooLong
		}
		o.left -= int64(len(piece))
		if last && o.left > 0 {
			return errBodyTooShort
		}
	case bodyChunked:
		return o.chunk(piece, last)
	}
	o.done = last
	o.bodySent += int64(len(piece))
	if len(piece) > o.space() || o.tunnel && len(piece) > 0 {
		if err := o.write(piece, nil); err != nil {
			return err
		}
	} else if len(piece) > 0 {
		p := o.pending()
		p.B = append(p.B, piece...)
	}
	if !last {
		return nil
	}
	if err := o.flush(); err != nil || !o.tunnel {
		return err
	}
	return o.conn.CloseWrite()
}

// space returns how many bytes may be gathered before a write.
func (o *output) space() int {
	if o.buf == nil {
		return bytebuf.Medium
	}
	return cap(o.buf.B) - len(o.buf.B)
}

// chunkOverhead is room for a chunk's size line and tail.
const chunkOverhead = 2 + 16 + 7

func (o *output) chunk(piece []byte, last bool) error {
	o.done = last
	o.bodySent += int64(len(piece))
	p := o.pending()
	var tail []byte
	switch {
	case len(piece) == 0 && !last:
		return nil
	case len(piece) == 0:
		tail = lastChunkOnly
	default:
		tail = chunkTail
		if last {
			tail = lastChunkTail
		}
		big := len(piece)+chunkOverhead > o.space()
		p.B = appendChunkSize(p.B, len(piece))
		if big {
			return o.write(piece, tail)
		}
	}
	p.B = append(p.B, piece...)
	p.B = append(p.B, tail...)
	if last {
		return o.flush()
	}
	return nil
}

// trailers ends the message with trailers, which only the chunked coding can
// carry; otherwise they are left out, as RFC 9110 section 6.5 allows.
func (o *output) trailers(fields *header.Fields) error {
	if o.done {
		return nil
	}
	if o.kind != bodyChunked || fields == nil || fields.Len() == 0 {
		return o.body(nil, true)
	}
	o.done = true
	p := o.pending()
	p.B = appendLastChunk(p.B, fields)
	return o.flush()
}
