// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/belay-proxy/belay/proxyerr"
)

// errClientGone is the cause of everything that ends because the client left.
var errClientGone = errors.New("client closed the connection")

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
	gone   func() bool

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil after end
	wait  time.Duration
}

func newClientContext(gone func() bool) *clientContext {
	c := &clientContext{gone: gone, wait: firstLook}
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
	if c.gone() {
		c.cancel(errClientGone)
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
	if x.client == nil {
		gone := x.down.ClientGone
		if x.proxy.cfg.AllowHalfClose {
			gone = func() bool { return false }
		}
		x.client = newClientContext(gone)
	}
	return x.client
}

// WhileWaiting implements http1.Watcher: it ends a wait for the peer if the
// client has left. While the body is still arriving, its reader notices.
func (x *exchange) WhileWaiting() error {
	switch {
	case x.conn.killed.Load():
		x.waitErr = proxyerr.New(proxyerr.Internal, proxyerr.Canceled, "wait for peer", errors.New("shutting down"))
	case x.uploading != nil && !x.uploading.finished():
		x.waitErr = x.uploading.clientError()
	case !x.proxy.cfg.AllowHalfClose && x.down.ClientGone():
		x.waitErr = proxyerr.New(proxyerr.Downstream, proxyerr.ConnClosed, "wait for peer", errClientGone)
	}
	return x.waitErr
}

// clientLeft replaces an error that came from the client's context.
func (x *exchange) clientLeft(err error) error {
	if x.client != nil && context.Cause(x.client) == errClientGone {
		return proxyerr.New(proxyerr.Downstream, proxyerr.ConnClosed, "connect to peer", errClientGone)
	}
	return err
}
