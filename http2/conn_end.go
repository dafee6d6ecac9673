// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// endLocked ends the connection with err, nil for a good end: all streams
// fail, what is pending is sent, a GOAWAY behind it unless the connection is
// broken already, and then the flusher ends.
func (c *conn) endLocked(err error) {
	if c.closing {
		return
	}
	if c.err == nil {
		c.err = err
	}
	var ce *connError
	code, why := NoError, ""
	if errors.As(err, &ce) {
		code, why = ce.code, ce.why
	} else if err != nil && err != io.EOF && !c.killed {
		c.broken = true
	}
	c.urgent = err != nil && err != io.EOF
	c.behind = c.behindLocked()
	if !c.broken {
		c.lastWordsLocked(code, why)
	}
	c.closing = true
	for _, s := range c.streams {
		s.failLocked(c.streamErr())
	}
	for _, s := range c.headWaiters {
		signal(s.writable)
	}
	c.wakeLocked()
	// Whoever is in the middle of a read or write stops soon.
	c.nc.SetReadDeadline(past)
	if c.urgent {
		c.nc.SetWriteDeadline(time.Now().Add(c.writeLimitLocked()))
	}
}

// lastWordsLocked adds the frames that end the connection. A client that is
// given time to take what it has got says by its answer to a PING that it has.
func (c *conn) lastWordsLocked(code ErrCode, why string) {
	b := c.outLocked(0)
	if c.asksLocked() {
		b.B = appendPing(b.B, 0, lastPing)
	}
	c.goAwaySent = min(c.goAwaySent, c.lastPeerID) // it never rises (RFC 9113 section 6.8)
	b.B = appendGoAway(b.B, c.goAwaySent, code, why)
}

// asksLocked reports whether the end waits for the answer to a PING.
func (c *conn) asksLocked() bool {
	_, ok := c.nc.(closeWriter)
	return ok && c.server && !c.urgent && c.err != io.EOF
}

// A closeWriter can end one direction of a connection.
type closeWriter interface{ CloseWrite() error }

var past = time.Unix(1, 0)

// What bounds the end of a connection: the sending of what is pending, and
// then the wait for the peer to close. A good end has as long as any write
// (WriteTimeout) while the peer may still have data to take.
const (
	lastWords = time.Second            // after an error
	lastGasp  = 100 * time.Millisecond // after Kill, or when the peer has everything
)

// writeLimitLocked returns how long a write may take, zero for no limit.
func (c *conn) writeLimitLocked() time.Duration {
	switch {
	case c.killed:
		return lastGasp
	case c.closing && c.urgent:
		return lastWords
	}
	return max(c.cfg.WriteTimeout, 0)
}

// maxLinger is how much is read at once, and thrown away, in the wait for the
// peer to close, in bytes. Behind it, a piece is read after each lingerPause: no
// more than it takes to hear of the end. A fast client is held back by the full
// window then, instead of being cut off.
const (
	maxLinger   = 256 << 10
	lingerPause = 50 * time.Millisecond
)

// finish closes the connection when the flusher has ended. A server gives the
// client the time to take the last words first: closing with data unread makes
// TCP discard what is still on its way (RFC 9112 section 9.6 has the same
// problem).
func (c *conn) finish() {
	nc, ok := c.nc.(closeWriter)
	c.mu.Lock()
	linger := ok && c.server && !c.broken && !c.killed
	asked, heard := linger && c.asksLocked(), c.lastHeard
	if linger {
		c.nc.SetReadDeadline(time.Now().Add(c.lingerLocked())) // kill may shorten it
	}
	c.mu.Unlock()
	if linger && nc.CloseWrite() == nil {
		switch {
		case !asked:
			c.awaitClose()
		case !heard:
			c.awaitLastPing()
		}
	}
	c.in.release()
	c.nc.Close()
}

// lingerLocked returns how long to wait for the client to close.
func (c *conn) lingerLocked() time.Duration {
	switch {
	case c.urgent:
		return lastWords
	case !c.behind:
		return lastGasp
	case c.cfg.WriteTimeout > 0:
		return c.cfg.WriteTimeout
	}
	return time.Minute
}

// behindLocked reports whether the peer may still have something to take: not
// if it has asked for nothing, has answered a PING that came behind it, or has
// had WriteTimeout.
func (c *conn) behindLocked() bool {
	if c.lastPeerID == 0 || c.drainHeard && !c.idleSince.After(c.drainedAt) {
		return false
	}
	return c.writing || c.out != nil || c.cfg.WriteTimeout <= 0 || time.Since(c.idleSince) <= c.cfg.WriteTimeout
}

// awaitClose reads until the client has closed, or the time is over.
func (c *conn) awaitClose() {
	b := bytebuf.Get(bytebuf.Medium)
	defer b.Release()
	for total := 0; ; {
		n, err := c.nc.Read(b.B[:cap(b.B)])
		if err != nil {
			return
		}
		total += n
		linger(total)
	}
}

// awaitLastPing reads until the client has taken everything, has closed, or
// the time is over.
func (c *conn) awaitLastPing() {
	total := 0
	c.in.fired = false
	c.in.look = func(time.Time) error { // before each read
		if c.in.fired {
			return errOver
		}
		linger(total)
		return nil
	}
	for {
		h, p, err := c.in.next()
		if err != nil || h.typ == framePing && h.has(flagAck) && bytes.Equal(p, lastPing) {
			return
		}
		total += frameHeaderLen + h.length
	}
}

// linger puts off the next read if total bytes are much for the wait for the
// peer to close.
func linger(total int) {
	if total >= maxLinger {
		time.Sleep(lingerPause)
	}
}

// outcome returns what OnClose is told.
func (c *conn) outcome() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == io.EOF {
		return nil
	}
	return c.err
}

// A lostError says that the connection below has failed.
type lostError struct{ err error }

func (e *lostError) Error() string { return "http2: connection lost: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// streamErr returns the error of streams on a connection that has ended.
func (c *conn) streamErr() error {
	switch err := c.err.(type) {
	case *connError, *GoAwayError:
		return err
	case nil:
		return io.ErrUnexpectedEOF
	default:
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return &lostError{err}
	}
}

// removeLocked forgets a stream that has ended on both sides.
func (c *conn) removeLocked(s *stream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if c.byPeer(s.id) {
		c.peerStreams--
	}
	c.waiting.remove(s)
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
		if c.draining && c.goAwaySent != maxStreamID || c.goneAway {
			c.endLocked(nil)
		}
	}
}

// drainPause is the longest time between the GOAWAY that asks the client to
// open no more streams and the one that says which have been taken: what it
// opened in between is served (RFC 9113 section 6.8). The answer to a PING
// behind the first, which says that the client has it, ends it.
const drainPause = time.Second

// The contents of our PING frames. Any frame answers a probe.
var (
	pingData  = []byte("belay   ") // a probe
	drainPing = []byte("draining")
	lastPing  = []byte("goodbye ")
)

// drainLocked asks the peer of a connection to end it. A server gives it a
// moment to hear of that; a client just opens no more streams.
func (c *conn) drainLocked() {
	if c.draining || c.closing {
		return
	}
	c.draining = true
	if c.server {
		c.drainedAt = time.Now()
		c.controlLocked(func(b []byte) []byte {
			return appendPing(appendGoAway(b, maxStreamID, NoError, ""), 0, drainPing)
		})
		time.AfterFunc(drainPause, c.drainNow)
		return
	}
	c.goAwaySent = 0
	if len(c.streams) == 0 {
		c.endLocked(nil)
	}
}

// drainNow sends the final GOAWAY, if it has not been sent.
func (c *conn) drainNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drainNowLocked()
}

func (c *conn) drainNowLocked() {
	if c.closing || c.goAwaySent != maxStreamID {
		return
	}
	if len(c.streams) == 0 {
		c.endLocked(nil) // sends one
		return
	}
	c.goAwaySent = c.lastPeerID
	c.controlLocked(func(b []byte) []byte { return appendGoAway(b, c.goAwaySent, NoError, "") })
}

// kill ends the connection and all its streams at once. A GOAWAY says so if
// that needs no waiting.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.writing {
		c.broken = true
	}
	c.killed = true
	c.endLocked(net.ErrClosed)
	c.nc.SetReadDeadline(past)
	if c.broken {
		c.nc.SetWriteDeadline(past)
	}
}

// quiet is what a reader knows of a connection on which nothing arrives.
type quiet struct {
	reads  int       // of the frameReader, when it was looked at last
	since  time.Time // nothing has arrived since
	pinged time.Time // a PING has been sent and nothing has arrived since; zero if not

	// A stream has waited in vain and nothing has arrived since: the
	// connection may be lost and takes no more streams until something does.
	suspect bool
}

// errNoPong ends a connection whose peer is silent. It is lost rather than to
// blame: nothing is sent on it any more, and requests may try another.
var errNoPong = errors.New("http2: no answer to PING")

// errOver is returned to the reader when the connection has ended or is to
// end, and there is nothing wrong.
var errOver = errors.New("http2: connection over")

// look is called by the reader before it waits, and again when something is
// due, and does that. An error ends the connection.
func (c *conn) look(now time.Time) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next time.Time
	due := func(since time.Time, limit time.Duration) bool {
		at := since.Add(limit)
		if limit <= 0 || since.IsZero() {
			return false
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
		return !at.After(now)
	}
	if !c.draining && due(c.started, c.maxAge) {
		c.drainLocked()
		next = time.Time{}
	}
	c.pingLocked(now)
	idle := len(c.streams) == 0 && c.reserved == 0
	if idle && len(c.free) > 1 {
		clear(c.free[1:])
		c.free = c.free[:1]
	}
	switch {
	case c.closing:
		err = errOver
	case (!c.peer.seen || !c.settingsAck) && due(c.started, c.cfg.HeadTimeout):
		err = &connError{SettingsTimeout, "no SETTINGS or no acknowledgement"}
	case c.block.open && due(c.block.since, c.cfg.HeadTimeout), idle && due(c.in.partial, c.cfg.HeadTimeout):
		err = &connError{EnhanceYourCalm, "frames not complete in time"}
	case idle && due(c.idleSince, c.cfg.IdleTimeout):
		err = errOver
	case due(c.quiet.pinged, c.cfg.PingTimeout):
		err = errNoPong
	}
	if c.restingLocked(now) {
		due(now, restInterval)
	}
	// Streams come and go while the reader waits, and do not wake it.
	due(now, c.cfg.IdleTimeout)
	if c.quiet.pinged.IsZero() {
		due(c.quiet.since, c.cfg.PingInterval)
	}
	if !c.closing {
		c.in.arm(next) // with mu held, so that endLocked has the last word
	}
	return err
}

// restingLocked ends goroutines that have had nothing to do for some time, so
// that an idle connection has one. It reports whether there are more, or may be.
func (c *conn) restingLocked(now time.Time) (more bool) {
	if now.Sub(c.lastRest) >= restInterval {
		c.lastRest = now
		if c.flushing && c.out == nil && c.flushes == c.lastFlushes && !c.closing {
			c.rest = true
			c.flushable.Signal()
		}
		c.lastFlushes = c.flushes
		c.restLocked()
	}
	return c.flushing || len(c.streams) > 0 || c.busyLocked()
}

// pingLocked probes a connection with streams on which nothing has arrived for
// some time.
func (c *conn) pingLocked(now time.Time) {
	interval, q := c.cfg.PingInterval, &c.quiet
	if q.reads != c.in.reads || q.since.IsZero() {
		*q = quiet{reads: c.in.reads, since: now}
	}
	switch {
	case interval <= 0 || now.Sub(q.since) < interval || !q.pinged.IsZero():
	case len(c.streams) == 0:
		q.since = now // whatever comes later is probed later
	default:
		c.probeLocked(now)
	}
}

func (c *conn) probeLocked(now time.Time) {
	c.quiet.pinged = now
	c.controlLocked(func(b []byte) []byte { return appendPing(b, 0, pingData) })
}

// suspectLocked is called when a stream has waited in vain for limit. If nothing
// at all has arrived meanwhile the connection is probed.
func (c *conn) suspectLocked(limit time.Duration) {
	now := time.Now()
	if c.closing || now.Sub(c.quiet.since) < limit {
		return
	}
	c.quiet.suspect = true
	if c.quiet.pinged.IsZero() {
		c.probeLocked(now)
		c.nc.SetReadDeadline(past) // the reader looks when the answer is due
	}
}

// isTimeout reports whether err is an expired deadline.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
