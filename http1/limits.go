// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Limits bound what a peer can make a connection hold. The zero Limits is
// ready to use. No limit can be turned off.
type Limits struct {
	// MaxHeadBytes limits a head: start line, fields and the empty line, in
	// bytes. Zero means 64 KiB. At least 1024, at most 1 MiB.
	MaxHeadBytes int

	// MaxFields limits the number of field lines of a head, and of the
	// trailers. Zero means 100.
	MaxFields int

	// MaxTargetBytes limits a request target, in bytes. Zero means 16 KiB.
	// RFC 9112 section 3 asks for at least 8000.
	MaxTargetBytes int

	// MaxChunkExtBytes limits the chunk extensions of one chunk, in bytes.
	// All those of a body together may be twice as large, not counting of
	// each chunk what is no more than twice its data and 16 bytes: signatures
	// on large chunks pass however long the body is. Zero means 8 KiB.
	MaxChunkExtBytes int

	// MaxTrailerBytes limits the trailers of one body, in bytes. Zero means
	// 16 KiB.
	MaxTrailerBytes int
}

func (l Limits) withDefaults() Limits {
	l.MaxHeadBytes = cmp.Or(l.MaxHeadBytes, 64<<10)
	l.MaxFields = cmp.Or(l.MaxFields, 100)
	l.MaxTargetBytes = cmp.Or(l.MaxTargetBytes, 16<<10)
	l.MaxChunkExtBytes = cmp.Or(l.MaxChunkExtBytes, 8<<10)
	l.MaxTrailerBytes = cmp.Or(l.MaxTrailerBytes, 16<<10)
	return l
}

// Validate returns every problem with l, joined, or nil.
func (l Limits) Validate() error {
	var errs []error
	check := func(name string, got, low, high int) {
		if got != 0 && (got < low || got > high) {
			errs = append(errs, fmt.Errorf("http1: %s is %d, want %d to %d", name, got, low, high))
		}
	}
	check("MaxHeadBytes", l.MaxHeadBytes, 1024, 1<<20)
	check("MaxFields", l.MaxFields, 1, 10_000)
	check("MaxTargetBytes", l.MaxTargetBytes, 256, 1<<20)
	check("MaxChunkExtBytes", l.MaxChunkExtBytes, 1, 1<<20)
	check("MaxTrailerBytes", l.MaxTrailerBytes, 1, 1<<20)
	return errors.Join(errs...)
}

// ServerConfig configures server connections. The zero ServerConfig is ready
// to use. It must not be modified once a connection uses it.
type ServerConfig struct {
	Limits

	// HeadTimeout bounds the time from the first byte of a request head to
	// its last, and from the acceptance of a connection to the first byte.
	// Zero means 10 seconds; negative means no limit.
	HeadTimeout time.Duration

	// IdleTimeout is how long a connection may wait for its next request.
	// Zero means 75 seconds; negative means for ever.
	IdleTimeout time.Duration

	// ParkAfter is how long a connection must have been without a request
	// until ServerConn.ServeOrPark gives up its goroutine: that saves 4 KiB of
	// memory, and costs the next request some microseconds. Zero means
	// 2 seconds; negative means that it never does. Less than a millisecond
	// counts as one. Only Linux can.
	ParkAfter time.Duration

	// BodyTimeout bounds each wait for more of a request body. Zero means
	// 60 seconds; negative means no limit.
	BodyTimeout time.Duration

	// WriteTimeout bounds each wait for the client to take more of a
	// response. Zero means 60 seconds; negative means no limit.
	WriteTimeout time.Duration

	// MinBodyRate is how many bytes per second of a request body have to come
	// on average. Only the time that is spent waiting for the client counts,
	// from the first byte of the body to the head of the response. There are
	// 5 seconds of grace, and what has come is good for a minute at most. A
	// client that is slower is answered with 408. Zero means 240; negative
	// means no limit.
	MinBodyRate int

	// MinSendRate is likewise how many bytes per second of responses the
	// client has to take while the connection waits for it, with a minute of
	// grace. One that is slower is disconnected. Tunnels may be as slow as
	// they like. Zero means 240; negative means no limit.
	MinSendRate int

	// DrainTimeout bounds the reading of what the client is still sending
	// when the connection is about to be closed, so that the response is not
	// lost to a reset. Zero means 1 second; negative means that nothing is
	// read.
	DrainTimeout time.Duration

	// MaxDrainBytes is how much of that is read as fast as it comes, in bytes.
	// Behind it a piece is read now and then until the client closes or
	// DrainTimeout is over, so that its full window holds a fast client back.
	// A connection with more of the request body than that left is not kept.
	// Zero means 64 KiB; negative means that nothing is read.
	MaxDrainBytes int64

	// MaxRequests closes a connection after so many requests. Zero and
	// negative mean no limit.
	MaxRequests int

	// Preface makes Serve return, with the connection open, when a client
	// starts with the preface of HTTP/2; ServerConn.Preface then has what it
	// has sent.
	Preface bool

	// OnReject, if not nil, is told of requests that were malformed or did
	// not arrive in time, and so never became a stream.
	OnReject func(c *ServerConn, status int, err error)

	// Draining, if not nil, reports whether the process is ending:
	// responses then carry "Connection: close".
	Draining func() bool

	// Patience, if not nil, returns how long a connection without a request
	// in hand may stay, for one more request, once it is drained. Zero ends
	// it at once. It lets no request be lost that the client sends at the
	// moment in which the connection would be closed (RFC 9112 section 9.5).
	Patience func() time.Duration
}

// StreamLimits change limits of a ServerConfig for one request. Zero leaves
// what is configured; negative means what it means there.
type StreamLimits struct {
	BodyTimeout  time.Duration
	MinBodyRate  int
	WriteTimeout time.Duration
	MinSendRate  int
	DrainTimeout time.Duration // after the response to this request
	IdleTimeout  time.Duration // until the next request
}

// How long a client may be slower than MinBodyRate and MinSendRate. A client
// that takes nothing for a while is the business of WriteTimeout.
const (
	bodyGrace = 5 * time.Second
	sendGrace = time.Minute
)

// WithDefaults returns c with every zero field replaced by its default.
func (c ServerConfig) WithDefaults() ServerConfig {
	c.Limits = c.Limits.withDefaults()
	c.HeadTimeout = cmp.Or(c.HeadTimeout, 10*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 75*time.Second)
	if c.ParkAfter = cmp.Or(c.ParkAfter, 2*time.Second); c.ParkAfter > 0 {
		c.ParkAfter = max(c.ParkAfter, time.Millisecond) // a deadline that is over before the wait begins ends it
	}
	c.BodyTimeout = cmp.Or(c.BodyTimeout, time.Minute)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.MinBodyRate = cmp.Or(c.MinBodyRate, 240)
	c.MinSendRate = cmp.Or(c.MinSendRate, 240)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, time.Second)
	c.MaxDrainBytes = cmp.Or(c.MaxDrainBytes, 64<<10)
	if c.Draining == nil {
		c.Draining = func() bool { return false }
	}
	if c.Patience == nil {
		c.Patience = func() time.Duration { return 0 }
	}
	if c.OnReject == nil {
		c.OnReject = func(*ServerConn, int, error) {}
	}
	return c
}

// ClientConfig configures client connections. The zero ClientConfig is ready
// to use. It must not be modified once a connection uses it.
type ClientConfig struct {
	Limits

	// ReadTimeout bounds each wait for the origin to send something. Zero
	// means 60 seconds; negative means no limit.
	ReadTimeout time.Duration

	// WriteTimeout bounds each wait for the origin to take something. Zero
	// means 60 seconds; negative means no limit.
	WriteTimeout time.Duration

	// AllowInvalidContentLength treats a response with an unusable
	// Content-Length as ended by the close of the connection.
	AllowInvalidContentLength bool
}

// WithDefaults returns c with every zero field replaced by its default.
func (c ClientConfig) WithDefaults() ClientConfig {
	c.Limits = c.Limits.withDefaults()
	c.ReadTimeout = cmp.Or(c.ReadTimeout, time.Minute)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	return c
}
