// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// patience bounds each wait of a client. It is longer than anything takes on a
// busy machine.
const patience = 30 * time.Second

// A Client sends requests to one address, and checks all that comes back.
type Client struct {
	Addr  string // "host:port", "unix:" and a path, or "tls:host:port"
	Tally *Tally

	// Pause returns how long to wait before the next request.
	Pause func() time.Duration

	// Resumed reports whether the last TLS connection went on with an earlier
	// session.
	Resumed bool

	tls  *tls.Config
	from net.Addr // local address, nil: any
	name string
	rand *rand.Rand

	conn net.Conn // nil between connections
	in   *bufio.Reader
	used int // requests on conn
}

// NewClient returns a client with a number, from which its random choices and
// its local address follow.
func NewClient(number int, addr string, tally *Tally) *Client {
	c := &Client{Addr: addr, Tally: tally, rand: rand.New(rand.NewPCG(uint64(number), 1))}
	c.Pause = c.mixedPause
	c.tls = &tls.Config{
		InsecureSkipVerify: true, // who the server is, is not what is tested here
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if !strings.HasPrefix(addr, "unix:") {
		// Many short connections from one address would use up its ports.
		c.from = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(2+number%250))}
	}
	return c
}

// mixedPause returns mostly nothing, sometimes some milliseconds, and rarely
// long enough for a connection to be idle when the server is replaced.
func (c *Client) mixedPause() time.Duration {
	switch n := c.rand.IntN(1000); {
	case n < 900:
		return 0
	case n < 995:
		return time.Duration(c.rand.IntN(5000)) * time.Microsecond
	default:
		return time.Duration(100+c.rand.IntN(700)) * time.Millisecond
	}
}

func (c *Client) dial() error {
	d := net.Dialer{Timeout: patience, LocalAddr: c.from}
	network, addr := "tcp", strings.TrimPrefix(c.Addr, "tls:")
	if path, ok := strings.CutPrefix(c.Addr, "unix:"); ok {
		network, addr = "unix", path
	}
	conn, err := d.Dial(network, addr)
	if err != nil {
		return err
	}
	if strings.HasPrefix(c.Addr, "tls:") {
		conn.SetDeadline(time.Now().Add(patience))
		secure := tls.Client(conn, c.tls)
		if err := secure.Handshake(); err != nil {
			conn.Close()
			return fmt.Errorf("handshake: %w", err)
		}
		c.Resumed = secure.ConnectionState().DidResume
		conn = secure
	}
	c.conn, c.used = conn, 0
	if c.in == nil {
		c.in = bufio.NewReaderSize(conn, 16<<10)
	}
	c.in.Reset(conn)
	return nil
}

func (c *Client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// sleep waits for d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// exchange sends a request and returns the response; its body is still to be
// read. Connecting belongs to it.
func (c *Client) exchange(method, target, fields string, body []byte) (*http.Response, error) {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
	}
	c.conn.SetDeadline(time.Now().Add(patience))
	if !strings.Contains(fields, "Host:") {
		fields = "Host: test\r\n" + fields
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\n%s\r\n", method, target, fields)
	if _, err := c.conn.Write(append([]byte(head), body...)); err != nil {
		return nil, fmt.Errorf("write on a connection used %s: %w", c.times(), err)
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, fmt.Errorf("no answer on a connection used %s: %w", c.times(), err)
	}
	c.used++
	return res, nil
}

// times says how often the connection has been used, roughly.
func (c *Client) times() string {
	if c.used == 0 {
		return "never"
	}
	return "before"
}

// get gets a content and checks it.
func (c *Client) get(target, fields string, id, size uint64) error {
	res, err := c.exchange("GET", target, fields, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	if err := c.checkBody(res.Body, id, size); err != nil {
		return err
	}
	if res.Close {
		c.close()
	}
	return nil
}

// checkBody reads a body and compares it with the content.
func (c *Client) checkBody(body io.Reader, id, size uint64) error {
	got, want := make([]byte, 16<<10), make([]byte, 16<<10)
	for offset := uint64(0); ; {
		if c.conn != nil {
			c.conn.SetDeadline(time.Now().Add(patience))
		}
		n, err := body.Read(got)
		fill(want[:n], id, offset)
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("wrong byte after offset %d", offset)
		}
		offset += uint64(n)
		switch {
		case err == io.EOF && offset == size:
			return nil
		case err != nil:
			return fmt.Errorf("body ends after %d of %d bytes: %w", offset, size, err)
		}
	}
}

// attempt counts the outcome of one request. After a failure the next one uses
// a new connection.
func (c *Client) attempt(quick bool, f func() error) {
	began := time.Now()
	if err := f(); err != nil {
		c.close()
		c.Tally.fail(c.name, err)
		return
	}
	took := time.Duration(0)
	if quick {
		took = time.Since(began)
	}
	c.Tally.pass(c.name, took)
}

// KeepAlive uses a connection for many requests, until ctx ends.
func (c *Client) KeepAlive(ctx context.Context) {
	defer c.close()
	for ctx.Err() == nil {
		id, size := c.rand.Uint64()>>1, uint64(c.rand.IntN(2000))
		c.attempt(true, func() error { return c.get(fmt.Sprintf("/content/%d/%d", id, size), "", id, size) })
		sleep(ctx, c.Pause())
	}
}

// OneShot uses a connection for one request, until ctx ends.
func (c *Client) OneShot(ctx context.Context) {
	for ctx.Err() == nil {
		id, size := c.rand.Uint64()>>1, uint64(c.rand.IntN(2000))
		c.attempt(true, func() error {
			return c.get(fmt.Sprintf("/content/%d/%d", id, size), "Connection: close\r\n", id, size)
		})
		c.close()
		sleep(ctx, min(c.Pause(), 5*time.Millisecond))
	}
}

// Download reads long contents that come slowly, until ctx ends.
func (c *Client) Download(ctx context.Context) {
	defer c.close()
	for ctx.Err() == nil {
		id, size := c.rand.Uint64()>>1, uint64(1<<20+c.rand.IntN(1<<20))
		ms := 500 + c.rand.IntN(1500)
		c.attempt(false, func() error { return c.get(fmt.Sprintf("/slow/%d/%d/%d", id, size, ms), "", id, size) })
	}
}

// Upload sends bodies in slow pieces, until ctx ends.
func (c *Client) Upload(ctx context.Context) {
	defer c.close()
	for ctx.Err() == nil {
		c.attempt(false, func() error { return c.upload(ctx, 20, 64<<10, 20*time.Millisecond) })
	}
}

// upload sends one body of so many pieces.
func (c *Client) upload(ctx context.Context, pieces, size int, pause time.Duration) error {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	h := fnv.New64a()
	id, b := c.rand.Uint64(), make([]byte, size)
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(c.conn, "POST /sum HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n", pieces*size); err != nil {
		return fmt.Errorf("write on a connection used %s: %w", c.times(), err)
	}
	for i := range pieces {
		fill(b, id, uint64(i*size))
		h.Write(b)
		c.conn.SetDeadline(time.Now().Add(patience))
		if _, err := c.conn.Write(b); err != nil {
			return fmt.Errorf("write piece %d: %w", i, err)
		}
		sleep(ctx, pause)
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("no answer on a connection used %s: %w", c.times(), err)
	}
	c.used++
	got, err := io.ReadAll(res.Body)
	switch want := fmt.Sprintf("%d %x", pieces*size, h.Sum64()); {
	case err != nil:
		return fmt.Errorf("read answer: %w", err)
	case res.StatusCode != 200:
		return fmt.Errorf("status %d", res.StatusCode)
	case string(got) != want:
		return fmt.Errorf("answer %q, want %q", got, want)
	}
	if res.Close {
		c.close()
	}
	return nil
}

// Ready asks whether the server is ready, each time on a new connection, as
// those do who watch over servers, until ctx ends.
func (c *Client) Ready(ctx context.Context) {
	for ctx.Err() == nil {
		c.attempt(true, func() error {
			res, err := c.exchange("GET", "/readyz", "Host: localhost\r\nConnection: close\r\n", nil)
			if err != nil {
				return err
			}
			text, err := io.ReadAll(res.Body)
			if err == nil && res.StatusCode != 200 {
				err = fmt.Errorf("status %d, %q", res.StatusCode, text)
			}
			return err
		})
		c.close()
		sleep(ctx, 5*time.Millisecond)
	}
}
