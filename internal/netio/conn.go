// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrAgain is returned by Recv inside Loop when nothing has arrived.
var ErrAgain = errors.New("netio: nothing to read now")

// A Conn wraps a connection. One goroutine may read while another writes;
// Interrupt, Kill and PeerGone may be called from any.
type Conn struct {
	nc  net.Conn
	raw syscall.RawConn // nil: no descriptor, use nc
	tls *Transport      // below nc, if that is a TLS connection and raw its socket

	tlsTimeout atomic.Int64 // writeTimeout, as the goroutine that reads may write, too

	// The state of Loop.
	fd   uintptr // valid while inLoop
	loop func() bool
	step func(uintptr) bool // c.loopStep, bound once

	readArmed time.Time     // the read deadline that is set, zero if none
	lateErr   error         // what came together with data; Recv returns it next
	idleStep  func(uintptr) // sets idle, bound once

	// Small fields stand together: there is a Conn for each idle connection.
	inLoop      bool
	more        bool // Recv may have left something behind
	ends        ends // whether that may be the end
	idle        IdleState
	interrupted atomic.Bool
	killed      atomic.Bool
	parkedAt    atomic.Int32 // the descriptor plus one while it is parked, else 0
	writeArmed  atomic.Bool
	anyPace     atomic.Bool // writePace does not count any more

	// The state of one Write.
	pending      [3][]byte
	writeTimeout time.Duration
	writeErr     error
	writePace    Pace
	waitStart    time.Duration      // of a wait for writing that is not over, as sinceStart; zero if none
	writeStep    func(uintptr) bool // c.writeSome, bound once
}

// New returns a Conn that reads and writes nc. It takes the fast path if nc
// is exactly a *net.TCPConn or *net.UnixConn, or a *tls.Conn on a Transport;
// another wrapper may have buffered or transformed bytes that the descriptor
// does not show.
func New(nc net.Conn) *Conn {
	c := &Conn{nc: nc}
	switch nc := nc.(type) {
	case *net.TCPConn:
		c.attach(nc)
	case *net.UnixConn:
		c.attach(nc)
	case *tls.Conn:
		if below, ok := nc.NetConn().(interface{ Socket() *Transport }); ok {
			c.attachTLS(below.Socket())
		}
	}
	return c
}

func (c *Conn) attach(sc syscall.Conn) {
	if !haveRaw {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	c.raw = raw
	c.step = c.loopStep
	c.writeStep = c.writeSome
	c.idleStep = func(fd uintptr) { c.idle = c.peek(fd) }
}

func (c *Conn) attachTLS(t *Transport) {
	if t.raw == nil {
		return
	}
	c.tls = t
	c.raw = t.raw
	c.step = c.loopStep
	c.idleStep = func(fd uintptr) { c.idle = c.peek(fd) }
	t.owner = c
}

// NetConn returns the wrapped connection.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Close closes the connection. It must not be called inside Loop.
func (c *Conn) Close() error { return c.nc.Close() }

// Loop calls f until it returns true, waiting for the connection to become
// readable after each false. It returns nil after true, and otherwise the
// error that ended the wait, such as os.ErrDeadlineExceeded.
//
// A deadline that has passed makes Loop return at once, without calling f.
func (c *Conn) Loop(f func() (done bool)) error {
	if c.raw == nil {
		return c.plainLoop(f)
	}
	c.loop = f
	c.setInLoop(true)
	defer c.leaveLoop() // f may panic
	return c.raw.Read(c.step)
}

func (c *Conn) leaveLoop() {
	c.setInLoop(false)
	c.loop = nil
}

func (c *Conn) setInLoop(in bool) {
	c.inLoop = in
	if c.tls != nil {
		c.tls.inLoop = in
	}
}

func (c *Conn) loopStep(fd uintptr) bool {
	c.fd = fd
	if c.tls != nil {
		c.tls.fd = fd
	}
	return c.loop()
}

// plainLoop is Loop on a connection whose Recv blocks: the wait happens
// there. An expired deadline shows as its error.
func (c *Conn) plainLoop(f func() bool) error {
	for !f() {
	}
	return nil
}

// Raw reports whether Recv inside Loop returns ErrAgain instead of blocking.
func (c *Conn) Raw() bool { return c.raw != nil }

// Recv reads what has arrived into p, which must not be empty. It returns
// io.EOF at the end of the stream. Inside Loop on a raw connection it returns
// ErrAgain if nothing has arrived; otherwise it blocks until something does or
// the read deadline passes. With data there is no error.
func (c *Conn) Recv(p []byte) (n int, err error) {
	if err := c.lateErr; err != nil {
		c.lateErr = nil
		return 0, err
	}
	switch {
	case c.tls != nil:
		n, err = c.recvTLS(p)
	case c.inLoop:
		n, c.more, err = recvMore(c.fd, p, c.ends)
	default:
		n, err = c.nc.Read(p)
		c.more = n == len(p)
	}
	if n > 0 && err != nil { // as when TLS 1.2 says goodbye behind the data
		if err != ErrAgain && !IsTimeout(err) {
			c.lateErr = err
		}
		c.more = true
		return n, nil
	}
	return n, err
}

func (c *Conn) recvTLS(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	if err == errWouldWait {
		c.tls.records.drained()
		c.more = false
		return n, ErrAgain
	}
	c.more = c.tls.records.returned(n, len(p)) || c.tls.full
	return n, err
}

// More reports whether the last Recv may have left something behind that has
// arrived. If it is false, a caller in Loop that has a whole message may wait
// without another Recv. The end of the stream counts only after ShowEnd.
func (c *Conn) More() bool { return c.more }

// ShowEnd makes More tell of the end of the stream as it does of bytes, so that
// a caller in Loop may wait whenever it is false. Where the system does not
// tell, More is true from now on until Recv returns ErrAgain. A reset may still
// not show.
func (c *Conn) ShowEnd() {
	if c.raw == nil || c.ends != endsHidden {
		return
	}
	c.ends = endsUnknown
	c.raw.Control(func(fd uintptr) {
		if showEnd(fd) {
			c.ends = endsShown
		}
	})
	if c.tls != nil {
		c.tls.ends = c.ends
	}
}

// ends is what recvMore knows of the end of the stream behind the bytes that it
// returns.
type ends uint8

const (
	endsHidden  ends = iota // it has not been asked
	endsShown               // the system tells
	endsUnknown             // the system does not
)

// recvMore is recv, and reports whether there may be more to receive.
func recvMore(fd uintptr, p []byte, ends ends) (n int, more bool, err error) {
	if ends == endsShown {
		return recvShown(fd, p)
	}
	n, err = recv(fd, p)
	return n, n == len(p) || ends == endsUnknown && err != ErrAgain, err
}

// ArmRead sets the read deadline to t, or clears it if t is zero.
func (c *Conn) ArmRead(t time.Time) {
	c.readArmed = t
	c.nc.SetReadDeadline(t)
	if c.interrupted.Load() || c.killed.Load() {
		c.nc.SetReadDeadline(past)
	}
}

// EnsureRead makes sure that a read deadline fires between min and max from
// now. It costs a comparison if one does already.
func (c *Conn) EnsureRead(now time.Time, min, max time.Duration) {
	if left := c.readArmed.Sub(now); left < min || left > max {
		c.ArmRead(now.Add(max))
	}
}

// past is a deadline that has expired on any clock.
var past = time.Unix(1, 0)

// Interrupt makes the current read or wait for reading, and all later ones,
// fail with os.ErrDeadlineExceeded, until Resume. It may be called from any
// goroutine.
func (c *Conn) Interrupt() {
	c.interrupted.Store(true)
	c.nc.SetReadDeadline(past)
	c.unpark()
}

// Interrupted reports whether Interrupt or Kill is in force.
func (c *Conn) Interrupted() bool { return c.interrupted.Load() || c.killed.Load() }

// Resume ends an Interrupt. Only the goroutine that reads may call it.
func (c *Conn) Resume() {
	c.interrupted.Store(false)
	c.ArmRead(time.Time{})
}

// Kill makes all reads and writes fail, for good. It may be called from any
// goroutine.
func (c *Conn) Kill() {
	c.killed.Store(true)
	c.nc.SetDeadline(past)
	c.unpark()
}

// Killed reports whether Kill has been called.
func (c *Conn) Killed() bool { return c.killed.Load() }

// SetWritePace makes writes fail with ErrTooSlow when the peer takes less than
// p on average. No other goroutine may read or write meanwhile: over TLS a reader
// writes, too.
func (c *Conn) SetWritePace(p Pace) { c.writePace = p }

// DropWritePace lets the peer of writes be as slow as it likes from now on. It may
// be called while another goroutine reads.
func (c *Conn) DropWritePace() { c.anyPace.Store(true) }

// Write writes a, b and c, as one segment where the system can. Each wait for
// the peer to take more is bounded by timeout; zero and negative mean no
// bound. On an error some bytes may have been written; n says how many.
func (c *Conn) Write(a, b, tail []byte, timeout time.Duration) (n int, err error) {
	switch {
	case c.tls != nil:
		return c.tlsWrite([...][]byte{a, b, tail}, timeout)
	case c.raw == nil:
		return c.plainWrite([...][]byte{a, b, tail}, timeout)
	}
	total := len(a) + len(b) + len(tail)
	c.pending = [...][]byte{a, b, tail}
	c.writeTimeout = timeout
	c.writeErr = nil
	err = c.raw.Write(c.writeStep)
	n = total - c.pendingBytes()
	c.pending = [3][]byte{}
	if err == nil {
		err = c.writeErr
	}
	if err == nil {
		c.disarmWrite()
	}
	return n, err
}

// beginWait prepares for a wait until the peer takes more. It returns
// ErrTooSlow if the peer has used up its time.
func (c *Conn) beginWait(timeout time.Duration) error {
	if c.writePace.Active() && !c.anyPace.Load() {
		if !c.writePace.MayWait() {
			return ErrTooSlow
		}
		c.waitStart = sinceStart()
	}
	c.armWrite(timeout)
	return nil
}

// endWait takes note of the end of such a wait, if there was one.
func (c *Conn) endWait() {
	if c.waitStart != 0 {
		c.writePace.Waited(sinceStart() - c.waitStart)
		c.waitStart = 0
	}
}

// armWrite sets the deadline of one wait for writing. Kill has the last word.
func (c *Conn) armWrite(timeout time.Duration) {
	if timeout > 0 {
		c.writeArmed.Store(true)
		c.nc.SetWriteDeadline(time.Now().Add(timeout))
	}
	if c.killed.Load() {
		c.nc.SetWriteDeadline(past)
	}
}

// disarmWrite clears the deadline that armWrite has set, if it has.
func (c *Conn) disarmWrite() {
	if !c.writeArmed.Load() {
		return
	}
	c.writeArmed.Store(false)
	c.nc.SetWriteDeadline(time.Time{})
	if c.killed.Load() {
		c.nc.SetWriteDeadline(past)
	}
}

func (c *Conn) pendingBytes() int {
	return len(c.pending[0]) + len(c.pending[1]) + len(c.pending[2])
}

// writeSome writes until nothing is pending. It returns false to wait.
func (c *Conn) writeSome(fd uintptr) (done bool) {
	c.endWait()
	for c.pendingBytes() > 0 {
		n, err := send(fd, &c.pending)
		if err == ErrAgain {
			err = c.beginWait(c.writeTimeout) // only a full socket buffer costs a deadline
			if err == nil {
				return false
			}
		}
		if err != nil {
			c.writeErr = err
			return true
		}
		c.writePace.Moved(n)
		for i := range c.pending {
			k := min(n, len(c.pending[i]))
			c.pending[i] = c.pending[i][k:]
			n -= k
		}
	}
	return true
}

// plainPiece is how much goes into one Write of a connection without a
// descriptor, in bytes: its deadline holds for the whole of it.
const plainPiece = 64 << 10

func (c *Conn) plainWrite(parts [3][]byte, timeout time.Duration) (n int, err error) {
	for _, p := range parts {
		for len(p) > 0 {
			if timeout <= 0 {
				c.disarmWrite() // an earlier call had a bound
			}
			if err := c.beginWait(timeout); err != nil {
				return n, err
			}
			k, err := c.nc.Write(p[:min(len(p), plainPiece)])
			c.endWait()
			c.writePace.Moved(k)
			n += k
			if err != nil {
				return n, err
			}
			p = p[k:]
		}
	}
	return n, nil
}

// BoundWrites bounds each wait to write that no Write has begun: the answers
// that crypto/tls gives while it reads. Zero and negative mean no bound.
func (c *Conn) BoundWrites(timeout time.Duration) { c.tlsTimeout.Store(int64(timeout)) }

// tlsWrite is plainWrite on a Transport, which arms the deadline when there is
// a wait.
func (c *Conn) tlsWrite(parts [3][]byte, timeout time.Duration) (n int, err error) {
	c.disarmWrite() // the goroutine that reads may have waited to write
	c.tlsTimeout.Store(int64(timeout))
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		k, err := c.nc.Write(p)
		n += k
		if err != nil {
			return n, err
		}
	}
	c.disarmWrite()
	return n, nil
}

// PeerGone reports whether the other side has closed its end or reset the
// connection. Unread data in front of the end hides it, but for the goodbye of
// TLS on Linux. It never blocks, is false where it cannot tell, and may be called
// from any goroutine.
func (c *Conn) PeerGone() bool {
	if c.raw == nil {
		return false
	}
	gone := true
	err := c.raw.Control(func(fd uintptr) { gone = c.peek(fd) == PeerClosed })
	return err != nil || gone
}

// peek looks at what a read would find. The end counts as such even if the
// goodbye of TLS is in front of it.
func (c *Conn) peek(fd uintptr) IdleState {
	state := peek(fd)
	if state == HasData && c.tls != nil && ended(fd, maxGoodbye) {
		return PeerClosed
	}
	return state
}

// What Idle finds on a connection on which nothing is expected.
const (
	Quiet      IdleState = iota // nothing arrived, or the system cannot tell
	HasData                     // unexpected bytes
	PeerClosed                  // end of stream or an error
)

// IdleState is the result of Idle.
type IdleState uint8

// Idle looks whether anything has arrived, without reading it. Only the
// goroutine that reads may call it.
func (c *Conn) Idle() IdleState {
	if c.raw == nil {
		return Quiet
	}
	c.idle = PeerClosed
	if err := c.raw.Control(c.idleStep); err != nil || c.killed.Load() {
		return PeerClosed
	}
	return c.idle
}

// CloseWrite ends our direction of the stream, if the transport can.
func (c *Conn) CloseWrite() error {
	if hc, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return hc.CloseWrite()
	}
	return nil
}

// Abort makes Close reset the connection, so that the peer cannot take a cut
// message for a whole one. It ends a connection that wraps another (TLS) at
// once: its Close would say goodbye first, as after a whole message.
func (c *Conn) Abort() {
	for nc := c.nc; ; {
		switch inner := nc.(type) {
		case *net.TCPConn:
			inner.SetLinger(0)
			if nc != c.nc {
				inner.Close()
			}
			return
		case interface{ NetConn() net.Conn }:
			nc = inner.NetConn()
		default:
			return
		}
	}
}

// IsTimeout reports whether err is an expired deadline or an Interrupt.
func IsTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// IsClosed reports whether err says that the other side ended the connection,
// in good order or not, or that we did.
func IsClosed(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
