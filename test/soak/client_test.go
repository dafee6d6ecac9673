// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/belay-proxy/belay/proxytest"
)

// patience bounds every wait of a client. Nothing takes as long.
const patience = 30 * time.Second

// A client runs steps, one after the other, each made of one random number
// generator: the same seed gives the same load. It reads responses with
// net/http, which knows nothing of the proxy.
type client struct {
	addr string
	rng  *rand.Rand

	nc net.Conn // nil if there is none
	br *bufio.Reader

	counts map[string]int // of steps done, by name
}

// A step is one kind of thing to do. It returns how many requests it took.
type step struct {
	name   string
	weight int
	do     func(*client) (requests int, err error)
}

var steps = []step{
	{"small", 48, func(c *client) (int, error) { return c.plain("GET", c.rng.IntN(2000)) }},
	{"large", 3, func(c *client) (int, error) { return c.plain("GET", 64<<10+c.rng.IntN(300<<10)) }},
	{"head", 5, func(c *client) (int, error) { return c.plain("HEAD", c.rng.IntN(2000)) }},
	{"post", 10, func(c *client) (int, error) { return c.post(c.rng.IntN(3000)) }},
	{"upload", 2, func(c *client) (int, error) { return c.post(50_000 + c.rng.IntN(200_000)) }},
	{"pipeline", 4, (*client).pipeline},
	{"upgrade", 2, (*client).upgrade},
	{"reset", 2, (*client).reset},
	{"short", 2, (*client).short},
	{"early", 1, (*client).early},
	{"malformed", 1, (*client).malformed},
	{"abort head", 2, (*client).abortHead},
	{"abort body", 2, (*client).abortBody},
	{"abort wait", 2, (*client).abortWait},
	{"abort response", 3, (*client).abortResponse},
}

// run does steps until quota requests have been made. stop ends it earlier.
func (c *client) run(quota int, stop func() bool) error {
	defer c.drop(false)
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	for n := 0; n < quota && !stop(); {
		k, at := c.rng.IntN(total), 0
		for k >= steps[at].weight {
			k -= steps[at].weight
			at++
		}
		s := steps[at]
		requests, err := s.do(c)
		if err != nil {
			return fmt.Errorf("%s (after %d requests): %w", s.name, n, err)
		}
		c.counts[s.name]++
		n += requests
	}
	return nil
}

// connect makes a connection, unless there is one.
func (c *client) connect() error {
	if c.nc != nil {
		return c.nc.SetDeadline(time.Now().Add(patience))
	}
	nc, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err
	}
	c.nc, c.br = nc, bufio.NewReader(nc)
	return nc.SetDeadline(time.Now().Add(patience))
}

// drop ends the connection.
func (c *client) drop(reset bool) {
	switch {
	case c.nc == nil:
		return
	case reset:
		proxytest.Reset(c.nc)
	default:
		_ = c.nc.Close()
	}
	c.nc = nil
}

// send writes raw at once or in a few pieces.
func (c *client) send(raw string) error {
	if err := c.connect(); err != nil {
		return err
	}
	for pieces := c.rng.IntN(3); pieces > 0 && len(raw) > 1; pieces-- {
		n := 1 + c.rng.IntN(len(raw)-1)
		if _, err := io.WriteString(c.nc, raw[:n]); err != nil {
			return err
		}
		raw = raw[n:]
	}
	_, err := io.WriteString(c.nc, raw)
	return err
}

// sendBeside is send on a goroutine of its own, for requests that may be
// answered before they have been read. The function it returns waits.
func (c *client) sendBeside(raw string) (wait func(), err error) {
	if err := c.connect(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	nc := c.nc
	go func() {
		defer close(done)
		_, _ = io.WriteString(nc, raw)
	}()
	return func() { <-done }, nil
}

// receive reads a final response.
func (c *client) receive(method string) (*http.Response, []byte, error) {
	for {
		res, err := http.ReadResponse(c.br, &http.Request{Method: method})
		if err != nil {
			return nil, nil, fmt.Errorf("head: %w", err)
		}
		if res.StatusCode < 200 && res.StatusCode != 101 {
			continue
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return res, body, fmt.Errorf("body of %d: %w", res.StatusCode, err)
		}
		if res.Close {
			c.drop(false)
		}
		return res, body, nil
	}
}

// verify reads the response to a request with this plan and body and checks
// every byte of it.
func (c *client) verify(method string, p plan, sent []byte) error {
	res, body, err := c.receive(method)
	switch want := content(p.seed, p.size); {
	case err != nil:
		return fmt.Errorf("%+v: %w", p, err)
	case res.StatusCode != 200:
		return fmt.Errorf("%+v: status %s %.80q", p, res.Status, body)
	case res.Header.Get("Checksum") != checksum(sent):
		return fmt.Errorf("%+v: the origin got body %s, want %s", p, res.Header.Get("Checksum"), checksum(sent))
	case method == "HEAD" && p.framing == "length" && res.ContentLength != int64(p.size):
		return fmt.Errorf("%+v: length %d of HEAD", p, res.ContentLength)
	case method != "HEAD" && !bytes.Equal(body, want):
		return fmt.Errorf("%+v: wrong body of %d bytes", p, len(body))
	case method != "HEAD" && p.framing == "chunked" && res.Trailer.Get("Sum") != checksum(want):
		return fmt.Errorf("%+v: trailer %q", p, res.Trailer.Get("Sum"))
	}
	return nil
}

// plan returns a plan that must succeed.
func (c *client) plan(size int) plan {
	return plan{size: size, seed: c.rng.Uint64(), framing: framings[c.rng.IntN(3)], fault: cleanFaults[c.rng.IntN(len(cleanFaults))]}
}

func request(method, target, fields string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: soak.test\r\n" + fields + "\r\n"
}

// withBody returns a request with a body in one of the two framings.
func (c *client) withBody(target string, body []byte) string {
	if c.rng.IntN(2) == 0 {
		return request("POST", target, fmt.Sprintf("Content-Length: %d\r\n", len(body))) + string(body)
	}
	var b strings.Builder
	b.WriteString(request("POST", target, "Transfer-Encoding: chunked\r\n"))
	for len(body) > 0 {
		n := 1 + c.rng.IntN(min(len(body), 20_000))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

func (c *client) plain(method string, size int) (int, error) {
	p := c.plan(size)
	if err := c.send(request(method, p.target(), "")); err != nil {
		return 0, err
	}
	return 1, c.verify(method, p, nil)
}

func (c *client) post(size int) (int, error) {
	p := c.plan(c.rng.IntN(2000))
	if p.fault == "hangup" {
		p.fault = "" // a connection that dies under a POST may cost it
	}
	body := content(c.rng.Uint64(), size)
	if err := c.send(c.withBody(p.target(), body)); err != nil {
		return 0, err
	}
	return 1, c.verify("POST", p, body)
}

func (c *client) pipeline() (int, error) {
	var plans []plan
	var raw strings.Builder
	for range 2 + c.rng.IntN(7) {
		p := c.plan(c.rng.IntN(500))
		plans = append(plans, p)
		raw.WriteString(request("GET", p.target(), ""))
	}
	if err := c.send(raw.String()); err != nil {
		return 0, err
	}
	for _, p := range plans {
		if err := c.verify("GET", p, nil); err != nil {
			return 0, err
		}
	}
	return len(plans), nil
}

func (c *client) upgrade() (int, error) {
	data := content(c.rng.Uint64(), 1+c.rng.IntN(30_000))
	p := plan{size: len(data), framing: "length", fault: "upgrade"}
	early := c.rng.IntN(len(data))
	if err := c.send(request("GET", p.target(), "Connection: Upgrade\r\nUpgrade: echo\r\n") + string(data[:early])); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(c.br, nil)
	if err != nil || res.StatusCode != 101 {
		return 0, fmt.Errorf("got %v, %v; want 101", res, err)
	}
	if c.rng.IntN(8) == 0 { // in the middle
		c.drop(c.rng.IntN(2) == 0)
		return 1, nil
	}
	if err := c.send(string(data[early:])); err != nil {
		return 0, err
	}
	echo, err := io.ReadAll(c.br) // the origin ends it
	c.drop(false)
	if err != nil || !bytes.Equal(echo, data) {
		return 0, fmt.Errorf("%d of %d bytes came back, %v", len(echo), len(data), err)
	}
	return 1, nil
}

// reset has an origin that resets at the first attempt: a GET is sent to
// another one, a POST is not.
func (c *client) reset() (int, error) {
	p := plan{size: c.rng.IntN(1000), seed: c.rng.Uint64(), framing: "length", fault: "reset"}
	if c.rng.IntN(2) == 0 {
		if err := c.send(request("GET", p.target(), "")); err != nil {
			return 0, err
		}
		return 1, c.verify("GET", p, nil)
	}
	if err := c.send(c.withBody(p.target(), content(p.seed, 1000))); err != nil {
		return 0, err
	}
	res, _, err := c.receive("POST")
	if err != nil || res.StatusCode != 502 {
		return 0, fmt.Errorf("got %v, %v; want 502", res, err)
	}
	return 1, nil
}

// short has an origin that ends before the response does: that must show.
func (c *client) short() (int, error) {
	// Not a body that ends with the connection: a Unix socket has no resets.
	p := plan{size: 1 + c.rng.IntN(100_000), seed: c.rng.Uint64(), framing: framings[c.rng.IntN(2)], fault: "short"}
	if err := c.send(request("GET", p.target(), "")); err != nil {
		return 0, err
	}
	res, body, err := c.receive("GET")
	c.drop(false)
	if err == nil && res.StatusCode != 502 {
		return 0, fmt.Errorf("%+v: %d of %d bytes looked like a whole response", p, len(body), p.size)
	}
	return 1, nil
}

// early has an origin that answers before it has read the body.
func (c *client) early() (int, error) {
	raw := c.withBody("/early", content(c.rng.Uint64(), 200_000+c.rng.IntN(200_000)))
	wait, err := c.sendBeside(raw)
	if err != nil {
		return 0, err
	}
	res, body, err := c.receive("POST")
	c.drop(false)
	wait()
	if err != nil || res.StatusCode != 413 || string(body) != "no\n" {
		return 0, fmt.Errorf("got %v %q, %v; want 413", res, body, err)
	}
	return 1, nil
}

func (c *client) malformed() (int, error) {
	bad := []string{
		"GET / HTTP/1.1\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "\x16\x03\x01\x00\x00",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	}
	if err := c.send(bad[c.rng.IntN(len(bad))]); err != nil {
		return 0, err
	}
	res, _, err := c.receive("GET")
	if err != nil || res.StatusCode != 400 || !res.Close {
		return 0, fmt.Errorf("got %v, %v; want 400 and close", res, err)
	}
	return 1, nil
}

// abort sends the start of raw and leaves.
func (c *client) abort(raw string, n int) (int, error) {
	if err := c.send(raw[:n]); err != nil {
		return 0, err
	}
	c.drop(c.rng.IntN(2) == 0)
	return 1, nil
}

func (c *client) abortHead() (int, error) {
	raw := request("GET", c.plan(100).target(), "")
	return c.abort(raw, 1+c.rng.IntN(len(raw)-2))
}

func (c *client) abortBody() (int, error) {
	raw := c.withBody(c.plan(100).target(), content(1, 10_000))
	head := strings.Index(raw, "\r\n\r\n") + 4
	return c.abort(raw, head+c.rng.IntN(len(raw)-head-1))
}

func (c *client) abortWait() (int, error) {
	raw := request("GET", c.plan(5000).target(), "")
	return c.abort(raw, len(raw))
}

func (c *client) abortResponse() (int, error) {
	p := c.plan(1 + c.rng.IntN(300_000))
	if err := c.send(request("GET", p.target(), "")); err != nil {
		return 0, err
	}
	_, err := io.CopyN(io.Discard, c.br, 1+c.rng.Int64N(int64(p.size)))
	c.drop(c.rng.IntN(2) == 0)
	if errors.Is(err, io.EOF) {
		return 0, errors.New("the response ended too early")
	}
	return 1, err
}
