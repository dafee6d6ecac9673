// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// An Origin is a server that answers as its options say and records what it
// receives. With no options it answers every request with 200 and an empty
// body, and keeps connections open. Its methods are safe for concurrent use.
type Origin struct {
	t    testing.TB
	conf originConfig
	addr string // "127.0.0.1:port" or "unix:" and a path

	mu         sync.Mutex
	listener   net.Listener       // nil while stopped; guarded by mu
	done       chan struct{}      // closed by Stop; guarded by mu
	open       map[*conn]struct{} // guarded by mu
	accepted   int                // guarded by mu
	received   int64              // bytes; guarded by mu
	requests   []RecordedRequest  // guarded by mu
	cut        []RecordedRequest  // guarded by mu
	violations []Violation        // guarded by mu
	changed    chan struct{}      // closed and replaced at each change of the above; guarded by mu

	wg sync.WaitGroup // the accept loop and every connection
}

// anyPort lets the system choose a port at the first Start.
const anyPort = "127.0.0.1:0"

// A Violation is input that is not a valid request.
type Violation struct {
	Conn  int    // number of the connection, from 1
	Index int    // of the request on that connection, from 1
	Raw   []byte // what had been read of the request
	Err   error  // a *SyntaxError
}

// String describes v for a failure message.
func (v Violation) String() string {
	return fmt.Sprintf("connection %d, request %d: %v in %.200q", v.Conn, v.Index, v.Err, v.Raw)
}

// NewOrigin starts an origin that stops when t ends.
func NewOrigin(t testing.TB, opts ...OriginOption) *Origin {
	t.Helper()
	o := &Origin{
		t:       t,
		conf:    originConfig{protocol: H1, status: 200, resetAfter: -1, closeAfter: -1, declared: -1},
		open:    make(map[*conn]struct{}),
		changed: make(chan struct{}),
	}
	for _, opt := range opts {
		opt(o)
	}
	switch {
	case o.conf.protocol != H1:
		t.Fatalf("proxytest: an origin cannot speak %q", o.conf.protocol)
	case o.conf.refuse:
		o.addr = closedPort(t)
		return o
	case o.conf.unix:
		o.addr = "unix:" + socketPath(t)
	default:
		o.addr = anyPort
	}
	o.Start()
	t.Cleanup(o.Stop)
	return o
}

// Addr returns where the origin listens, in the form that upstream.Peer takes:
// "127.0.0.1:port", or "unix:" and a path.
func (o *Origin) Addr() string { return o.addr }

// Start makes a stopped origin listen again, on the same address.
func (o *Origin) Start() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listener != nil || o.conf.refuse {
		return
	}
	l, err := net.Listen(splitAddr(o.addr))
	if err != nil {
		o.t.Fatalf("proxytest: start origin: %v", err)
	}
	if o.addr == anyPort {
		o.addr = l.Addr().String()
	}
	o.listener, o.done = l, make(chan struct{})
	done := o.done
	o.wg.Go(func() { o.accept(l, done) })
}

// Stop closes the listener and all connections and waits until nothing of the
// origin runs any more. What it has recorded remains. It may be called more
// than once.
func (o *Origin) Stop() {
	o.mu.Lock()
	if o.listener != nil {
		_ = o.listener.Close()
		close(o.done)
		o.listener = nil
	}
	for c := range o.open {
		_ = c.Conn.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

// Drop resets every open connection and goes on listening.
func (o *Origin) Drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.open {
		Reset(c)
	}
}

// accept runs until l is closed.
func (o *Origin) accept(l net.Listener, done <-chan struct{}) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := &conn{Conn: nc, origin: o, done: done}
		c.br = bufio.NewReader(c)
		stopped := false
		o.update(func() {
			select {
			case <-done: // Stop has already closed the others
				stopped = true
			default:
				o.accepted++
				c.number = o.accepted
				o.open[c] = struct{}{}
			}
		})
		if stopped {
			_ = nc.Close()
			return
		}
		o.wg.Go(func() {
			defer o.update(func() { delete(o.open, c) })
			defer nc.Close()
			c.serve()
		})
	}
}

// update runs f, which changes what mu guards, and wakes those who wait.
func (o *Origin) update(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	close(o.changed)
	o.changed = make(chan struct{})
}

// Requests returns the complete, valid requests received so far, in the order
// in which they ended.
func (o *Origin) Requests() []RecordedRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests)
}

// Cut returns the requests whose connection ended before they were complete.
// They were valid up to there.
func (o *Origin) Cut() []RecordedRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cut)
}

// Violations returns what was not a valid request. The origin answers it with
// 400 and closes the connection.
func (o *Origin) Violations() []Violation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.violations)
}

// Connections returns how many connections have been accepted.
func (o *Origin) Connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepted
}

// OpenConnections returns how many connections are open.
func (o *Origin) OpenConnections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open)
}

// BytesReceived returns how many bytes have been read from all connections,
// whatever they were.
func (o *Origin) BytesReceived() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.received
}

// Wait returns nil as soon as done reports true, and ctx's error if it ends
// before. done runs after each change of what the origin has recorded; it may
// call every other method but Start, Stop and Drop.
func (o *Origin) Wait(ctx context.Context, done func() bool) error {
	for {
		o.mu.Lock()
		changed := o.changed
		o.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitRequests waits until n requests have been received and returns them all.
// It ends the test if that takes unreasonably long.
func (o *Origin) WaitRequests(n int) []RecordedRequest {
	o.t.Helper()
	o.wait(fmt.Sprintf("%d requests", n), func() bool { return len(o.Requests()) >= n })
	return o.Requests()
}

// WaitConnections waits until n connections have been accepted in all.
func (o *Origin) WaitConnections(n int) {
	o.t.Helper()
	o.wait(fmt.Sprintf("%d connections", n), func() bool { return o.Connections() >= n })
}

// WaitOpen waits until exactly n connections are open.
func (o *Origin) WaitOpen(n int) {
	o.t.Helper()
	o.wait(fmt.Sprintf("%d open connections", n), func() bool { return o.OpenConnections() == n })
}

func (o *Origin) wait(what string, done func() bool) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if o.Wait(ctx, done) != nil {
		o.t.Fatalf("proxytest: origin has %d requests, %d connections, %d of them open, violations %v; want %s",
			len(o.Requests()), o.Connections(), o.OpenConnections(), o.Violations(), what)
	}
}

// record files a request under what became of it.
func (o *Origin) record(req RecordedRequest, raw []byte, err error) {
	syntax, malformed := errors.AsType[*SyntaxError](err)
	o.update(func() {
		switch {
		case err == nil:
			o.requests = append(o.requests, req)
		case malformed:
			o.violations = append(o.violations, Violation{req.Conn, req.Index, raw, syntax})
		case len(raw) > 0:
			o.cut = append(o.cut, req)
		}
	})
}

// A conn is a connection to an origin. Reads through it are counted.
type conn struct {
	net.Conn
	origin *Origin
	br     *bufio.Reader
	number int             // from 1
	done   <-chan struct{} // closed when the origin stops
}

// Read reads from the connection and counts.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.origin.mu.Lock()
	c.origin.received += int64(n)
	c.origin.mu.Unlock()
	return n, err
}

// sleep waits for d. It returns false if the origin stopped before.
func (c *conn) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
		return false
	}
}

// NetConn returns the connection as it was accepted.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Reset closes c so that the other side sees a reset rather than an orderly
// end. A connection that is not TCP is closed.
func Reset(c net.Conn) {
	inner := c
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok {
		inner = wrapped.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = inner.Close()
}

// splitAddr returns the network and address to listen on or dial.
func splitAddr(addr string) (network, address string) {
	const unix = "unix:"
	if len(addr) > len(unix) && addr[:len(unix)] == unix {
		return "unix", addr[len(unix):]
	}
	return "tcp", addr
}

// closedPort returns a loopback address that refuses connections until t
// ends. It is the local end of a connection: nobody listens there, and the
// system gives the port to nobody else.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("proxytest: listen: %v", err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("proxytest: dial: %v", err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatalf("proxytest: accept: %v", err)
	}
	t.Cleanup(func() { closeAll(near, far) })
	return near.LocalAddr().String()
}

func closeAll(closers ...io.Closer) {
	for _, c := range closers {
		_ = c.Close()
	}
}
