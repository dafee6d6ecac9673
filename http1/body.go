// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// bodyKind is how the end of a body is found.
type bodyKind uint8

const (
	bodyNone       bodyKind = iota
	bodyFixed               // by its length
	bodyChunked             // by a chunk of size 0
	bodyUntilClose          // by the end of the connection (responses only)
)

// A bodyReader takes a body out of an input.
type bodyReader struct {
	in      *input
	lim     *Limits
	timeout time.Duration // for each wait
	pace    netio.Pace
	lenient atomic.Bool // pace does not count any more; set from any goroutine

	kind     bodyKind
	done     bool  // the end has been read
	left     int64 // of the body (fixed) or of the chunk
	state    chunkState
	excess   int64 // bytes of chunk extensions beyond what the data allows
	scanned  int   // of the trailers
	received int64
	trailers header.Fields
}

// chunkState is what is expected next in a chunked body.
type chunkState uint8

const (
	chunkSize     chunkState = iota
	chunkData                // left bytes
	chunkDataEnd             // CRLF
	chunkTrailers            // and the empty line
)

// start prepares for a body of the given kind; length counts if it is fixed.
func (b *bodyReader) start(kind bodyKind, length int64) {
	b.kind = kind
	b.done = kind == bodyNone || kind == bodyFixed && length == 0
	b.left = length
	b.state = chunkSize
	b.excess, b.scanned, b.received = 0, 0, 0
	b.trailers.Reset()
	if kind == bodyChunked {
		b.left = 0
	}
}

// buffered reports whether next would return without waiting.
func (b *bodyReader) buffered() bool { return b.done || !b.in.empty() }

// complete reports whether the whole body is in the buffer already.
func (b *bodyReader) complete() bool {
	return b.done || b.kind == bodyFixed && int64(len(b.in.unread())) >= b.left
}

// next returns the next piece of the body, which aliases the buffer and is
// valid until the following call, and whether it is the last. The last piece
// may be empty. After it next returns an empty last piece again.
//
// It waits only if nothing is buffered. Its errors are those of recvWait,
// io.ErrUnexpectedEOF for a body that ends early, and *parseError.
func (b *bodyReader) next() (piece []byte, last bool, err error) {
	for !b.done {
		piece, err := b.take()
		if err != nil {
			return nil, false, err
		}
		if len(piece) > 0 || b.done {
			b.received += int64(len(piece))
			return piece, b.done, nil
		}
		if err := b.wait(); err != nil {
			if err == io.EOF {
				if b.kind == bodyUntilClose {
					b.done = true
					break
				}
				err = io.ErrUnexpectedEOF
			}
			return nil, false, err
		}
	}
	return nil, true, nil
}

// wait receives more, at least at the pace that is asked for. Bodies that do
// not end soon get a large buffer.
func (b *bodyReader) wait() error {
	size := bytebuf.Medium
	if b.received > bytebuf.Medium || b.kind != bodyChunked && (b.kind == bodyUntilClose || b.left > bytebuf.Medium) {
		size = bytebuf.Large
	}
	if !b.pace.Active() || b.lenient.Load() {
		return b.in.recvWait(size, b.timeout)
	}
	if !b.pace.MayWait() {
		return netio.ErrTooSlow
	}
	had := len(b.in.unread())
	start := netio.Now()
	err := b.in.recvWait(size, b.timeout)
	if had > 0 || b.received > 0 { // until then the client may wait for a 100
		b.pace.Waited(netio.Now().Sub(start))
	}
	b.pace.Moved(len(b.in.unread()) - had)
	return err
}

// take returns a piece of what is buffered, empty if there is none.
func (b *bodyReader) take() (piece []byte, err error) {
	switch b.kind {
	case bodyFixed:
		piece = b.cut()
		b.done = b.left == 0
	case bodyUntilClose:
		piece = b.in.unread()
		b.in.skip(len(piece))
	case bodyChunked:
		return b.takeChunked()
	}
	return piece, nil
}

// cut consumes and returns at most left bytes of what is buffered.
func (b *bodyReader) cut() []byte {
	piece := b.in.unread()
	if int64(len(piece)) > b.left {
		piece = piece[:b.left]
	}
	b.in.skip(len(piece))
	b.left -= int64(len(piece))
	return piece
}

// takeChunked returns the data of at most one chunk. It reads on behind the
// data as far as the buffer goes, so that the last piece is known as such.
func (b *bodyReader) takeChunked() (piece []byte, err error) {
	for {
		switch b.state {
		case chunkSize:
			size, ext, n, err := consumeChunkSize(b.in.unread(), b.lim.MaxChunkExtBytes)
			if n == 0 || err != nil {
				return piece, late(piece, err)
			}
			excess := max(b.excess+int64(ext)-allowedExt(size), 0)
			if excess > 2*int64(b.lim.MaxChunkExtBytes) {
				return piece, late(piece, errChunkExt)
			}
			b.in.skip(n)
			b.excess = excess
			b.left = size
			b.state = chunkData
			if size == 0 {
				b.state = chunkTrailers
				b.scanned = 0
			}
		case chunkData:
			if len(piece) > 0 {
				return piece, nil
			}
			piece = b.cut()
			if b.left > 0 {
				return piece, nil
			}
			b.state = chunkDataEnd
		case chunkDataEnd:
			u := b.in.unread()
			if len(u) >= 1 && u[0] != '\r' || len(u) >= 2 && u[1] != '\n' {
				return piece, late(piece, errChunkEnd)
			}
			if len(u) < 2 {
				return piece, nil
			}
			b.in.skip(2)
			b.state = chunkSize
		case chunkTrailers:
			u := b.in.unread()
			n, err := consumeTrailers(u, b.scanned, b.lim, &b.trailers)
			if err != nil {
				return piece, late(piece, err)
			}
			if n == 0 {
				b.scanned = len(u)
				return piece, nil
			}
			b.in.skip(n)
			b.done = true
			return piece, nil
		}
	}
}

// late drops an error found behind a piece that has not been delivered: the
// same bytes give the same error in the next call.
func late(piece []byte, err error) error {
	if len(piece) > 0 {
		return nil
	}
	return err
}
