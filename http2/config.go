// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Config configures connections of either role. The zero Config is ready to
// use. It must not be modified once a connection uses it.
type Config struct {
	// MaxStreams is how many streams a peer may have open at a time. Zero
	// means 100; at most 10,000. Requests whose client has reset them count
	// as long as they are still handled, against twice as many. For a client
	// it bounds the streams that it opens itself, if the server does not set a
	// lower limit.
	MaxStreams int

	// MaxHeaderBytes limits a decoded header list: the sum of names, values
	// and 32 bytes per field (RFC 9113 section 10.5.1). Zero means 64 KiB.
	// At least 1024, at most 1 MiB.
	MaxHeaderBytes int

	// MaxFields limits the fields of a header list, each crumb of a cookie
	// counting as one. Zero means 100.
	MaxFields int

	// MaxTargetBytes limits the target of a request, in bytes. A longer one is
	// answered with 414. Zero means 16 KiB.
	MaxTargetBytes int

	// MaxContinuations limits the CONTINUATION frames of one header block.
	// Zero means 16.
	MaxContinuations int

	// StreamWindow is how much unread data a stream may hold at first, in
	// bytes. It grows to MaxStreamWindow while the reader keeps up. Zero
	// means 64 KiB; at least that, as less cannot be enforced from the start.
	StreamWindow int

	// MaxStreamWindow is how far the window of a stream may grow, in bytes, as
	// far as that of the connection leaves room for other streams.
	// Zero means 1 MiB; at most 16 MiB.
	MaxStreamWindow int

	// ConnWindow is how much unread data all streams of a connection may
	// hold together at first, in bytes. It grows to MaxConnWindow while their
	// readers keep up. Zero means 1 MiB; at least 64 KiB, at most 64 MiB.
	ConnWindow int

	// MaxConnWindow is how far the window of a connection may grow, in bytes.
	// Zero means 4 MiB, or ConnWindow if that is more; at most 64 MiB.
	MaxConnWindow int

	// MaxResets is how many streams may end within 10 seconds by RST_STREAM
	// of the peer, or of ours for a mistake of the peer, unless they are less
	// than half of all streams. Beyond that a server closes the connection; a
	// client opens no more streams on it and lets the others finish. Zero
	// means 200.
	MaxResets int

	// MaxGlitches is how many oddities a connection may show within 10
	// seconds: frames that nobody needs, such as empty DATA, SETTINGS,
	// PRIORITY and unknown frames, and PING and WINDOW_UPDATE beyond what the
	// data that it receives can be a reason for. Zero means 1000.
	MaxGlitches int

	// IdleTimeout closes a connection that has had no stream for so long.
	// Zero means 75 seconds; negative means never.
	IdleTimeout time.Duration

	// HeadTimeout bounds the wait for the preface, the first SETTINGS and
	// the acknowledgement of ours, and from the beginning of a header block,
	// or of any frame on a connection without streams, to its end. Zero means
	// 10 seconds; negative means no limit.
	HeadTimeout time.Duration

	// ReadTimeout bounds each wait of a stream for more of a body or, on a
	// client, for a response head. Zero means 60 seconds; negative means no
	// limit.
	ReadTimeout time.Duration

	// MinBodyRate is how many bytes per second of a request body a server has
	// to get on average. Only the time in which a stream waits for its client
	// counts, from the first byte of the body to the head of the response, and
	// not while unread data of other streams fills most of the connection's
	// window. There are 5 seconds of grace, and what has come is good for a
	// minute at most. A client that is slower is answered with 408. CONNECT and
	// gRPC calls, by their content type, may be as slow as they like within
	// ReadTimeout. Zero means 240; negative means no limit.
	MinBodyRate int

	// WriteTimeout bounds each wait in which nothing can be written, be it for
	// the peer's window or the socket. All waits of a stream together may last
	// longer by one second for each 240 bytes that the peer takes: less than
	// that is no progress, but in a tunnel. Zero means 60 seconds; negative
	// means no limit.
	WriteTimeout time.Duration

	// PingInterval is how often a connection with streams is probed when
	// nothing arrives; without an answer within PingTimeout it is closed.
	// Zero and negative mean never. A client also probes, whatever this is,
	// when a stream has waited in vain and nothing at all has arrived
	// meanwhile; until something does, the connection takes no more streams.
	PingInterval time.Duration

	// PingTimeout bounds the wait for the answer to a probe. Zero means 5
	// seconds.
	PingTimeout time.Duration

	// MaxAge closes a connection in good order after so long, or up to a
	// tenth sooner, so that connections that began together do not end
	// together. Streams that are open then finish. Zero means 1 hour; negative
	// means never.
	MaxAge time.Duration

	// Draining, if not nil, reports whether the process is ending.
	Draining func() bool

	// OnReject, if not nil, is told of requests that no handler has seen,
	// with the status that says what is wrong with them: 400, for which the
	// client gets RST_STREAM, 414, 417 or 431. Status 0
	// stands for a connection that a server has ended for what its client did;
	// CodeOf has its code.
	OnReject func(c *ServerConn, status int, err error)

	// OnClose, if not nil, is told why a connection ended, nil for a good
	// end.
	OnClose func(err error)
}

// WithDefaults returns c with every zero field replaced by its default.
func (c Config) WithDefaults() Config {
	c.MaxStreams = cmp.Or(c.MaxStreams, 100)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 64<<10)
	c.MaxFields = cmp.Or(c.MaxFields, 100)
	c.MaxTargetBytes = cmp.Or(c.MaxTargetBytes, 16<<10)
	c.MaxContinuations = cmp.Or(c.MaxContinuations, 16)
	c.StreamWindow = max(cmp.Or(c.StreamWindow, 64<<10), defaultWindow)
	c.MaxStreamWindow = max(cmp.Or(c.MaxStreamWindow, 1<<20), c.StreamWindow)
	c.ConnWindow = max(cmp.Or(c.ConnWindow, 1<<20), defaultWindow)
	c.MaxConnWindow = max(cmp.Or(c.MaxConnWindow, 4<<20), c.ConnWindow)
	c.MaxResets = cmp.Or(c.MaxResets, 200)
	c.MaxGlitches = cmp.Or(c.MaxGlitches, 1000)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 75*time.Second)
	c.HeadTimeout = cmp.Or(c.HeadTimeout, 10*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, time.Minute)
	c.MinBodyRate = cmp.Or(c.MinBodyRate, 240)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.PingTimeout = cmp.Or(c.PingTimeout, 5*time.Second)
	c.MaxAge = cmp.Or(c.MaxAge, time.Hour)
	if c.Draining == nil {
		c.Draining = func() bool { return false }
	}
	if c.OnReject == nil {
		c.OnReject = func(*ServerConn, int, error) {}
	}
	if c.OnClose == nil {
		c.OnClose = func(error) {}
	}
	return c
}

// Validate returns every problem with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	check := func(name string, got, low, high int) {
		if got != 0 && (got < low || got > high) {
			errs = append(errs, fmt.Errorf("http2: %s is %d, want %d to %d", name, got, low, high))
		}
	}
	check("MaxStreams", c.MaxStreams, 1, 10_000)
	check("MaxHeaderBytes", c.MaxHeaderBytes, 1024, 1<<20)
	check("MaxFields", c.MaxFields, 1, 10_000)
	check("MaxTargetBytes", c.MaxTargetBytes, 256, 1<<20)
	check("MaxContinuations", c.MaxContinuations, 1, 1000)
	check("StreamWindow", c.StreamWindow, defaultWindow, 16<<20)
	check("MaxStreamWindow", c.MaxStreamWindow, defaultWindow, 16<<20)
	check("ConnWindow", c.ConnWindow, defaultWindow, 64<<20)
	check("MaxConnWindow", c.MaxConnWindow, defaultWindow, 64<<20)
	check("MaxResets", c.MaxResets, 1, 1<<20)
	check("MaxGlitches", c.MaxGlitches, 1, 1<<20)
	return errors.Join(errs...)
}

// defaultWindow is the initial window of streams and connections before any
// SETTINGS or WINDOW_UPDATE (RFC 9113 section 6.9.2).
const defaultWindow = 65535
