// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/proxyerr"
)

// sendRequest sends the head and the body of the request. A body that is all
// here goes with the head and is written by relayResponse's first read; one
// that is still arriving is sent by a goroutine of its own from here on.
func (x *exchange) sendRequest() error {
	head := &x.head
	if x.opensTunnel() {
		return x.up.WriteHead(head, x.upgrading, false, x.up.Proto() != header.HTTP2)
	}
	hasBody := x.down.Request().Length != 0
	if x.bodyErr != nil {
		return x.bodyErr // what is left of the body is not the body
	}
	if !hasBody && head.Length < 0 {
		head.Length = 0
	}
	if err := x.up.WriteHead(head, x.upgrading, x.trailersOK, !hasBody); err != nil || !hasBody {
		return err
	}
	if !x.bodyReady && x.down.BodyComplete() && x.replay.empty() {
		// The piece stays valid: nobody reads from the connection again
		// before the exchange is over.
		piece, _, err := x.down.ReadBody()
		if err != nil {
			return err
		}
		x.body, x.bodyReady = piece, true
	}
	if x.bodyReady {
		return x.sendPiece(x.body, true)
	}
	if err := x.up.Flush(); err != nil {
		return err
	}
	x.startUpload()
	return nil
}

// sendPiece passes a piece of request body through the filter to the peer.
func (x *exchange) sendPiece(piece []byte, last bool) (err error) {
	if f := x.phases.requestBodyFilter; f != nil {
		if piece, err = f(&x.session, piece, last); err != nil {
			return hookError("RequestBodyFilter", err)
		}
	}
	if last {
		if t := x.down.Trailers(); t.Len() > 0 {
			x.cleanTrailers(t)
			if err := x.up.WriteBody(piece, false); err != nil {
				return err
			}
			return x.up.WriteTrailers(t)
		}
	}
	return x.up.WriteBody(piece, last)
}

// An upload is a request body on its way while the response may already be
// coming back.
type upload struct {
	x         *exchange
	done      chan struct{}
	lastPiece atomic.Bool // is about to be sent
	stopping  atomic.Bool
	failed    atomic.Pointer[uploadError]
}

type uploadError struct{ err error }

func (u *upload) finished() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// clientError returns the error that makes waiting for the peer pointless: one
// of the client's or of a hook. That the peer takes no more is none: it may
// have answered already.
func (u *upload) clientError() error {
	if f := u.failed.Load(); f != nil && !isUpstream(f.err) {
		return f.err
	}
	return nil
}

func isUpstream(err error) bool {
	e, ok := errors.AsType[*proxyerr.Error](err)
	return ok && e.Source == proxyerr.Upstream
}

// startUpload starts the goroutine. It ends when the body has been sent, when
// either side fails, or by stopUpload, which waits for it.
func (x *exchange) startUpload() {
	u := &upload{x: x, done: make(chan struct{})}
	x.uploading = u
	go func() {
		defer close(u.done)
		err := x.guard(u.run)
		if err != nil && !u.stopping.Load() {
			u.failed.Store(&uploadError{err})
		}
		if err != nil && !isUpstream(err) && !u.stopping.Load() {
			// Wake up whoever waits for the peer: the request will never
			// be complete.
			x.up.Kill()
		}
	}()
}

// run sends what earlier attempts have sent, then the rest.
func (u *upload) run() error {
	x := u.x
	if !x.replay.empty() {
		last := x.replay.whole
		u.lastPiece.Store(last)
		if err := x.sendPiece(x.replay.bytes(), last); err != nil || last {
			return err
		}
		if err := x.up.Flush(); err != nil {
			return err
		}
	}
	for {
		if done, err := u.splice(); done || err != nil {
			return err
		}
		piece, last, err := x.down.ReadBody()
		if err != nil {
			return err
		}
		x.replay.add(piece, last, x.proxy.cfg.MaxReplayBytes)
		u.lastPiece.Store(last)
		if err := x.sendPiece(piece, last); err != nil || last {
			return err
		}
		if !x.down.BodyBuffered() {
			if err := x.up.Flush(); err != nil {
				return err
			}
		}
	}
}

// splice moves the rest of the body inside the kernel if both sides can and no
// attempt is going to send it again. done is false, and nothing has happened, if
// they cannot.
func (u *upload) splice() (done bool, err error) {
	x := u.x
	if !x.replay.lost || x.phases.requestBodyFilter != nil {
		return false, nil
	}
	d, c := bothHTTP1(x.down, x.up)
	if c == nil || !http1.CanSpliceRequest(c, d) {
		return false, nil
	}
	return true, http1.SpliceRequest(c, d, func() { u.lastPiece.Store(true) })
}

// lastPieceGrace is how long an upload may take to end when the response has
// been read: usually it has sent all and just not been scheduled since.
const lastPieceGrace = 20 * time.Millisecond

// stopUpload ends an upload that is still going on and waits for its
// goroutine. err is the outcome of the attempt.
func (x *exchange) stopUpload(err error) {
	u := x.uploading
	if u == nil {
		return
	}
	if !u.finished() && err == nil && u.lastPiece.Load() {
		select {
		case <-u.done:
		case <-time.After(lastPieceGrace):
		}
	}
	if !u.finished() {
		u.stopping.Store(true)
		x.down.InterruptReading()
		x.up.Kill()
		<-u.done
		x.down.ResumeReading()
	}
	x.uploading = nil
}

// A replay remembers what has been sent of a request body that is still
// arriving, so that a retry can send it again.
type replay struct {
	buf   *bytebuf.Buf
	lost  bool // there was more than fits
	whole bool // the last piece is in it
}

// empty reports whether nothing has been taken from the client yet.
func (r *replay) empty() bool { return r.buf == nil && !r.lost }

func (r *replay) bytes() []byte { return r.buf.B }

func (r *replay) add(piece []byte, last bool, limit int) {
	if r.lost {
		return
	}
	if r.buf == nil {
		r.buf = bytebuf.Get(max(min(limit, bytebuf.Large), 0))
	}
	if len(r.buf.B)+len(piece) > limit {
		r.release()
		r.lost = true
		return
	}
	r.buf.B = append(r.buf.B, piece...)
	r.whole = last
}

func (r *replay) release() {
	if r.buf != nil {
		r.buf.Release()
	}
	*r = replay{}
}
