// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxyerr"
)

// The causes of everything that ends before its time.
var (
	errClientGone = errors.New("client closed the connection")
	errKilled     = errors.New("shutting down")
)

// killedError is the error of an exchange that Shutdown has ended.
func killedError(op string) error {
	return &proxyerr.Error{Source: proxyerr.Internal, Kind: proxyerr.Canceled, Op: op, Status: 503, Err: errKilled}
}

// The time between two looks whether the client is still there, while a
// context is in use.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = time.Second
)

// clientContext is a context that ends when the client goes away. A timer
// looks at the connection now and then, so that only requests that take long
// pay for it.
type clientContext struct {
	context.Context
	cancel context.CancelCauseFunc
	over   func() error // why it is over, nil as long as it is not

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil after end
	wait  time.Duration
}

func newClientContext(over func() error) *clientContext {
	c := &clientContext{over: over, wait: firstLook}
	c.Context, c.cancel = context.WithCancelCause(context.Background())
	c.mu.Lock()
	c.timer = time.AfterFunc(c.wait, c.look)
	c.mu.Unlock()
	return c
}

// look runs on the timer's goroutine. It holds mu, so that after end returns
// it does not touch the connection any more.
func (c *clientContext) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		return
	}
	if cause := c.over(); cause != nil {
		c.cancel(cause)
		return
	}
	c.wait = min(2*c.wait, lastLook)
	c.timer.Reset(c.wait)
}

func (c *clientContext) end() {
	c.mu.Lock()
	c.timer.Stop()
	c.timer = nil
	c.mu.Unlock()
	c.cancel(context.Canceled)
}

func (x *exchange) context() context.Context {
	x.clientMu.Lock()
	defer x.clientMu.Unlock()
	if x.client == nil {
		conn, down, halfClose := x.conn, x.down, x.proxy.cfg.AllowHalfClose
		x.client = newClientContext(func() error {
			switch {
			case conn.killed.Load():
				return errKilled
			case !halfClose && down.ClientGone():
				return errClientGone
			}
			return nil
		})
	}
	return x.client
}

// WhileWaiting implements http1.Watcher: it ends a wait for the peer if the
// client has left. While the body is still arriving, its reader notices, and
// the peer cannot be late.
func (x *exchange) WhileWaiting() error {
	switch {
	case x.conn.killed.Load():
		x.waitErr = killedError("wait for peer")
	case x.tunneling: // what looks gone may have closed its sending side only
	case x.uploading != nil && !x.uploading.finished():
		if x.waitErr = x.uploading.clientError(); x.waitErr == nil {
			return http1.ErrStillSending
		}
	case !x.proxy.cfg.AllowHalfClose && x.down.ClientGone():
		x.waitErr = proxyerr.New(proxyerr.Downstream, proxyerr.ConnClosed, "wait for peer", errClientGone)
	}
	return x.waitErr
}

// clientLeft replaces an error that came from the client's context.
func (x *exchange) clientLeft(err error) error {
	switch context.Cause(x.context()) {
	case errClientGone:
		return proxyerr.New(proxyerr.Downstream, proxyerr.ConnClosed, "connect to peer", errClientGone)
	case errKilled:
		return killedError("connect to peer")
	}
	return err
}
