// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

// tunnel passes on the head that switches protocols and then relays bytes in
// both directions until both have ended, or nothing has moved for too long.
// Body filters see what passes.
func (x *exchange) tunnel() error {
	if err := x.filterHead(); err != nil {
		return err
	}
	x.hasResponse = true
	// What is left of the request body belongs before the switched bytes.
	if err := x.finishUpload(); err != nil {
		return err
	}
	if err := x.down.WriteHead(&x.res, true); err != nil {
		return err
	}
	down, fromClient, err := x.down.Tunnel()
	if err != nil {
		return err
	}
	up, fromPeer := x.up.Tunnel()
	t := &tunnel{idle: x.proxy.cfg.TunnelIdleTimeout}
	t.last.Store(netio.Now().UnixNano())
	done := make(chan error, 1)
	go func() {
		err := x.guard(func() error {
			return t.copy(up, down, fromClient, x.bound(x.phases.requestBodyFilter))
		})
		if err != nil { // also that of a filter that panicked
			up.Kill()
			down.Kill()
		}
		done <- err
	}()
	err = x.guard(func() error { return t.copy(down, up, fromPeer, x.bound(x.tunnelDownFilter())) })
	if err != nil {
		up.Kill()
		down.Kill()
	}
	uerr := <-done
	if err == errTunnelIdle || uerr == errTunnelIdle { // of the other it is the consequence
		return nil
	}
	if err == nil {
		err = uerr
	}
	if err != nil && x.conn.killed.Load() {
		err = killedError("tunnel")
	}
	if err != nil {
		x.down.Abort()
	}
	return err
}

// finishUpload waits for the rest of the request body to be sent.
func (x *exchange) finishUpload() error {
	u := x.uploading
	if u == nil {
		return nil
	}
	<-u.done
	x.uploading = nil
	if f := u.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// tunnelDownFilter returns the filter for bytes from the peer, nil if there is
// none.
func (x *exchange) tunnelDownFilter() bodyFilter {
	if x.phases.upstreamResponseBodyFilter == nil && x.phases.responseBodyFilter == nil {
		return nil
	}
	return func(_ *Session, piece []byte, last bool) ([]byte, error) { return x.filterBody(piece, last) }
}

// bound binds a filter to the session.
func (x *exchange) bound(f bodyFilter) func([]byte, bool) ([]byte, error) {
	if f == nil {
		return nil
	}
	return func(piece []byte, last bool) ([]byte, error) { return f(&x.session, piece, last) }
}

// errTunnelIdle ends a tunnel on which nothing moves.
var errTunnelIdle = errors.New("tunnel idle")

// A tunnel is a pair of directions that share an idle time.
type tunnel struct {
	idle time.Duration // zero and negative mean no limit
	last atomic.Int64  // when something last moved, in Unix nanoseconds
}

// copy moves bytes from src to dst until src ends, and then ends that
// direction of dst. A failure ends both directions.
func (t *tunnel) copy(dst, src *netio.Conn, early []byte, filter func([]byte, bool) ([]byte, error)) (err error) {
	defer func() {
		if err != nil {
			dst.Kill()
			src.Kill()
		}
	}()
	if len(early) > 0 {
		if err := t.pass(dst, early, false, filter); err != nil {
			return err
		}
	}
	r := tunnelReader{src: src}
	r.step = r.receive
	for {
		buf, err := r.next(t)
		if err == io.EOF {
			if filter != nil {
				if err := t.pass(dst, nil, true, filter); err != nil {
					return err
				}
			}
			return dst.CloseWrite()
		}
		if err != nil {
			return err
		}
		err = t.pass(dst, buf.B, false, filter)
		buf.Release()
		if err != nil {
			return err
		}
	}
}

// pass writes one piece to dst, through the filter.
func (t *tunnel) pass(dst *netio.Conn, piece []byte, last bool, filter func([]byte, bool) ([]byte, error)) (err error) {
	t.last.Store(netio.Now().UnixNano())
	if filter != nil {
		if piece, err = filter(piece, last); err != nil {
			return hookError("body filter", err)
		}
	}
	if len(piece) == 0 {
		return nil
	}
	_, err = dst.Write(piece, nil, nil, t.idle)
	return tunnelError("write", err)
}

// A tunnelReader reads pieces from one side. While it waits it holds no
// buffer: idle WebSockets are many.
type tunnelReader struct {
	src  *netio.Conn
	step func() bool // receive, bound once
	buf  *bytebuf.Buf
	err  error
}

// next returns what has arrived in a buffer that the caller releases.
func (r *tunnelReader) next(t *tunnel) (*bytebuf.Buf, error) {
	for {
		now := netio.Now()
		idle := now.Sub(time.Unix(0, t.last.Load()))
		if t.idle > 0 {
			left := max(t.idle-idle, time.Millisecond)
			r.src.EnsureRead(now, left/2, left)
		} else {
			r.src.ArmRead(time.Time{}) // none that an earlier wait has left
		}
		r.buf, r.err = nil, nil
		err := r.src.Loop(r.step)
		if err == nil {
			err = r.err
		}
		switch {
		case err == nil:
			return r.buf, nil
		case err == io.EOF:
			return nil, io.EOF
		case !netio.IsTimeout(err) || r.src.Killed():
			return nil, tunnelError("read", err)
		case t.idle > 0 && time.Since(time.Unix(0, t.last.Load())) >= t.idle:
			return nil, errTunnelIdle
		}
	}
}

func (r *tunnelReader) receive() (done bool) {
	buf := bytebuf.Get(bytebuf.Medium)
	n, err := r.src.Recv(buf.B[:cap(buf.B)])
	if err != nil {
		buf.Release()
		if err == netio.ErrAgain {
			return false
		}
		r.err = err
		return true
	}
	buf.B = buf.B[:n]
	r.buf = buf
	return true
}

func tunnelError(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := proxyerr.ReadFailed
	if netio.IsClosed(err) {
		kind = proxyerr.ConnClosed
	}
	return proxyerr.New(proxyerr.Downstream, kind, op+" tunnel", err)
}
