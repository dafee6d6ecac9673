// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// A Handler serves the connections that a listener has accepted. *proxy.Proxy
// is one.
type Handler interface {
	// ServeConn serves c until it ends, and closes it.
	ServeConn(c net.Conn)

	// Shutdown ends idle connections, lets busy ones finish what is in hand,
	// and returns when all are gone. When ctx ends first, it closes those
	// that are left and returns ctx's error.
	Shutdown(ctx context.Context) error
}

// A Parker is a Handler that need not keep a goroutine for a connection on which
// nothing happens.
type Parker interface {
	Handler

	// ServeOrPark is ServeConn, but it may return while c is idle, and go on
	// with it on another goroutine when something has come. When c has ended
	// and is closed it calls ended: once, even if it panics.
	ServeOrPark(c net.Conn, ended func())
}

// TLS is a Handler that secures connections and passes them on to another. It
// stands between a listener and a proxy:
//
//	secure, err := listener.NewTLS(listener.TLSConfig{Certificates: store}, p)
//	…
//	srv.Listen("https", secure, listener.Config{Addr: ":443"})
//
// The other handler gets each connection as a *tls.Conn, when its handshake is
// over. The connection that its NetConn returns has two methods more: JA4() string
// returns the fingerprint of what the client offered, and Serves(host string)
// bool reports whether a request for host may be answered on the connection. It
// may not if the policy of host is another one than that of the name which the
// client has asked for; the right answer is 421 then (RFC 9110 section 15.5.20),
// and *proxy.Proxy gives it.
type TLS struct {
	cfg      TLSConfig
	handler  Handler
	parker   Parker // handler, if it is one
	policies *tlsPolicies
	root     *tls.Config   // chooses the policy
	turns    chan struct{} // has an element for each handshake that computes; nil for no limit

	stats tlsCounters

	draining atomic.Bool
	mu       sync.Mutex
	conns    int                    // being served; guarded by mu
	shaking  map[*tlsLower]struct{} // handshakes under way; guarded by mu
	killing  bool                   // Shutdown has run out of time; guarded by mu
	gone     chan struct{}          // closed when conns becomes 0, nil if nobody waits; guarded by mu
}

type tlsCounters struct {
	done, resumed, failed, late atomic.Int64
}

// TLSStats are counts since the start of a TLS handler.
type TLSStats struct {
	Handshakes int64 // that succeeded
	Resumed    int64 // of these, those that went on with an earlier session
	Failed     int64 // that failed
	TimedOut   int64 // of these, those that took too long
	Pending    int   // under way now
}

// NewTLS returns a handler that secures connections and passes them on.
func NewTLS(cfg TLSConfig, handler Handler) (*TLS, error) {
	if handler == nil {
		return nil, errors.New("listener: TLS: there is no handler")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &TLS{cfg: cfg.withDefaults(handler), handler: handler, shaking: make(map[*tlsLower]struct{})}
	t.parker, _ = handler.(Parker)
	t.policies = newTLSPolicies(&t.cfg)
	t.root = &tls.Config{GetConfigForClient: t.choose, MinVersion: tls.VersionTLS12}
	if n := t.cfg.MaxHandshakes; n > 0 {
		t.turns = make(chan struct{}, n)
	}
	if t.cfg.KeyLog != nil {
		t.cfg.Logger.Warn("the secrets of TLS connections are written to a key log")
	}
	return t, nil
}

// Stats returns the counts so far.
func (t *TLS) Stats() TLSStats {
	t.mu.Lock()
	pending := len(t.shaking)
	t.mu.Unlock()
	return TLSStats{
		Handshakes: t.stats.done.Load(),
		Resumed:    t.stats.resumed.Load(),
		Failed:     t.stats.failed.Load(),
		TimedOut:   t.stats.late.Load(),
		Pending:    pending,
	}
}

// choose returns the configuration for a client, when its first message has
// been read.
func (t *TLS) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	l := hello.Conn.(*tlsLower)
	l.policy = t.policies.find(hello.ServerName)
	l.ja4 = ja4(hello)
	return l.policy.current(), nil
}

// ServeConn shakes hands with the client and has the other handler serve it.
func (t *TLS) ServeConn(raw net.Conn) {
	defer t.end()
	if tc := t.secure(raw); tc != nil {
		t.handler.ServeConn(tc)
	}
}

// ServeOrPark is ServeConn, but if the other handler is a Parker, the connection
// needs no goroutine while it is idle.
func (t *TLS) ServeOrPark(raw net.Conn, ended func()) {
	tc, over := t.secureOrEnd(raw, ended)
	switch {
	case tc == nil:
	case t.parker != nil:
		t.parker.ServeOrPark(tc, over)
	default:
		defer over()
		t.handler.ServeConn(tc)
	}
}

// secureOrEnd is secure. If that fails or panics it calls over, which does what
// is to be done when the connection has ended.
//
//go:noinline
func (t *TLS) secureOrEnd(raw net.Conn, ended func()) (tc *tls.Conn, over func()) {
	over = func() {
		t.end()
		ended()
	}
	defer func() {
		if tc == nil {
			over()
		}
	}()
	return t.secure(raw), over
}

// secure shakes hands with the client. It returns nil if that fails; the
// connection has been ended then.
//
// It is not part of ServeConn, so that what it needs on the stack is free
// again while the connection is served.
//
//go:noinline
func (t *TLS) secure(raw net.Conn) *tls.Conn {
	l := &tlsLower{Transport: netio.NewTransport(raw), tls: t, shaking: true}
	t.begin(l)
	tc := tls.Server(l, t.root)
	err := t.handshake(tc, l)
	t.over(l)
	if err == nil {
		err = l.SetDeadline(time.Time{}) // only now: Shutdown no longer sets one
	}
	if err != nil {
		t.refuse(raw, err)
		return nil
	}
	t.stats.done.Add(1)
	if tc.ConnectionState().DidResume {
		t.stats.resumed.Add(1)
	}
	return tc
}

// handshake shakes hands, within the timeout. It does so on a goroutine of its
// own: the deep stack that it takes is free again when that ends, while the
// one that serves the connection stays small for as long as it is idle.
func (t *TLS) handshake(tc *tls.Conn, l *tlsLower) error {
	done := make(chan error, 1)
	go func() { // ends with the handshake, at the latest when its deadline passes or over closes the connection
		done <- t.shake(tc, l)
	}()
	return <-done
}

func (t *TLS) shake(tc *tls.Conn, l *tlsLower) (err error) {
	defer func() {
		l.yield()
		l.shaking = false
		if p := recover(); p != nil { // in a callback
			t.cfg.Logger.Error("TLS handshake panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return tc.Handshake()
}

// drainGrace is how long a handshake under way may go on once Shutdown has
// been called.
const drainGrace = 2 * time.Second

// begin notes that a connection is being served, and sets its deadline.
func (t *TLS) begin(l *tlsLower) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns++
	t.shaking[l] = struct{}{}
	limit := t.cfg.HandshakeTimeout
	if t.draining.Load() && (limit < 0 || limit > drainGrace) {
		limit = drainGrace // as hasten, which this connection may have missed
	}
	if limit > 0 {
		l.deadline = time.Now().Add(limit)
		l.SetDeadline(l.deadline)
	}
	if t.killing {
		l.Conn.Close()
	}
}

// over notes that a handshake is.
func (t *TLS) over(l *tlsLower) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.shaking, l)
}

// end notes that a connection is no longer served.
func (t *TLS) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns--; t.conns == 0 && t.gone != nil {
		close(t.gone)
		t.gone = nil
	}
}

// refuse ends a connection whose handshake has failed. The alert has been sent.
func (t *TLS) refuse(raw net.Conn, err error) {
	t.stats.failed.Add(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.stats.late.Add(1)
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
		raw.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(raw, plainAnswer)
	}
	raw.Close()
	t.cfg.Logger.Debug("TLS handshake failed", "client", raw.RemoteAddr().String(), "err", err)
}

// plainAnswer is for clients that speak HTTP without TLS.
const plainAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 21\r\nConnection: close\r\n\r\n" +
	"HTTPS is spoken here\n"

// looksLikeHTTP reports whether what came instead of TLS is the start of an
// HTTP request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "PRI *":
		return true
	}
	return false
}

// Retire passes on that another process serves new connections already, if
// the other handler wants to know.
func (t *TLS) Retire(idle time.Duration) {
	if h, ok := t.handler.(interface{ Retire(time.Duration) }); ok {
		h.Retire(idle)
	}
}

// Shutdown shuts the other handler down. Handshakes under way have two more
// seconds, and the connections that come from them serve one request each.
func (t *TLS) Shutdown(ctx context.Context) error {
	t.draining.Store(true)
	t.hasten()
	inner := make(chan error, 1)
	go func() { inner <- t.handler.Shutdown(ctx) }() // returns soon after ctx ends
	if t.wait(ctx) {
		return <-inner
	}
	t.kill()
	t.wait(context.WithoutCancel(ctx))
	<-inner
	return ctx.Err()
}

// hasten shortens the time of handshakes under way.
func (t *TLS) hasten() {
	t.mu.Lock()
	defer t.mu.Unlock()
	soon := time.Now().Add(drainGrace)
	for l := range t.shaking {
		if l.deadline.IsZero() || soon.Before(l.deadline) {
			l.SetDeadline(soon)
		}
	}
}

// kill ends the handshakes under way.
func (t *TLS) kill() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.killing = true
	for l := range t.shaking {
		l.Conn.Close()
	}
}

// wait waits until no connection is left. It returns false if ctx ended first.
func (t *TLS) wait(ctx context.Context) bool {
	t.mu.Lock()
	if t.conns == 0 {
		t.mu.Unlock()
		return true
	}
	if t.gone == nil {
		t.gone = make(chan struct{})
	}
	gone := t.gone
	t.mu.Unlock()
	select {
	case <-gone:
		return true
	case <-ctx.Done():
		return false
	}
}
