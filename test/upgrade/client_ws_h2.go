// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxyerr"
)

// WebSocketH2 is WebSocket on a stream of HTTP/2 (RFC 8441), of a connection that
// has no other.
func (c *Client) WebSocketH2(ctx context.Context, life time.Duration) {
	c.tls = c.tls.Clone()
	c.tls.NextProtos = []string{"h2"}
	c.webSocket(ctx, life, c.openStream)
}

// openStream opens a WebSocket by extended CONNECT. If the server says that it
// has not begun the stream, which it does by GOAWAY or REFUSED_STREAM when it is
// replaced, the stream is opened again, on a new connection, and counted.
func (c *Client) openStream() error {
	err := c.openStreamOnce()
	for again := 0; again < 3 && errors.Is(err, proxyerr.StreamRefused); again++ {
		c.Tally.repeated.Add(1)
		c.close()
		err = c.openStreamOnce()
	}
	return err
}

func (c *Client) openStreamOnce() error {
	if err := c.dial(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn.SetDeadline(time.Time{})
	if p := c.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "h2" {
		return fmt.Errorf("protocol %q", p)
	}
	cfg := http2.Config{}.WithDefaults()
	conn := http2.NewClientConn(c.conn, &cfg, "https")
	s := conn.NewStream(nil, patience, patience)
	c.conn = &streamConn{Conn: c.conn, conn: conn, stream: s}
	c.in.Reset(c.conn)
	head := header.Request{Method: "CONNECT", Target: "/ws", Length: header.UnknownLength}
	head.SetHost("test")
	head.Fields.Set("Sec-WebSocket-Version", "13")
	var res header.Response
	err := errors.Join(s.WriteHead(&head, "websocket", false, false), s.Flush())
	if err == nil {
		err = s.ReadHead(&res)
	}
	if err == nil && res.Status != 200 {
		err = fmt.Errorf("status %d", res.Status)
	}
	if err != nil {
		return err
	}
	s.StartTunnelReads(patience)
	s.StartTunnelWrites(patience)
	return nil
}

// A streamConn is the tunnel through a stream. The stream has deadlines of its
// own.
type streamConn struct {
	net.Conn
	conn   *http2.ClientConn
	stream *http2.ClientStream
	unread []byte
	last   bool
}

func (c *streamConn) Read(p []byte) (n int, err error) {
	for len(c.unread) == 0 {
		if c.last {
			return 0, io.EOF
		}
		if c.unread, c.last, err = c.stream.ReadBody(); err != nil {
			return 0, err
		}
	}
	n = copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func (c *streamConn) Write(p []byte) (int, error) {
	if err := errors.Join(c.stream.WriteBody(p, false), c.stream.Flush()); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *streamConn) SetDeadline(time.Time) error { return nil }

func (c *streamConn) Close() error {
	c.stream.Kill()
	c.conn.Kill()
	return nil
}
