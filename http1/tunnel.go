// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"io"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// Tunnel takes the connection over for raw bytes, after a 101 response or the
// successful answer to a CONNECT. early is what the client has already sent
// behind its request; it is valid until the first read from the connection.
// The connection is closed when the handler returns.
func (s *ServerStream) Tunnel() (conn *netio.Conn, early []byte, err error) {
	if err := s.Flush(); err != nil {
		return nil, nil, err
	}
	s.tunneled = true
	s.conn.io.DropWritePace()
	s.conn.io.ArmRead(time.Time{})
	early = s.conn.in.unread()
	s.conn.in.skip(len(early))
	return s.conn.io, early, nil
}

// StartTunnelWrites makes WriteBody go on with raw bytes, after 101 or the
// successful answer to a CONNECT has been written; the last piece ends our
// direction. Each wait takes at most idle; zero and negative mean no bound. The
// connection is closed when the handler returns. Another goroutine may still be
// reading the body.
func (s *ServerStream) StartTunnelWrites(idle time.Duration) error {
	s.tunneled = true
	s.conn.io.DropWritePace()
	err := s.Flush()
	s.out.start(bodyUntilClose, -1)
	s.out.timeout = idle
	s.out.tunnel = true
	return err
}

// StartTunnelReads is the same for ReadBody, once the body has been read to its
// end.
func (s *ServerStream) StartTunnelReads(idle time.Duration) {
	s.body.lenient.Store(true)
	s.body.start(bodyUntilClose, 0)
	s.body.timeout = idle
}

// ReadTunnel passes what comes through the tunnel to f, piece by piece, each
// valid until f returns. It returns after the last piece, which may be empty, or
// the error of f, or, after a wait longer than StartTunnelReads allows or another
// failure to read, that of ReadBody. It may be called again after such a wait. f
// must not read from the stream.
func (s *ServerStream) ReadTunnel(f func(piece []byte, last bool) error) error {
	r := tunnelReader{in: s.body.in, limit: s.body.timeout, f: func(piece []byte, last bool) error {
		s.received.Add(int64(len(piece)))
		return f(piece, last)
	}}
	if err := r.run(); err != nil {
		return s.readError(err)
	}
	return r.err
}

// Tunnel takes the connection over for raw bytes, after 101 or the successful
// answer to a CONNECT. early is what the origin has already sent behind its
// head; it is valid until the first read from the connection.
func (c *ClientConn) Tunnel() (conn *netio.Conn, early []byte) {
	c.io.ArmRead(time.Time{})
	early = c.in.unread()
	c.in.skip(len(early))
	return c.io, early
}

// StartTunnelReads makes ReadBody go on with raw bytes, after 101 or the
// successful answer to a CONNECT. Each wait takes at most idle; zero and
// negative mean no bound. Another goroutine may still be writing the request.
func (c *ClientConn) StartTunnelReads(idle time.Duration) {
	c.body.start(bodyUntilClose, 0)
	c.body.timeout = idle
}

// StartTunnelWrites is the same for WriteBody, once the request has been
// written to its end. The last piece ends our direction.
func (c *ClientConn) StartTunnelWrites(idle time.Duration) {
	c.out.start(bodyUntilClose, -1)
	c.out.timeout = idle
	c.out.tunnel = true
}

// ReadTunnel is the same as that of ServerStream.
func (c *ClientConn) ReadTunnel(f func(piece []byte, last bool) error) error {
	r := tunnelReader{in: &c.in, limit: c.body.timeout, f: func(piece []byte, last bool) error {
		c.body.received += int64(len(piece))
		return f(piece, last)
	}}
	if err := r.run(); err != nil {
		return c.readError("read response body", err)
	}
	return r.err
}

// A tunnelReader receives inside Loop: one system call for each piece, and no
// buffer is held while it waits.
type tunnelReader struct {
	in    *input
	limit time.Duration // for each wait
	f     func(piece []byte, last bool) error

	wait    wait
	readErr error
	err     error // of f
}

// run reads until the end or an error of f. It returns the error of a read.
func (r *tunnelReader) run() error {
	step := r.step
	for r.begin(); ; {
		err := r.in.conn.Loop(step)
		if err == nil {
			err = r.readErr
		}
		if !netio.IsTimeout(err) {
			return err
		}
		now := netio.Now()
		if err := r.wait.expired(r.in, now); err != nil {
			return err
		}
		r.readErr = nil
		r.wait.arm(r.in, now)
	}
}

func (r *tunnelReader) begin() {
	r.in.conn.ShowEnd()
	r.in.full = true // the end may be behind what has been received before
	r.arm()
}

// arm begins a wait. A reset that has come together with bytes shows at the
// look after the first tick.
func (r *tunnelReader) arm() {
	now := netio.Now()
	r.wait = wait{start: now, limit: r.limit, tick: lastTick, look: true}
	r.wait.arm(r.in, now)
}

// step is the body of the Loop.
func (r *tunnelReader) step() (done bool) {
	for {
		if piece := r.in.unread(); len(piece) > 0 {
			r.in.skip(len(piece))
			if r.err = r.f(piece, false); r.err != nil {
				return true
			}
			r.arm()
			if !r.in.full {
				r.in.release()
				return false
			}
		}
		switch err := r.in.recv(bytebuf.Large); err {
		case nil:
		case netio.ErrAgain:
			r.in.release()
			return false
		case io.EOF:
			r.err = r.f(nil, true)
			return true
		default:
			r.readErr = err
			return true
		}
	}
}
