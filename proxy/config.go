// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/upstream"
)

// Config configures a Proxy. The zero Config is ready to use. A Config must
// not be modified after it has been passed to New.
type Config struct {
	// Downstream configures the connections of clients.
	Downstream Downstream

	// Connector makes and keeps the connections to peers. Nil means a new
	// one for this Proxy; programs with several share one.
	Connector *upstream.Connector

	// Forwarding says what a peer is told about the client.
	Forwarding Forwarding

	// MaxRetries is how many attempts may follow the first one of a request.
	// Zero means 3; negative means none.
	MaxRetries int

	// RetryBudget bounds the retries of requests that may have reached a
	// peer, so that a failing backend is not buried under them.
	RetryBudget RetryBudget

	// MaxReplayBytes is how much of a request body that is still arriving is
	// kept, so that it can be sent again. A longer body makes the request
	// final once part of it has been sent. Zero means 64 KiB; negative means
	// that nothing is kept.
	MaxReplayBytes int

	// TunnelIdleTimeout ends a tunnel (WebSocket, CONNECT) on which nothing
	// has moved in either direction for so long. Zero means 1 hour; negative
	// means no limit.
	TunnelIdleTimeout time.Duration

	// AllowHalfClose goes on with a request whose client has closed its
	// sending side. By default that counts as gone, as it cannot be told
	// from a client that has left.
	AllowHalfClose bool

	// Responder answers requests that the proxy itself fails or refuses. Nil
	// means DefaultResponder: a short text with the status.
	Responder func(s *Session, status int, err error) error

	// Logger receives errors and, at debug level, retries. Nil means
	// slog.Default.
	Logger *slog.Logger
}

// Downstream configures the connections of clients.
type Downstream struct {
	// HTTP1 has the limits and timeouts of HTTP/1 connections. Its OnReject
	// and Draining are the proxy's.
	HTTP1 http1.ServerConfig

	// HTTP2 has the limits and timeouts of HTTP/2 connections. Its OnReject
	// and Draining are the proxy's. Its MaxTargetBytes and MinBodyRate are those
	// of HTTP1 if they are zero.
	HTTP2 http2.Config

	// H2C also takes HTTP/2 without TLS, from clients that start with its
	// preface (RFC 9113 section 3.3). Connections over TLS agree on their
	// protocol by ALPN, whatever this says.
	H2C bool

	// AllowConnect passes CONNECT requests on to the peer and tunnels after
	// a successful answer. Otherwise they are answered with 405.
	AllowConnect bool

	// AllowTrace passes TRACE requests on, or answers them here if their
	// Max-Forwards says so. Otherwise they are answered with 405: a TRACE
	// shows what the proxies on the way have added.
	AllowTrace bool
}

// Forwarding says what a peer is told about the client. By default it gets
// X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host made by the proxy;
// what a client that is not trusted sends in these fields, in Forwarded, in
// X-Real-IP, and under names that differ from them only by "_" or "." for
// "-", is removed.
type Forwarding struct {
	// Trusted are the networks of proxies in front of this one. What a
	// client from there says about its own client is kept and added to.
	Trusted []netip.Prefix

	// TrustUnix trusts the clients of Unix sockets in the same way: who may
	// connect is decided by the permissions of the socket.
	TrustUnix bool

	// NoXForwarded leaves the X-Forwarded fields out.
	NoXForwarded bool

	// Forwarded adds a Forwarded field (RFC 7239).
	Forwarded bool

	// XRealIP sets X-Real-IP to the address of the client, or keeps that of
	// a trusted proxy.
	XRealIP bool

	// Via is the name that the proxy adds to the Via fields of requests and
	// responses (RFC 9110 section 7.6.3). Empty means that it adds none.
	Via string
}

// RetryBudget bounds the retries of all requests of a Proxy together. Retries
// after a connect failure, when nothing has been sent, are free.
type RetryBudget struct {
	// Percent is how many retries there may be per 100 requests, over the
	// last 10 seconds. Zero means 20; negative means none beyond MinPerSecond.
	Percent int

	// MinPerSecond is how many retries per second there may be in any case,
	// averaged over 10 seconds. Zero means 10; negative means none.
	MinPerSecond int
}

// Validate returns every problem with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	if v := c.Forwarding.Via; v != "" && (!header.ValidValue(v) || strings.ContainsAny(v, ", ")) {
		errs = append(errs, fmt.Errorf("proxy: Forwarding.Via is %q, want a token", v))
	}
	if c.RetryBudget.Percent > 1000 {
		errs = append(errs, fmt.Errorf("proxy: RetryBudget.Percent is %d, want at most 1000", c.RetryBudget.Percent))
	}
	if c.MaxRetries > 100 {
		errs = append(errs, fmt.Errorf("proxy: MaxRetries is %d, want at most 100", c.MaxRetries))
	}
	if c.MaxReplayBytes > 64<<20 {
		errs = append(errs, fmt.Errorf("proxy: MaxReplayBytes is %d, want at most %d", c.MaxReplayBytes, 64<<20))
	}
	errs = append(errs, c.Downstream.HTTP1.Validate(), c.Downstream.HTTP2.Validate())
	return errors.Join(errs...)
}

// withDefaults returns c with every zero field replaced by its default.
func (c Config) withDefaults() (Config, error) {
	if c.Connector == nil {
		connector, err := upstream.New(upstream.Config{})
		if err != nil {
			return c, err
		}
		c.Connector = connector
	}
	c.MaxRetries = cmp.Or(c.MaxRetries, 3)
	c.MaxReplayBytes = cmp.Or(c.MaxReplayBytes, 64<<10)
	c.TunnelIdleTimeout = cmp.Or(c.TunnelIdleTimeout, time.Hour)
	c.RetryBudget.Percent = cmp.Or(c.RetryBudget.Percent, 20)
	c.RetryBudget.MinPerSecond = cmp.Or(c.RetryBudget.MinPerSecond, 10)
	if c.Responder == nil {
		c.Responder = DefaultResponder
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}
