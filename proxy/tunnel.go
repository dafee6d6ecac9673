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
func (x *exchange) tunnel() error {
	if err := x.makeSwitch(); err != nil {
		return err
	}
	if err := x.filterHead(); err != nil {
		return err
	}
	x.hasResponse = true
	// What is left of the request body belongs before the switched bytes.
	if err := x.finishUpload(); err != nil {
		return err
	}
	if err := x.down.WriteHead(&x.res, false); err != nil {
		return err
	}
	x.tunneling = true
	t := &tunnel{x: x, idle: x.proxy.cfg.TunnelIdleTimeout}
	t.last.Store(netio.Now().UnixNano())
	if err := x.down.StartTunnel(t.idle); err != nil {
		return err
	}
	x.up.StartTunnel(t.idle)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.end(x.guard(func() error { return t.copy(x.up, x.down, x.phases.requestBodyFilter) }))
	}()
	t.end(x.guard(func() error { return t.copy(x.down, x.up, x.tunnelDownFilter()) }))
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

// errTunnelIdle ends a tunnel on which nothing moves.
var errTunnelIdle = errors.New("tunnel idle")

// A tunnel is a pair of directions that share an idle time.
type tunnel struct {
	x    *exchange
	idle time.Duration // zero and negative mean no limit
	last atomic.Int64  // when something last moved, in Unix nanoseconds

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

// tunnelEnd is one end of a tunnel.
type tunnelEnd interface {
	ReadBody() (piece []byte, last bool, err error)
	WriteBody(piece []byte, last bool) error
	Flush() error
}

// copy moves bytes from src to dst until src ends, and then ends that
// direction of dst.
func (t *tunnel) copy(dst, src tunnelEnd, filter bodyFilter) error {
	for {
		piece, last, err := src.ReadBody()
		if err != nil {
			if t.goesOn(err) {
				continue
			}
			return err
		}
		t.last.Store(netio.Now().UnixNano())
		if filter != nil {
			if piece, err = filter(&t.x.session, piece, last); err != nil {
				return hookError("body filter", err)
			}
		}
		if err := dst.WriteBody(piece, last); err != nil {
			return err
		}
		if last {
			return nil
		}
		if err := dst.Flush(); err != nil {
			return err
		}
	}
}

// goesOn reports whether a read that failed may be tried again: it took too
// long, but the other direction has moved meanwhile.
func (t *tunnel) goesOn(err error) bool {
	if !errors.Is(err, proxyerr.ReadTimeout) || t.ending.Load() || t.x.conn.killed.Load() {
		return false
	}
	quiet := netio.Now().Sub(time.Unix(0, t.last.Load()))
	if t.idle > 0 && quiet < t.idle*63/64 {
		return true
	}
	t.end(errTunnelIdle)
	return false
}
