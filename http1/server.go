// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// A ServerConn is the server side of one connection.
type ServerConn struct {
	cfg    *ServerConfig
	io     *netio.Conn
	in     input
	handle func(*ServerStream)
	stream *ServerStream // the current one, nil while idle

	served    int       // requests
	idleSince time.Time // since when it waits for a request
	headStart time.Time // when the first part of an incomplete head came
	scanned   int       // bytes of that head which headEnd has looked at
	recvErr   error     // why receive ended
	early     []byte    // see Preface
	leaveBy   time.Time // end of a drained connection that waits for one more request

	// As configured, unless the current or last request has its own.
	idleTimeout, drainTimeout time.Duration
	ownLimits                 bool // it has

	next     verdict
	mayPark  bool // ServeOrPark was called, and it is possible
	looked   bool // nothing that has arrived is left, also in the buffers of TLS
	state    atomic.Int32
	draining atomic.Bool
}

// verdict says what Serve does next.
type verdict uint8

const (
	goOn         verdict = iota // wait for a request
	standBy                     // wait for one without a goroutine
	serveOutside                // serve the stream outside Loop
	hangUp                      // close
	hangUpGently                // close, but let the client read the answer first
	hangUpHard                  // close with a reset
	handOver                    // leave open: the client speaks HTTP/2
)

// The values of ServerConn.state. A connection is interrupted only from
// stateIdle, so that a request in hand never is.
const (
	stateIdle int32 = iota
	stateBusy
	stateInterrupting
	stateInterrupted
)

// freshGrace is how long a connection that has had no request yet may still
// send its first when the process drains, at least.
const freshGrace = time.Second

// NewServerConn returns a server connection on nc that passes each request to
// handle. cfg must come from WithDefaults. The stream is valid until handle
// returns.
func NewServerConn(nc net.Conn, cfg *ServerConfig, handle func(*ServerStream)) *ServerConn {
	c := &ServerConn{cfg: cfg, io: netio.New(nc), handle: handle}
	c.in.conn = c.io
	c.setDefaultLimits()
	return c
}

// setDefaultLimits makes the limits of the connection those of its
// configuration.
func (c *ServerConn) setDefaultLimits() {
	c.ownLimits = false
	c.idleTimeout, c.drainTimeout = c.cfg.IdleTimeout, c.cfg.DrainTimeout
	c.io.SetWritePace(netio.NewPace(c.cfg.MinSendRate, sendGrace))
}

// NetConn returns the underlying connection.
func (c *ServerConn) NetConn() net.Conn { return c.io.NetConn() }

// Requests returns the number of requests received so far. It may be called
// from handle and after Serve.
func (c *ServerConn) Requests() int { return c.served }

// Serve serves requests until the connection ends, and closes it.
func (c *ServerConn) Serve() { c.serveOrPark(nil) }

// ServeOrPark is Serve for callers that want to spare the goroutine of an idle
// connection. When there has been no request for ServerConfig.ParkAfter, it
// returns true, and the caller must not touch c any more, except for Drain and
// Kill, until it calls wake, on a new goroutine. That happens once, when there
// is something to do again; wake must call ServeOrPark. At the end of the
// connection ServeOrPark returns false.
func (c *ServerConn) ServeOrPark(wake func()) (parked bool) {
	c.mayPark = netio.CanPark && c.io.Raw() && c.cfg.ParkAfter > 0
	return c.serveOrPark(wake)
}

func (c *ServerConn) serveOrPark(wake func()) (parked bool) {
	if c.next == standBy {
		c.awake()
	} else {
		c.idleSince = netio.Now()
		c.armIdle(c.idleSince)
	}
	receive := c.receive
	for c.next == goOn {
		err := c.io.Loop(receive)
		if err == nil {
			err = c.recvErr
			c.recvErr = nil
		}
		switch {
		case err != nil:
			c.next = c.afterWait(err)
		case c.next == serveOutside:
			c.next = goOn
			c.serve()
			if c.next == goOn {
				c.resume()
			}
		}
		if c.next == standBy {
			if c.io.Park(c.idleEnd(), wake) {
				return true
			}
			c.next = goOn
			c.armPark(netio.Now(), parkAgain)
		}
	}
	c.close()
	return false
}

// lookTime is enough for Loop to look what has arrived: it does not if the
// deadline is over.
const lookTime = 50 * time.Millisecond

// parkAgain is the time until the next try when a connection could not be
// parked.
const parkAgain = time.Minute

// awake makes up for the time in which the connection was parked.
func (c *ServerConn) awake() {
	c.next = goOn
	now, end := netio.Now(), c.idleEnd()
	switch {
	case c.io.Idle() == netio.HasData:
		c.io.ArmRead(now.Add(lookTime)) // even if the time is over: the client cannot know
	case !end.IsZero() && !now.Before(end):
		c.io.ArmRead(end)
	default:
		c.armPark(now, c.cfg.ParkAfter)
	}
}

// armPark makes sure that the connection is parked after some time, unless it
// ends before that.
func (c *ServerConn) armPark(now time.Time, after time.Duration) {
	due := now.Add(after)
	if end := c.idleEnd(); !end.IsZero() && end.Before(due) {
		due = end
	}
	c.io.ArmRead(due)
}

// resume goes back to waiting after a stream that was served outside Loop.
func (c *ServerConn) resume() {
	c.looked = false
	if c.in.empty() {
		c.becomeIdle()
		return
	}
	c.armIdle(netio.Now()) // a deadline that the body left may have expired
}

// receive is the body of the Loop: it receives, parses and serves until there
// is nothing more to do without waiting (false) or the connection needs Serve
// (true).
func (c *ServerConn) receive() (done bool) {
	for {
		if !c.in.empty() {
			switch c.parse() {
			case headReady:
				if s := c.stream; !s.body.complete() || s.mayTunnel() {
					c.next = serveOutside
					return true
				}
				c.serve()
				if c.next != goOn {
					return true
				}
				if !c.in.empty() {
					continue // the next request came with this one
				}
				c.becomeIdle()
				if c.next != goOn || !c.in.full {
					c.looked = true
					return c.next != goOn
				}
			case headRefused:
				return true
			case headPartial:
			}
		}
		switch err := c.in.recv(bytebuf.Small); err {
		case nil:
		case netio.ErrAgain:
			c.in.release()
			c.looked = true
			return false
		default:
			c.recvErr = err
			return true
		}
	}
}

// What parse found.
type headState uint8

const (
	headPartial headState = iota
	headReady             // c.stream has it
	headRefused           // answered and c.next set
)

// parse looks for a request head in what has been received.
func (c *ServerConn) parse() headState {
	if c.stream == nil {
		c.stream = newServerStream(c)
	}
	s := c.stream
	b := c.in.unread()
	if c.cfg.Preface && c.served == 0 && len(b) > 0 && strings.HasPrefix(h2Preface, string(b[:min(len(b), len(h2Preface))])) {
		if len(b) < len(h2Preface) {
			c.armHead()
			return headPartial
		}
		c.next = handOver
		return headRefused
	}
	n, err := consumeRequestHead(b, c.scanned, &c.cfg.Limits, &s.req, &s.fr)
	switch {
	case err != nil:
		c.reject(err)
		return headRefused
	case n == 0:
		c.scanned = len(b)
		c.armHead()
		return headPartial
	}
	c.in.skip(n)
	c.scanned = 0
	c.headStart = time.Time{}
	c.becomeBusy()
	s.begin()
	return headReady
}

// h2Preface is what a client of HTTP/2 sends first (RFC 9113 section 3.4).
const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Preface returns what the client has sent, starting with the preface of
// HTTP/2, if Serve has returned for it, and otherwise nil. The connection is
// the caller's then.
func (c *ServerConn) Preface() []byte { return c.early }

// armHead makes sure that a partial head is given up in time.
func (c *ServerConn) armHead() {
	now := netio.Now()
	if c.headStart.IsZero() {
		c.headStart = now
	}
	due := time.Hour // some deadline is set: one that has expired must not stay
	if limit := c.cfg.HeadTimeout; limit > 0 {
		due = max(limit-now.Sub(c.headStart), time.Millisecond)
	}
	c.io.EnsureRead(now, due/2, due)
}

// serve hands the stream to the program and cleans up after it.
func (c *ServerConn) serve() {
	s := c.stream
	c.served++
	if s.body.done {
		c.in.release() // it is not needed while the request is served
	}
	c.handle(s)
	c.next = s.finish()
	c.stream = nil
	s.release()
}

// idleCheck is how soon an idle connection is looked at again. If its end
// arrived together with its last request there is no event for it (see package
// netio), so without this it would stay until IdleTimeout.
const idleCheck = time.Second

// becomeIdle prepares to wait for the next request.
func (c *ServerConn) becomeIdle() {
	c.in.release()
	c.idleSince = netio.Now()
	c.armIdle(c.idleSince)
	c.state.Store(stateIdle)
	if (c.draining.Load() || c.cfg.Draining()) && c.io.Idle() != netio.HasData {
		c.leave(c.idleSince)
	}
}

// leave ends a drained connection that has no request in hand: now, or when
// one more has not come in time.
func (c *ServerConn) leave(now time.Time) {
	patience := c.cfg.Patience()
	if c.served == 0 {
		patience = max(patience, freshGrace)
	}
	if patience <= 0 {
		c.next = hangUp
		return
	}
	c.leaveBy = now.Add(patience)
}

func (c *ServerConn) armIdle(now time.Time) {
	due := idleCheck
	if limit := c.idleLimit(); limit > 0 {
		due = min(due, limit)
	}
	if c.mayPark {
		due = min(due, c.cfg.ParkAfter)
	}
	c.io.EnsureRead(now, due/2, due)
}

// idleLimit returns how long the connection may stay without a byte of a
// request. Zero means for ever.
func (c *ServerConn) idleLimit() time.Duration {
	limit := c.idleTimeout
	if c.served == 0 {
		limit = c.cfg.HeadTimeout
	}
	return max(limit, 0)
}

// idleEnd returns when that time is over, zero for never.
func (c *ServerConn) idleEnd() time.Time {
	limit := c.idleLimit()
	if limit == 0 {
		return time.Time{}
	}
	return c.idleSince.Add(limit)
}

// afterWait decides what to do when a wait for a request ended with err.
func (c *ServerConn) afterWait(err error) verdict {
	if !netio.IsTimeout(err) || c.io.Killed() {
		return hangUp
	}
	now := netio.Now()
	if c.io.Interrupted() {
		return c.afterInterrupt(now)
	}
	partial := !c.in.empty()
	switch {
	case partial && c.headStart.IsZero(): // not looked at yet
		c.armIdle(now)
		return goOn
	case partial && c.cfg.HeadTimeout > 0 && now.Sub(c.headStart) >= c.cfg.HeadTimeout:
		if string(c.in.unread()) == crlf {
			return hangUp // the empty line that some clients send behind a body
		}
		c.reject(&parseError{408, "request head not complete in time"})
		return c.next
	case partial:
		c.armHead()
		return goOn
	case !c.leaveBy.IsZero() && !now.Before(c.leaveBy):
		if c.io.Idle() == netio.HasData {
			c.armIdle(now) // it came in the last moment
			return goOn
		}
		return hangUp
	}
	end, park := c.idleEnd(), c.idleSince.Add(c.cfg.ParkAfter)
	switch {
	case !c.leaveBy.IsZero():
		c.io.ArmRead(c.leaveBy)
	case !end.IsZero() && !now.Before(end):
		return hangUp
	case c.mayPark && !now.Before(park):
		if c.looked {
			return standBy
		}
		c.io.ArmRead(now.Add(lookTime))
	case c.mayPark && (end.IsZero() || park.Before(end)):
		c.io.ArmRead(park)
	default:
		c.io.ArmRead(end)
	}
	return goOn
}

// afterInterrupt decides what becomes of an idle connection when the process
// drains: it ends, unless a request is on its way.
func (c *ServerConn) afterInterrupt(now time.Time) verdict {
	for c.state.Load() == stateInterrupting {
		runtime.Gosched()
	}
	c.io.Resume()
	c.state.Store(stateIdle) // before Patience is read: a second Drain may change it
	switch {
	case !c.in.empty():
		c.armHead()
	case c.io.Idle() == netio.HasData:
		c.armIdle(now) // a request that crossed the Drain
	default:
		if c.leave(now); c.next == goOn {
			c.io.ArmRead(c.leaveBy)
		}
	}
	return c.next
}

// becomeBusy marks that a request is in hand. An Interrupt that came first is
// taken back.
func (c *ServerConn) becomeBusy() {
	if c.state.CompareAndSwap(stateIdle, stateBusy) || c.state.Load() == stateBusy {
		return
	}
	for c.state.Load() == stateInterrupting {
		runtime.Gosched()
	}
	if c.io.Interrupted() {
		c.io.Resume()
	}
	c.state.Store(stateBusy)
}

// Drain asks the connection to end: at once if it is idle, or after
// ServerConfig.Patience, otherwise after the request in hand. It may be called
// from any goroutine, and again when Patience has changed.
func (c *ServerConn) Drain() {
	c.draining.Store(true)
	if c.state.CompareAndSwap(stateIdle, stateInterrupting) {
		c.io.Interrupt()
		c.state.Store(stateInterrupted)
	}
}

// Kill makes all reads and writes on the connection fail, so that Serve
// returns soon. It may be called from any goroutine.
func (c *ServerConn) Kill() {
	c.draining.Store(true)
	c.io.Kill()
}

// reject answers a request that never became one, and hangs up.
func (c *ServerConn) reject(err error) {
	status := 400
	if pe, ok := errors.AsType[*parseError](err); ok {
		status = pe.status
	}
	c.cfg.OnReject(c, status, err)
	if c.cfg.Preface && c.served == 0 && err == errRequestLine {
		c.next = hangUp // neither version: an answer in one would puzzle the other
		return
	}
	s := c.stream
	if s == nil {
		s = newServerStream(c)
		c.stream = s
	}
	s.fr = framing{closes: true}
	s.req.Method = "GET"
	s.begin()
	s.keepAlive = false
	body := header.ErrorText(status)
	res := header.Response{Status: status, Length: int64(len(body))}
	res.Fields.AddValid("Content-Type", "text/plain; charset=utf-8")
	res.Fields.AddValid("Cache-Control", "no-store")
	if s.WriteHead(&res, false) == nil {
		s.WriteBody([]byte(body), true)
	}
	c.stream = nil
	s.release()
	c.next = hangUpGently
}

// lingerPause is the time between two pieces that linger reads behind
// MaxDrainBytes.
const lingerPause = 50 * time.Millisecond

// close ends the connection in the way that c.next says.
func (c *ServerConn) close() {
	if c.stream != nil {
		c.stream.release()
		c.stream = nil
	}
	switch {
	case c.next == handOver && !c.io.Killed():
		c.early = append(c.early, c.in.unread()...)
		c.in.drop()
		c.io.Resume()
		return
	case c.io.Killed(), c.next == hangUpHard:
		c.io.Abort()
	case c.next == hangUpGently:
		c.linger()
	}
	c.in.drop()
	c.io.Close()
}

// linger ends our direction and reads what the client is still sending, for a
// bounded time: closing a socket with unread data resets the connection, and
// the reset can overtake the answer (RFC 9112 section 9.6). Behind
// MaxDrainBytes it reads a piece now and then, no more than it takes to hear
// of the end: a fast client sends that much before it has seen the answer, and
// is held back by the full window instead of being cut off.
func (c *ServerConn) linger() {
	if c.drainTimeout <= 0 || c.cfg.MaxDrainBytes < 0 || c.io.CloseWrite() != nil {
		return
	}
	c.io.Resume()
	c.io.ArmRead(netio.Now().Add(c.drainTimeout))
	for total := int64(0); ; total += int64(c.in.w) {
		if total >= c.cfg.MaxDrainBytes {
			time.Sleep(lingerPause)
		}
		c.in.r, c.in.w = 0, 0
		if c.in.recv(bytebuf.Medium) != nil {
			return
		}
	}
}

// drainBody reads what is left of the request body, within limits. It reports
// whether the connection can take another request.
func (c *ServerConn) drainBody(b *bodyReader) bool {
	if c.drainTimeout <= 0 || b.kind == bodyFixed && b.left > c.cfg.MaxDrainBytes {
		return false
	}
	if c.io.Interrupted() {
		c.io.Resume()
	}
	deadline := netio.Now().Add(c.drainTimeout)
	for read := int64(0); read <= c.cfg.MaxDrainBytes; {
		b.timeout = time.Until(deadline)
		if b.timeout <= 0 {
			return false
		}
		piece, last, err := b.next()
		if err != nil {
			return false
		}
		if last {
			return true
		}
		read += int64(len(piece))
	}
	return false
}
