// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

// tunnel passes on the head that switches protocols and then relays bytes in
// both directions until both have ended, or nothing has moved for too long.
// Body filters see what passes.
//
// A peer may switch before it has the whole request, as RFC 9110 section 7.8
// lets it send 101 and go on reading. What is left of the body belongs before
// the switched bytes, so that direction waits for it. There is such a body only
// between two sides of HTTP/1: a CONNECT has none (see checkConnect), extended
// or not (RFC 8441 section 4), and makeUpgrade makes none of a request that has.
func (x *exchange) tunnel() error {
	if err := x.makeSwitch(); err != nil {
		return err
	}
	if err := x.filterHead(); err != nil {
		return err
	}
	x.hasResponse = true
	if err := x.writeSwitch(); err != nil {
		return err
	}
	x.tunneling = true
	t := &tunnel{x: x, idle: x.proxy.cfg.TunnelIdleTimeout}
	if err := x.down.StartTunnelWrites(t.idle); err != nil {
		return err
	}
	x.up.StartTunnelReads(t.idle)
	t.uploading.Store(x.uploading != nil)
	t.moved()
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.end(x.guard(t.copyUp))
	}()
	t.end(x.explain(x.guard(t.copyDown)))
	<-done
	switch {
	case t.err == nil, t.err == errTunnelIdle:
		return nil
	case x.conn.killed.Load():
		return killedError("tunnel")
	}
	x.down.Abort()
	return t.err
}

// writeSwitch sends the head. A client that still waits for 100 (Continue) gets
// that first, which its peer should have sent (RFC 9110 section 7.8).
func (x *exchange) writeSwitch() error {
	if x.uploading != nil {
		if err := x.down.WriteContinue(); err != nil {
			return err
		}
	}
	return x.down.WriteHead(&x.res, false)
}

// tunnelDownFilter returns the filter for bytes from the peer, nil if there is
// none.
func (x *exchange) tunnelDownFilter() bodyFilter {
	if x.phases.upstreamResponseBodyFilter == nil && x.phases.responseBodyFilter == nil {
		return nil
	}
	return func(_ *Session, piece []byte, last bool) ([]byte, error) { return x.filterBody(piece, last) }
}

// finishUpload waits for the rest of the request body to be sent.
func (x *exchange) finishUpload() error {
	u := x.uploading
	if u == nil {
		return nil
	}
	<-u.done
	if f := u.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// errTunnelIdle ends a tunnel on which nothing moves.
var errTunnelIdle = errors.New("tunnel idle")

// A tunnel is a pair of directions that share an idle time.
type tunnel struct {
	x    *exchange
	idle time.Duration // zero and negative mean no limit
	last atomic.Int64  // when something last moved, in Unix nanoseconds

	uploading atomic.Bool // the direction to the peer has not begun: see tunnel.copyUp

	failed sync.Once
	err    error       // the first failure; set by failed
	ending atomic.Bool // there has been a failure
}

// end notes how a direction has ended. The first failure ends the other
// direction too.
func (t *tunnel) end(err error) {
	if err != nil {
		t.failed.Do(func() { t.err = err })
		t.ending.Store(true)
		t.x.up.Kill()
		t.x.down.Kill()
	}
}

// copyUp is the direction to the peer. It waits for the request body, with the
// limits and timeouts of that.
func (t *tunnel) copyUp() error {
	x := t.x
	if err := x.finishUpload(); err != nil {
		return err
	}
	t.moved()
	t.uploading.Store(false)
	x.down.StartTunnelReads(t.idle)
	x.up.StartTunnelWrites(t.idle)
	return t.copy(x.up, x.down, x.phases.requestBodyFilter)
}

// copyDown is the direction to the client.
func (t *tunnel) copyDown() error { return t.copy(t.x.down, t.x.up, t.x.tunnelDownFilter()) }

// moved notes that the tunnel is in use.
func (t *tunnel) moved() { t.last.Store(netio.Now().UnixNano()) }

// tunnelEnd is one end of a tunnel.
type tunnelEnd interface {
	ReadBody() (piece []byte, last bool, err error)
	WriteBody(piece []byte, last bool) error
	Flush() error
}

// copy moves bytes from src to dst until src ends, and then ends that
// direction of dst.
func (t *tunnel) copy(dst, src tunnelEnd, filter bodyFilter) error {
	var failed error // not to read
	pass := func(piece []byte, last bool) error {
		failed = t.pass(dst, piece, last, filter)
		return failed
	}
	for {
		if err := readTunnel(src, pass); err == nil || failed != nil || !t.goesOn(err) {
			return err
		}
	}
}

// pass writes a piece to dst.
func (t *tunnel) pass(dst tunnelEnd, piece []byte, last bool, filter bodyFilter) (err error) {
	t.moved()
	if filter != nil {
		if piece, err = filter(&t.x.session, piece, last); err != nil {
			return hookError("body filter", err)
		}
	}
	if err := dst.WriteBody(piece, last); err != nil || last {
		return err
	}
	return dst.Flush()
}

// readTunnel passes the pieces from src to f until the last one, or an error.
// The streams of HTTP/1 do that with fewer system calls.
func readTunnel(src tunnelEnd, f func(piece []byte, last bool) error) error {
	if r, ok := src.(interface {
		ReadTunnel(func(piece []byte, last bool) error) error
	}); ok {
		return r.ReadTunnel(f)
	}
	for {
		piece, last, err := src.ReadBody()
		if err == nil {
			err = f(piece, last)
		}
		if err != nil || last {
			return err
		}
	}
}

// goesOn reports whether a read that failed may be tried again: it took too
// long, but the other direction has moved meanwhile, or is still to begin.
func (t *tunnel) goesOn(err error) bool {
	if !errors.Is(err, proxyerr.ReadTimeout) || t.ending.Load() || t.x.conn.killed.Load() {
		return false
	}
	if t.uploading.Load() {
		return t.x.uploading.failed.Load() == nil // otherwise that has ended the wait
	}
	quiet := netio.Now().Sub(time.Unix(0, t.last.Load()))
	if t.idle > 0 && quiet < t.idle*63/64 {
		return true
	}
	t.end(errTunnelIdle)
	return false
}
