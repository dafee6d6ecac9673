// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
)

// A Stream carries one request to a peer and its response, over HTTP/1 on a
// connection of its own or over HTTP/2 on one that it shares. One goroutine
// may send the request, if it calls Flush itself, while another reads the
// response. Errors are *proxyerr.Error.
type Stream interface {
	// Proto returns the protocol version that is spoken to the peer.
	Proto() header.Proto
	// NetConn returns the underlying connection. Only its addresses may be
	// used.
	NetConn() net.Conn
	// Reused reports whether the connection has carried a request before.
	Reused() bool
	// DialTime returns how long it took to make the connection.
	DialTime() time.Duration

	// WriteHead sends the head of the request. upgrade, if not "", asks to
	// switch to one of these protocols. trailersOK passes on that the client
	// accepts trailers. last says that no body follows. Nothing need leave
	// before Flush, SendAndReadHead or the end of the body.
	WriteHead(head *header.Request, upgrade string, trailersOK, last bool) error
	WriteBody(piece []byte, last bool) error
	WriteTrailers(*header.Fields) error
	Flush() error

	// SendAndReadHead is Flush and then ReadHead, in one wait.
	SendAndReadHead(*header.Response) error
	// ReadHead reads an informational or the final response head.
	ReadHead(*header.Response) error
	// Nominates reports whether a Connection field of the response lists
	// names of fields.
	Nominates() bool
	// ReadBody returns the next piece of the response body, valid until the
	// next call, and whether it is the last.
	ReadBody() (piece []byte, last bool, err error)
	BodyBuffered() bool
	Trailers() *header.Fields
	BodyReceived() int64

	// StartTunnelReads makes ReadBody go on with raw bytes, after the response
	// that switches protocols. Each wait takes at most idle; zero and negative
	// mean no bound. The request may still be on its way.
	StartTunnelReads(idle time.Duration)
	// StartTunnelWrites is the same for WriteBody, once the whole request has
	// been written.
	StartTunnelWrites(idle time.Duration)

	// Kill makes everything on the stream fail. It may be called from any
	// goroutine.
	Kill()
	// Release ends the use of the stream. What it left clean can be used
	// again.
	Release(now time.Time)
	// Discard ends the use of the stream after a failure.
	Discard()
}

var (
	_ Stream = (*Conn)(nil)
	_ Stream = (*muxStream)(nil)
)

// Proto returns HTTP/1.1.
func (c *Conn) Proto() header.Proto { return header.HTTP11 }

// Open returns a stream to p without waiting: on an idle connection or a free
// place on a shared one. It returns nil if there is none; then Connect.
func (c *Connector) Open(p *Peer, watch http1.Watcher) Stream {
	http11, http2 := p.versions()
	if http2 {
		if s := c.muxes.take(p, watch); s != nil {
			c.stats.reused.Add(1)
			return s
		}
	}
	if http11 {
		if conn := c.Idle(p, watch); conn != nil {
			return conn
		}
	}
	return nil
}

// Connect returns a stream to p on a new connection, or on a shared one that
// has become free meanwhile. It waits as Dial does, and its errors are those.
// Requests that wait for the same dial share its error, unless it is that the
// request which dials is over.
func (c *Connector) Connect(ctx context.Context, p *Peer, watch http1.Watcher) (Stream, error) {
	if _, http2 := p.versions(); http2 {
		return c.connectShared(ctx, p, watch)
	}
	conn, err := c.Dial(ctx, p, watch)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// versions reports which versions of HTTP may be spoken to p. Without TLS there
// is no choice, and HTTP/2 takes prior knowledge (RFC 9113 section 3.3).
func (p *Peer) versions() (http11, http2 bool) {
	switch p.ALPN {
	case ALPNH2:
		return false, true
	case ALPNH2HTTP1:
		return true, p.TLS
	}
	return true, false
}
