// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"net"
	"syscall"
	"time"
)

// A Transport is the socket below a TLS connection: what crypto/tls reads and
// writes. It gives a TLS connection the Loop of a plain one: inside it a read
// that finds nothing fails at once, with an error after which crypto/tls can
// go on. That saves the read that fails before each wait, and the buffer that
// would have to be held while waiting.
//
// New takes the fast path for a *tls.Conn whose NetConn has a method Socket that
// returns it.
type Transport struct {
	net.Conn                 // the socket
	raw      syscall.RawConn // nil: no descriptor

	inLoop bool
	fd     uintptr // valid while inLoop

	records recordCounter
	full    bool // the last read may have left something behind
	ends    ends // whether that may be the end

	owner *Conn // told of waits to write more; nil while there is none

	// The state of one Write.
	pending   [3][]byte
	writeErr  error
	writeStep func(uintptr) bool // t.writeSome, bound once
}

// NewTransport returns a Transport on nc.
func NewTransport(nc net.Conn) *Transport {
	t := &Transport{Conn: nc}
	if !haveRaw {
		return t
	}
	switch nc := nc.(type) {
	case *net.TCPConn:
		t.raw, _ = nc.SyscallConn()
	case *net.UnixConn:
		t.raw, _ = nc.SyscallConn()
	}
	t.writeStep = t.writeSome
	return t
}

// Socket returns t. It makes types that embed a *Transport known to New.
func (t *Transport) Socket() *Transport { return t }

// NetConn returns the socket.
func (t *Transport) NetConn() net.Conn { return t.Conn }

// errWouldWait is ErrAgain for crypto/tls, which goes on after a timeout.
var errWouldWait net.Error = wouldWait{}

type wouldWait struct{}

func (wouldWait) Error() string   { return ErrAgain.Error() }
func (wouldWait) Timeout() bool   { return true }
func (wouldWait) Temporary() bool { return true }

// Read reads from the socket. Inside Loop it does not wait.
func (t *Transport) Read(p []byte) (n int, err error) {
	if !t.inLoop {
		n, err = t.Conn.Read(p)
		t.full = n == len(p)
	} else if n, t.full, err = recvMore(t.fd, p, t.ends); err == ErrAgain {
		return 0, errWouldWait
	}
	t.records.add(p[:n])
	return n, err
}

// Write writes p, waiting for the peer as long as the write deadline allows.
func (t *Transport) Write(p []byte) (n int, err error) {
	if t.raw == nil || len(p) == 0 {
		return t.Conn.Write(p)
	}
	t.pending[0], t.writeErr = p, nil
	err = t.raw.Write(t.writeStep)
	n = len(p) - len(t.pending[0])
	t.pending[0] = nil
	if err == nil {
		err = t.writeErr
	}
	return n, err
}

// writeSome writes until nothing is pending. It returns false to wait.
func (t *Transport) writeSome(fd uintptr) (done bool) {
	if t.owner != nil {
		t.owner.endWait()
	}
	for len(t.pending[0]) > 0 {
		n, err := send(fd, &t.pending)
		if err == ErrAgain {
			if err = t.beginWait(); err == nil {
				return false
			}
		}
		if err != nil {
			t.writeErr = err
			return true
		}
		t.pending[0] = t.pending[0][n:]
		if t.owner != nil {
			t.owner.writePace.Moved(n)
		}
	}
	return true
}

func (t *Transport) beginWait() error {
	if t.owner == nil { // the handshake has deadlines of its own
		return nil
	}
	return t.owner.beginWait(time.Duration(t.owner.tlsTimeout.Load()))
}

// maxGoodbye is the size of the record that says goodbye, in bytes, with the
// longest protection that a cipher suite gives it (AES-GCM of TLS 1.2). What it
// looks like tells nothing: a piece of a body may be as short, and what waits in
// the socket may begin in the middle of a record. But no request is as short, and
// after the end of the stream nothing follows it.
const maxGoodbye = recordHeaderLen + 8 + 2 + 16

// recordHeaderLen is the length of the header of a TLS record (RFC 8446
// section 5.1): type, version, length.
const recordHeaderLen = 5

// A recordCounter follows the boundaries of TLS records in a stream, to know
// whether crypto/tls may hold more than it has returned.
type recordCounter struct {
	header  [recordHeaderLen]byte
	have    int // bytes of header
	left    int // bytes of the record that header describes
	records int // complete since drained
}

// add takes the next bytes of the stream.
func (c *recordCounter) add(b []byte) {
	for len(b) > 0 {
		if c.left == 0 {
			k := copy(c.header[c.have:], b)
			b = b[k:]
			if c.have += k; c.have < recordHeaderLen {
				return
			}
			c.have = 0
			if c.left = int(c.header[3])<<8 | int(c.header[4]); c.left == 0 {
				c.records++
			}
			continue
		}
		k := min(c.left, len(b))
		b = b[k:]
		if c.left -= k; c.left == 0 {
			c.records++
		}
	}
}

// drained notes that crypto/tls has used up every complete record.
func (c *recordCounter) drained() { c.records = 0 }

// returned notes that crypto/tls has returned n bytes of a buffer of size
// bytes, and reports whether it may have more: it takes one record for each
// return.
func (c *recordCounter) returned(n, size int) (more bool) {
	if n == size || c.records > 1 || c.left > 0 || c.have > 0 {
		return true
	}
	c.records = 0
	return false
}
