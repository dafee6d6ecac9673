// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// A Client sends requests written out by the test and reads the responses
// strictly. It keeps one connection open, as long as the responses allow, and
// makes another when it needs one. It belongs to one goroutine; make one
// Client for each that sends.
type Client struct {
	t       testing.TB
	addr    string
	host    string
	proto   Protocol
	timeout time.Duration
	dial    func(ctx context.Context) (net.Conn, error)

	conn  *Conn // the connection in use, or nil
	conns int   // made so far
}

// A ClientOption changes how a test client behaves.
type ClientOption func(*Client)

// As makes the client speak p. The default is [H1].
func As(p Protocol) ClientOption { return func(c *Client) { c.proto = p } }

// Timeout bounds each request of the client and each wait for a response.
// Zero means 15 seconds.
func Timeout(d time.Duration) ClientOption { return func(c *Client) { c.timeout = d } }

// Host sets the Host field of requests that the client writes itself. The
// default is "origin.test".
func Host(name string) ClientOption { return func(c *Client) { c.host = name } }

// DialWith makes the client use f to connect: over TLS, for example.
func DialWith(f func(ctx context.Context) (net.Conn, error)) ClientOption {
	return func(c *Client) { c.dial = f }
}

// NewClient returns a client of the server at addr, which is "host:port", an
// "http://host:port" URL or "unix:" and a path. Its connections are closed
// when t ends.
func NewClient(t testing.TB, addr string, opts ...ClientOption) *Client {
	t.Helper()
	c := &Client{t: t, addr: strings.TrimPrefix(addr, "http://"), host: "origin.test", proto: H1}
	c.dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		network, address := splitAddr(c.addr)
		return d.DialContext(ctx, network, address)
	}
	for _, opt := range opts {
		opt(c)
	}
	if c.timeout == 0 {
		c.timeout = patience
	}
	if c.proto != H1 {
		t.Fatalf("proxytest: a client cannot speak %q", c.proto)
	}
	return c
}

// Get sends a GET request for target with the given fields, name and value in
// turn, and returns the response.
func (c *Client) Get(target string, fields ...string) *Response {
	return c.Do(c.Request("GET", target, "", fields...))
}

// Post sends a POST request with a body of known length and the given fields,
// name and value in turn, and returns the response.
func (c *Client) Post(target, body string, fields ...string) *Response {
	return c.Do(c.Request("POST", target, body, fields...))
}

// Request returns the bytes of an HTTP/1.1 request with a Host field, the
// given fields, name and value in turn, and, if there is a body, its
// Content-Length.
func (c *Client) Request(method, target, body string, fields ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, c.host)
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", fields[i], fields[i+1])
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return b.String() + "\r\n" + body
}

// Do sends raw, the bytes of one request, and returns the final response to
// it. It never returns nil: if the connection or the response fails, Err says
// how. It uses the connection of the request before if that may still be used,
// and does not repeat a request on another when that turns out to be closed.
// To go on after 101 (Switching Protocols), use Dial.
func (c *Client) Do(raw string) *Response {
	return c.Pipeline(raw)[0]
}

// Pipeline sends the requests in one write and returns their responses in
// order. Those after one that fails, or that ends the connection, have Err set
// as well.
func (c *Client) Pipeline(raw ...string) []*Response {
	if c.conn == nil {
		conn, err := c.connect()
		if err != nil {
			return failures(len(raw), err)
		}
		c.conn = conn
	}
	conn := c.conn
	sent := make(chan struct{})
	go func() { // so that an early answer is read while we still send
		defer close(sent)
		_ = conn.Send(strings.Join(raw, ""))
	}()
	var responses []*Response
	for _, request := range raw {
		res := conn.Response(methodOf(request))
		responses = append(responses, res)
		if !res.KeepAlive() {
			c.Close()
			break
		}
	}
	<-sent
	return append(responses, failures(len(raw)-len(responses), net.ErrClosed)...)
}

func failures(n int, err error) []*Response {
	var rs []*Response
	for range n {
		rs = append(rs, &Response{Err: err})
	}
	return rs
}

func methodOf(raw string) string {
	method, _, _ := strings.Cut(raw, " ")
	return method
}

// Dial opens a connection of its own, apart from the one that Do uses. It ends
// the test if it cannot.
func (c *Client) Dial() *Conn {
	c.t.Helper()
	conn, err := c.connect()
	if err != nil {
		c.t.Fatalf("proxytest: dial %s: %v", c.addr, err)
	}
	return conn
}

// Connections returns how many connections the client has made.
func (c *Client) Connections() int { return c.conns }

// Close closes the connection that Do uses.
func (c *Client) Close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *Client) connect() (*Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.conns++
	c.t.Cleanup(func() { _ = nc.Close() })
	return newConn(nc, c.conns, c.timeout), nil
}
