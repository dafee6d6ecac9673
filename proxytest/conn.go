// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bufio"
	"io"
	"net"
	"time"
)

// A Conn is one connection of a [Client], for tests that care about single
// bytes. One goroutine may send while another reads.
type Conn struct {
	nc      net.Conn
	br      *bufio.Reader
	number  int
	timeout time.Duration
}

func newConn(nc net.Conn, number int, timeout time.Duration) *Conn {
	return &Conn{nc: nc, br: bufio.NewReader(nc), number: number, timeout: timeout}
}

// NetConn returns the connection itself, without what Conn has read ahead.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Send writes raw.
func (c *Conn) Send(raw string) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.timeout))
	_, err := io.WriteString(c.nc, raw)
	return err
}

// SendPieces writes each piece with a write of its own, with a pause before
// each but the first. With TCP_NODELAY, which Go sets, every piece leaves in a
// packet of its own.
func (c *Conn) SendPieces(pause time.Duration, pieces ...string) error {
	for i, piece := range pieces {
		if i > 0 && pause > 0 {
			time.Sleep(pause)
		}
		if err := c.Send(piece); err != nil {
			return err
		}
	}
	return nil
}

// Next reads the next response to a request with the given method: an
// informational (1xx) one too. It never returns nil.
func (c *Conn) Next(method string) *Response {
	_ = c.nc.SetReadDeadline(time.Now().Add(c.timeout))
	w := wire{br: c.br}
	res := w.response(method)
	res.Conn = c.number
	return res
}

// Response reads the final response to a request with the given method, which
// 101 (Switching Protocols) is too, and the informational ones before it. It
// never returns nil.
func (c *Conn) Response(method string) *Response {
	var informational []*Response
	for {
		res := c.Next(method)
		if !res.Complete || res.Status >= 200 || res.Status == 101 {
			res.Informational = informational
			return res
		}
		informational = append(informational, res)
	}
}

// ReadFull reads exactly n bytes, for use after 101 (Switching Protocols).
func (c *Conn) ReadFull(n int) (string, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(c.timeout))
	p := make([]byte, n)
	m, err := io.ReadFull(c.br, p)
	return string(p[:m]), err
}

// Rest reads until the other side ends the connection and returns what came.
// The error is nil if the connection was closed in good order.
func (c *Conn) Rest() (string, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(c.timeout))
	p, err := io.ReadAll(c.br)
	return string(p), err
}

// CloseWrite sends the end of the stream and goes on reading.
func (c *Conn) CloseWrite() error {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// Reset ends the connection with a reset.
func (c *Conn) Reset() { Reset(c.nc) }

// Close closes the connection.
func (c *Conn) Close() error { return c.nc.Close() }
