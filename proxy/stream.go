// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/upstream"
)

// downstream is one request from a client. The server streams of the HTTP
// versions implement it; nothing else here knows which it has. Reads and
// writes block, bounded by the timeouts of the connection. One goroutine may
// read while another writes.
type downstream interface {
	Request() *header.Request
	Upgrade() string
	ExpectsContinue() bool
	Nominates() bool // Connection lists names of fields

	BodyComplete() bool // the whole body is here; ReadBody will not wait
	BodyBuffered() bool // ReadBody will not wait this once
	ReadBody() (piece []byte, last bool, err error)
	Trailers() *header.Fields
	BodyReceived() int64
	SetLimits(http1.StreamLimits) // not while one reads or writes
	InterruptReading()
	ResumeReading()

	HeadSent() bool
	WriteContinue() error
	WriteHead(head *header.Response, last bool) error
	WriteBody(piece []byte, last bool) error
	WriteTrailers(*header.Fields) error
	Flush() error
	BytesSent() int64
	BodySent() int64

	CloseAfter()
	Abort()
	ClientGone() bool
	StartTunnelReads(idle time.Duration)        // ReadBody goes on with raw bytes, behind the body
	StartTunnelWrites(idle time.Duration) error // WriteBody does, behind the head
	Kill()                                      // makes all that fail; from any goroutine
}

// upstreamStream is one request to a peer.
type upstreamStream = upstream.Stream

var (
	_ downstream = (*http1.ServerStream)(nil)
	_ downstream = (*http2.ServerStream)(nil)
)

// spliceBody moves the rest of the response body inside the kernel if both
// sides can. done is false, and nothing has happened, if they cannot.
func spliceBody(down downstream, up upstreamStream) (done bool, err error) {
	d, u := bothHTTP1(down, up)
	if u == nil || !http1.CanSplice(d, u) {
		return false, nil
	}
	return true, http1.Splice(d, u)
}

// bothHTTP1 returns the streams themselves if both speak HTTP/1, otherwise nil.
func bothHTTP1(down downstream, up upstreamStream) (*http1.ServerStream, *http1.ClientConn) {
	d, ok := down.(*http1.ServerStream)
	if !ok {
		return nil, nil
	}
	u, ok := up.(*upstream.Conn)
	if !ok {
		return nil, nil
	}
	return d, u.ClientConn
}
