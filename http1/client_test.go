// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

// clientConfig is the default, with a limit on the wait for a test that hangs.
func clientConfig() ClientConfig {
	return ClientConfig{ReadTimeout: patience}.WithDefaults()
}

// newRequest returns a request with Host.
func newRequest(method, target string, length int64) *header.Request {
	r := &header.Request{Method: method, Target: target, Length: length}
	r.SetHost("h")
	return r
}

// origin runs script on the far end of a connection, in the background.
func origin(t testing.TB, nc net.Conn, script func(br *bufio.Reader, nc net.Conn)) {
	t.Helper()
	nc.SetDeadline(time.Now().Add(patience))
	var wg sync.WaitGroup
	wg.Go(func() { script(bufio.NewReader(nc), nc) })
	t.Cleanup(func() {
		nc.Close()
		wg.Wait()
	})
}

// readRequest reads a request and returns its head and body. It is called in
// scripts, and so reports errors in what it returns.
func readRequest(br *bufio.Reader) string {
	req, err := http.ReadRequest(br)
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %s %d %q %v", req.Method, req.RequestURI, req.ContentLength, body, req.Trailer)
}

// A received response is what a ClientConn has made of one.
type received struct {
	statuses string // of all heads
	body     string
	trailers string
	err      error
	reusable bool
}

// receive reads a response to its end.
func receive(c *ClientConn) (r received) {
	var res header.Response
	err := c.SendAndReadHead(&res)
	for ; err == nil; err = c.ReadHead(&res) {
		r.statuses += fmt.Sprint(res.Status, " ")
		if !res.Informational() || res.Status == 101 {
			break
		}
	}
	if r.err = err; err == nil && res.Status != 101 {
		var body []byte
		body, r.err = readBody(c.ReadBody)
		r.body = string(body)
		r.trailers = c.Trailers().String()
	}
	r.reusable = c.Reusable()
	return r
}

func TestClientConn(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, method, upgrade string
		in                    string
		want                  received
	}{
		{"length", "GET", "", ok + "Content-Length: 5\r\n\r\nhello", received{statuses: "200 ", body: "hello", reusable: true}},
		{"length zero", "GET", "", ok + "Content-Length: 0\r\n\r\n", received{statuses: "200 ", reusable: true}},
		{"chunked", "GET", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n", received{statuses: "200 ", body: "hello", trailers: "A: b\n", reusable: true}},
		{"until close", "GET", "", ok + "\r\nhello", received{statuses: "200 ", body: "hello"}},
		{"close", "GET", "", ok + "Content-Length: 5\r\nConnection: close\r\n\r\nhello", received{statuses: "200 ", body: "hello"}},
		{"1.0", "GET", "", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", received{statuses: "200 ", body: "hello"}},
		{"1.0 with keep-alive", "GET", "", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", received{statuses: "200 ", body: "hello", reusable: true}},
		{"1.0 until close with keep-alive", "GET", "", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello", received{statuses: "200 ", body: "hello"}},
		{"HEAD", "HEAD", "", ok + "Content-Length: 5\r\n\r\n", received{statuses: "200 ", reusable: true}},
		{"HEAD of chunked", "HEAD", "", ok + "Transfer-Encoding: chunked\r\n\r\n", received{statuses: "200 ", reusable: true}},
		{"204", "GET", "", "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", received{statuses: "204 ", reusable: true}},
		{"304", "GET", "", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", received{statuses: "304 ", reusable: true}},
		{"CONNECT", "CONNECT", "", ok + "Content-Length: 5\r\n\r\n", received{statuses: "200 "}},
		{"CONNECT refused", "CONNECT", "", "HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno", received{statuses: "403 ", body: "no"}},
		// What is behind the response belongs to nobody.
		{"more behind", "GET", "", ok + "Content-Length: 5\r\n\r\nhello!", received{statuses: "200 ", body: "hello"}},
		{"more behind chunks", "GET", "", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", received{statuses: "200 "}},
		{"body behind a 204", "GET", "", "HTTP/1.1 204 x\r\n\r\nhello", received{statuses: "204 "}},
		{"body behind a HEAD", "HEAD", "", ok + "Content-Length: 5\r\n\r\nhello", received{statuses: "200 "}},
		// Informational heads.
		{"100 and 103", "GET", "", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\nConnection: close\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nok", received{statuses: "100 103 200 ", body: "ok", reusable: true}},
		{"100 for HEAD", "HEAD", "", "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 2\r\n\r\n", received{statuses: "100 200 ", reusable: true}},
		{"too many", "GET", "", strings.Repeat("HTTP/1.1 103 x\r\n\r\n", 101) + ok + "\r\n", received{statuses: strings.Repeat("103 ", 100), err: proxyerr.BadMessage}},
		{"most", "GET", "", strings.Repeat("HTTP/1.1 103 x\r\n\r\n", 100) + ok + "Content-Length: 0\r\n\r\n", received{statuses: strings.Repeat("103 ", 100) + "200 ", reusable: true}},
		// 101.
		{"101", "GET", "echo", "HTTP/1.1 101 x\r\nUpgrade: Echo\r\nConnection: upgrade\r\n\r\nraw", received{statuses: "101 "}},
		{"101, one of two", "GET", "a, echo", "HTTP/1.1 101 x\r\nUpgrade: echo\r\n\r\n", received{statuses: "101 "}},
		{"101 unasked", "GET", "", "HTTP/1.1 101 x\r\nUpgrade: echo\r\n\r\n", received{err: proxyerr.BadMessage}},
		{"101 to another protocol", "GET", "echo", "HTTP/1.1 101 x\r\nUpgrade: other\r\n\r\n", received{err: proxyerr.BadMessage}},
		{"101 to none", "GET", "echo", "HTTP/1.1 101 x\r\n\r\n", received{err: proxyerr.BadMessage}},
		{"200 instead of 101", "GET", "echo", ok + "Content-Length: 2\r\n\r\nok", received{statuses: "200 ", body: "ok", reusable: true}},
		// Failures.
		{"nothing", "GET", "", "", received{err: proxyerr.ConnClosed}},
		{"part of a head", "GET", "", "HTTP/1.1 200", received{err: proxyerr.ConnClosed}},
		{"100 and nothing", "GET", "", "HTTP/1.1 100 Continue\r\n\r\n", received{statuses: "100 ", err: proxyerr.ConnClosed}},
		{"part of a body", "GET", "", ok + "Content-Length: 5\r\n\r\nhell", received{statuses: "200 ", body: "hell", err: proxyerr.ConnClosed}},
		{"part of chunks", "GET", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", received{statuses: "200 ", body: "hello", err: proxyerr.ConnClosed}},
		{"not HTTP", "GET", "", "220 ready\r\n", received{err: proxyerr.BadMessage}},
		{"malformed", "GET", "", ok + "A\r\n\r\n", received{err: proxyerr.BadMessage}},
		{"malformed chunk", "GET", "", ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n", received{statuses: "200 ", err: proxyerr.BadMessage}},
		{"ambiguous", "GET", "", ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", received{err: proxyerr.BadMessage}},
		{"too many fields", "GET", "", ok + strings.Repeat("A: b\r\n", 101) + "\r\n", received{err: proxyerr.TooLarge}},
		{"too large", "GET", "", ok + "A: " + strings.Repeat("x", 66_000), received{err: proxyerr.TooLarge}},
	}
	for _, tt := range tests {
		check := func(t *testing.T, how string, nc net.Conn) {
			c := NewClientConn(nc)
			defer c.Close()
			cfg := clientConfig()
			c.Begin(&cfg, nil)
			target := "/"
			if tt.method == "CONNECT" {
				target = "a:443"
			}
			if err := c.WriteHead(newRequest(tt.method, target, 0), tt.upgrade, false, true); err != nil {
				t.Fatalf("%s: WriteHead = %v", how, err)
			}
			got := receive(c)
			if e, ok := errors.AsType[*proxyerr.Error](got.err); ok && e.Source == proxyerr.Upstream {
				got.err = e.Kind
			}
			if got != tt.want {
				t.Errorf("%s: got %+v, want %+v", how, got, tt.want)
			}
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{0, 1, 2, 3, 100} {
				if strings.Contains(tt.name, "behind") && n > 0 {
					continue // Idle finds what comes later
				}
				if n == 0 || n == 100 || len(tt.in) < 10_000 {
					check(t, fmt.Sprintf("in pieces of %d", n), &scriptConn{pieces: pieces([]byte(tt.in), n)})
				}
			}
			nc, far := tcpPair(t)
			origin(t, far, func(br *bufio.Reader, nc net.Conn) {
				for { // to the end of the head
					if line, err := br.ReadString('\n'); err != nil || line == "\r\n" {
						break
					}
				}
				io.WriteString(nc, tt.in)
				nc.(*net.TCPConn).CloseWrite()
			})
			check(t, "over TCP", nc)
		})
	}
}

// One connection, many requests, of every framing.
func TestClientConnReuse(t *testing.T) {
	eachTransport(t, func(t *testing.T, nc, far net.Conn) {
		const n = 50
		serve(t, far, ServerConfig{}, echo)
		c := NewClientConn(nc)
		defer c.Close()
		cfg := clientConfig()
		for i := range n {
			c.Begin(&cfg, nil)
			if c.Sent() || c.BodyReceived() != 0 || c.Reusable() {
				t.Errorf("request %d: Sent %v, received %d, reusable %v", i, c.Sent(), c.BodyReceived(), c.Reusable())
			}
			body := strings.Repeat("x", i*1000%7000)
			length := int64(len(body))
			if i%3 == 0 {
				length = header.UnknownLength
			}
			want := fmt.Sprintf("POST /%d h %q %q", i, body, "")
			var trailers header.Fields
			if i%6 == 0 {
				trailers.Add("T", "u")
				want = fmt.Sprintf("POST /%d h %q %q", i, body, "T: u\n")
			}
			err := c.WriteHead(newRequest("POST", fmt.Sprintf("/%d", i), length), "", false, false)
			err = errors.Join(err, c.WriteBody([]byte(body[:len(body)/2]), false))
			if err == nil && i%6 == 0 {
				err = errors.Join(c.WriteBody([]byte(body[len(body)/2:]), false), c.WriteTrailers(&trailers))
			} else if err == nil {
				err = c.WriteBody([]byte(body[len(body)/2:]), true)
			}
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			got := receive(c)
			if got.body != want || got.err != nil || !got.reusable || !c.Sent() {
				t.Fatalf("response %d: %.100q, %v, reusable %v, want %.100q", i, got.body, got.err, got.reusable, want)
			}
			c.Park()
			if c.Idle() != netio.Quiet {
				t.Errorf("Idle = %v, want Quiet", c.Idle())
			}
		}
	})
}

func TestClientConnWriteHead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, upgrade  string
		req            *header.Request
		trailers, last bool
		want           string // "" for an error
	}{
		{"plain", "", newRequest("GET", "/", 0), false, true, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"upgrade", "a", newRequest("GET", "/", 0), false, true, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n"},
		{"trailers", "", newRequest("GET", "/", 0), true, true, "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers\r\n\r\n"},
		{"both", "a", newRequest("GET", "/", 0), true, true, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, TE\r\nUpgrade: a\r\nTE: trailers\r\n\r\n"},
		{"unknown length, no body", "", newRequest("POST", "/", -1), false, true, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"no method", "", newRequest("", "/", 0), false, true, ""},
		{"method", "", newRequest("G T", "/", 0), false, true, ""},
		{"no target", "", newRequest("GET", "", 0), false, true, ""},
		{"target with a space", "", newRequest("GET", "/a b", 0), false, true, ""},
		{"target with a line", "", newRequest("GET", "/a HTTP/1.1\r\nX: y", 0), false, true, ""},
		{"length without body", "", newRequest("GET", "/", 1), false, true, ""},
	}
	for _, tt := range tests {
		script := &scriptConn{}
		c := NewClientConn(script)
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		err := c.WriteHead(tt.req, tt.upgrade, tt.trailers, tt.last)
		if c.Sent() {
			t.Errorf("%s: sent before Flush", tt.name)
		}
		if e, ok := errors.AsType[*proxyerr.Error](err); (err == nil) != (tt.want != "") || ok && e.Source != proxyerr.Internal {
			t.Errorf("%s: WriteHead = %v", tt.name, err)
		}
		c.Flush()
		if got := script.out.String(); got != tt.want {
			t.Errorf("%s: sent %q, want %q", tt.name, got, tt.want)
		}
		c.Close()
	}
}

// A body that is not what its head has said is an error, and the connection is
// not used again.
func TestClientConnBodyLength(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{"xy": errBodyTooShort, "xyz": nil, "wxyz": errBodyTooLong} {
		c := NewClientConn(&scriptConn{pieces: pieces([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 0)})
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("POST", "/", 3), "", false, false)
		if err := c.WriteBody([]byte(body), true); err != want {
			t.Errorf("WriteBody(%q) = %v, want %v", body, err, want)
		}
		if got := receive(c); got.reusable != (want == nil) {
			t.Errorf("after WriteBody(%q): reusable %v", body, got.reusable)
		}
		c.Close()
	}
}

// The origin answers before it has the request. The request can be finished,
// or the connection is given up.
func TestClientConnEarlyResponse(t *testing.T) {
	eachTransport(t, func(t *testing.T, nc, far net.Conn) {
		origin(t, far, func(br *bufio.Reader, nc net.Conn) {
			for {
				if line, err := br.ReadString('\n'); err != nil || line == "\r\n" {
					break
				}
			}
			io.WriteString(nc, "HTTP/1.1 413 x\r\nContent-Length: 2\r\n\r\nno")
			io.Copy(io.Discard, br)
		})
		c := NewClientConn(nc)
		defer c.Close()
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("POST", "/", 3_000_000), "", false, false)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, 1_000_000)
		var wg sync.WaitGroup
		answered := make(chan struct{})
		wg.Go(func() { // the writer
			for i := range 3 {
				if err := c.WriteBody(piece, i == 2); err != nil {
					t.Errorf("WriteBody = %v", err)
				}
				<-answered
			}
		})
		var res header.Response
		if err := c.ReadHead(&res); err != nil || res.Status != 413 {
			t.Fatalf("ReadHead = %d, %v, want 413", res.Status, err)
		}
		body, err := readBody(c.ReadBody)
		if string(body) != "no" || err != nil {
			t.Errorf("body is %q, %v, want no", body, err)
		}
		close(answered)
		wg.Wait()
		if !c.Reusable() {
			t.Error("not reusable, though the request was sent and the response read")
		}
	})
}

// While the request is on its way the connection is not for others.
func TestClientConnNotReusableWhileSending(t *testing.T) {
	t.Parallel()
	c := NewClientConn(&scriptConn{pieces: pieces([]byte("HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n"), 0)})
	defer c.Close()
	cfg := clientConfig()
	c.Begin(&cfg, nil)
	c.WriteHead(newRequest("POST", "/", 5), "", false, false)
	c.WriteBody([]byte("x"), false)
	if got := receive(c); got.statuses != "413 " || got.reusable {
		t.Errorf("got %+v, want 413, not reusable", got)
	}
}

// failingConn cannot be written to; what it reads is given.
type failingConn struct {
	scriptConn
	limit int // bytes that can still be written
	err   error
}

func (c *failingConn) Write(p []byte) (int, error) {
	if len(p) <= c.limit {
		c.limit -= len(p)
		return len(p), nil
	}
	return c.limit, &net.OpError{Op: "write", Err: c.err}
}

// What the origin said before it stopped reading counts; otherwise the error
// tells whether the request may be sent again.
func TestClientConnWriteFails(t *testing.T) {
	t.Parallel()
	const early = "HTTP/1.1 413 x\r\nContent-Length: 2\r\n\r\nno"
	tests := []struct {
		name  string
		limit int
		err   error
		in    string
		want  received
		retry proxyerr.Retry
	}{
		{"closed, nothing sent", 0, syscall.EPIPE, "", received{err: proxyerr.ConnClosed}, proxyerr.RetryAlways},
		{"reset, nothing sent", 0, syscall.ECONNRESET, "", received{err: proxyerr.ConnClosed}, proxyerr.RetryAlways},
		{"closed, part sent", 10, syscall.EPIPE, "", received{err: proxyerr.ConnClosed}, proxyerr.RetryIfReused},
		{"closed, early answer", 10, syscall.EPIPE, early, received{statuses: "413 ", body: "no"}, 0},
		{"closed, early answer, nothing sent", 0, syscall.EPIPE, early, received{statuses: "413 ", body: "no"}, 0},
		{"closed, part of an answer", 10, syscall.EPIPE, "HTTP/1.1 4", received{err: proxyerr.ConnClosed}, proxyerr.RetryNever},
	}
	for _, tt := range tests {
		c := NewClientConn(&failingConn{scriptConn{pieces: pieces([]byte(tt.in), 0)}, tt.limit, tt.err})
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("GET", "/", 0), "", false, true)
		got := receive(c)
		var retry proxyerr.Retry
		if e, ok := errors.AsType[*proxyerr.Error](got.err); ok {
			got.err, retry = e.Kind, e.Retry
		}
		if got != tt.want || retry != tt.retry {
			t.Errorf("%s: got %+v, retry %d, want %+v, retry %d", tt.name, got, retry, tt.want, tt.retry)
		}
		c.Close()
	}
	for _, tt := range []struct {
		limit int
		retry proxyerr.Retry
	}{{0, proxyerr.RetryAlways}, {10, proxyerr.RetryIfReused}} {
		c := NewClientConn(&failingConn{scriptConn{}, tt.limit, syscall.EPIPE})
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("GET", "/", 0), "", false, true)
		err := c.Flush()
		if e, ok := errors.AsType[*proxyerr.Error](err); !ok || e.Kind != proxyerr.ConnClosed || e.Retry != tt.retry || e.Source != proxyerr.Upstream {
			t.Errorf("after %d bytes: Flush = %#v, want %v, retry %d", tt.limit, err, proxyerr.ConnClosed, tt.retry)
		}
		c.Close()
	}
}

// Whether a failed wait for the response permits another attempt.
func TestClientConnRetry(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script func(nc *net.TCPConn)
		kind   error
		retry  proxyerr.Retry
	}{
		{"closed", func(nc *net.TCPConn) { nc.CloseWrite() }, proxyerr.ConnClosed, proxyerr.RetryIfReused},
		{"reset", func(nc *net.TCPConn) { nc.SetLinger(0); nc.Close() }, proxyerr.ConnClosed, proxyerr.RetryIfReused},
		{"closed behind the first byte", func(nc *net.TCPConn) { io.WriteString(nc, "H"); nc.CloseWrite() }, proxyerr.ConnClosed, proxyerr.RetryNever},
		{"closed behind 100", func(nc *net.TCPConn) { io.WriteString(nc, "HTTP/1.1 100 x\r\n\r\n"); nc.CloseWrite() }, proxyerr.ConnClosed, proxyerr.RetryNever},
		{"closed behind the head", func(nc *net.TCPConn) {
			io.WriteString(nc, "HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n")
			nc.CloseWrite()
		}, proxyerr.ConnClosed, proxyerr.RetryNever},
		{"silent", func(nc *net.TCPConn) {}, proxyerr.ReadTimeout, proxyerr.RetryNever},
		{"silent behind the first byte", func(nc *net.TCPConn) { io.WriteString(nc, "H") }, proxyerr.ReadTimeout, proxyerr.RetryNever},
		{"silent behind the head", func(nc *net.TCPConn) { io.WriteString(nc, "HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n") }, proxyerr.ReadTimeout, proxyerr.RetryNever},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nc, far := tcpPair(t)
			origin(t, far, func(br *bufio.Reader, nc net.Conn) {
				readRequest(br)
				tt.script(nc.(*net.TCPConn))
				io.Copy(io.Discard, br)
			})
			c := NewClientConn(nc)
			defer c.Close()
			cfg := clientConfig()
			if tt.kind == proxyerr.ReadTimeout {
				cfg.ReadTimeout = 100 * time.Millisecond
			}
			c.Begin(&cfg, nil)
			c.WriteHead(newRequest("GET", "/", 0), "", false, true)
			got := receive(c)
			e, ok := errors.AsType[*proxyerr.Error](got.err)
			if !ok || e.Kind != tt.kind || e.Retry != tt.retry || got.reusable {
				t.Errorf("got %#v, reusable %v, want %v, retry %d", got.err, got.reusable, tt.kind, tt.retry)
			}
		})
	}
}

func TestClientConnReadTimeout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		limit, pause time.Duration
		want         error
	}{
		{"in time", time.Second, 900 * time.Millisecond, nil},
		{"too late", time.Second, 1100 * time.Millisecond, proxyerr.ReadTimeout},
		{"default, in time", 0, 58 * time.Second, nil},
		{"default, too late", 0, 61 * time.Second, proxyerr.ReadTimeout},
		{"no limit", -1, time.Hour, nil},
	}
	for _, tt := range tests {
		for _, watched := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					nc, far := net.Pipe()
					var wg sync.WaitGroup
					wg.Go(func() {
						readRequest(bufio.NewReader(far))
						// Each wait has the whole time.
						for _, piece := range []string{"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\n", "o", "k"} {
							time.Sleep(tt.pause)
							io.WriteString(far, piece)
						}
					})
					c := NewClientConn(nc)
					cfg := ClientConfig{ReadTimeout: tt.limit}.WithDefaults()
					var watch Watcher
					if watched {
						watch = watchFunc(func() error { return nil })
					}
					c.Begin(&cfg, watch)
					c.WriteHead(newRequest("GET", "/", 0), "", false, true)
					start := time.Now()
					got := receive(c)
					took := time.Since(start)
					if !errors.Is(got.err, tt.want) || tt.want == nil && got.body != "ok" {
						t.Errorf("got %+v, want %v", got, tt.want)
					}
					if limit := cfg.ReadTimeout; tt.want != nil && (took < limit-limit/50 || took > limit+limit/50) {
						t.Errorf("gave up after %v, want %v", took, limit)
					}
					c.Close()
					far.Close()
					wg.Wait()
				})
			})
		}
	}
}

// watchFunc makes a function a Watcher.
type watchFunc func() error

func (f watchFunc) WhileWaiting() error { return f() }

// The Watcher is asked now and then, and its error is what the caller gets.
func TestClientConnWatcher(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"} {
		synctest.Test(t, func(t *testing.T) {
			nc, far := net.Pipe()
			var wg sync.WaitGroup
			wg.Go(func() {
				readRequest(bufio.NewReader(far))
				io.WriteString(far, where)
			})
			c := NewClientConn(nc)
			cfg := ClientConfig{}.WithDefaults()
			left := proxyerr.New(proxyerr.Downstream, proxyerr.ConnClosed, "wait", nil)
			start, asked := time.Now(), 0
			c.Begin(&cfg, watchFunc(func() error {
				asked++
				if time.Since(start) >= 10*time.Second {
					return left
				}
				return nil
			}))
			c.WriteHead(newRequest("GET", "/", 0), "", false, true)
			got := receive(c)
			if got.err != error(left) || got.reusable {
				t.Errorf("behind %q: got %+v, want the Watcher's error", where, got)
			}
			if took := time.Since(start); took > 12*time.Second || asked < 8 || asked > 40 {
				t.Errorf("behind %q: asked %d times in %v", where, asked, took)
			}
			c.Close()
			far.Close()
			wg.Wait()
		})
	}
}

// A request that is still on its way gives the origin more time.
func TestClientConnStillSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nc, far := net.Pipe()
		c := NewClientConn(nc)
		cfg := ClientConfig{ReadTimeout: 5 * time.Second}.WithDefaults()
		start := time.Now()
		c.Begin(&cfg, watchFunc(func() error {
			if time.Since(start) < time.Minute {
				return ErrStillSending
			}
			return nil
		}))
		c.WriteHead(newRequest("GET", "/", 0), "", false, true)
		go readRequest(bufio.NewReader(far))
		got := receive(c)
		if took := time.Since(start); !errors.Is(got.err, proxyerr.ReadTimeout) || took < 64*time.Second || took > 67*time.Second {
			t.Errorf("got %v after %v, want %v after 65s", got.err, took, proxyerr.ReadTimeout)
		}
		c.Close()
		far.Close()
	})
}

// An origin that answers before it is asked, and then is silent, is heard at
// once.
func TestClientConnAnsweredFirst(t *testing.T) {
	t.Parallel()
	nc, far := tcpPair(t)
	io.WriteString(far, "HTTP/1.1 503 x\r\nContent-Length: 4\r\n\r\nbusy")
	c := NewClientConn(nc)
	defer c.Close()
	cfg := clientConfig()
	c.Begin(&cfg, nil)
	c.WriteHead(newRequest("GET", "/", 0), "", false, true)
	start := time.Now()
	if got := receive(c); got.statuses != "503 " || got.body != "busy" || got.err != nil {
		t.Errorf("got %+v, want 503, busy", got)
	}
	if took := time.Since(start); took > cfg.ReadTimeout/2 {
		t.Errorf("took %v, want %v", took, firstTick)
	}
}

// An origin that takes nothing is given up after WriteTimeout, without a busy
// wait, unless it has answered.
func TestClientConnWriteTimeout(t *testing.T) {
	eachTransport(t, func(t *testing.T, nc, far net.Conn) {
		c := NewClientConn(nc)
		defer c.Close()
		cfg := ClientConfig{ReadTimeout: patience, WriteTimeout: 50 * time.Millisecond}.WithDefaults()
		c.Begin(&cfg, nil)
		const size = 8 << 20
		c.WriteHead(newRequest("POST", "/", size), "", false, false)
		// All of it waits for SendAndReadHead, as a small body would.
		c.out.buf.B = append(c.out.buf.B, make([]byte, size)...)
		c.out.done = true
		start := time.Now()
		got := receive(c)
		e, ok := errors.AsType[*proxyerr.Error](got.err)
		if !ok || e.Kind != proxyerr.WriteTimeout || e.Retry != proxyerr.RetryNever || got.reusable {
			t.Errorf("got %#v, want %v", got.err, proxyerr.WriteTimeout)
		}
		if took := time.Since(start); took > patience/2 {
			t.Errorf("took %v, want 50ms", took)
		}
	})
}

// An answer to a request that could not be sent in full is delivered, but the
// connection is not used again: the rest of the request is owed.
func TestClientConnWriteTimeoutAnswered(t *testing.T) {
	t.Parallel()
	nc, far := tcpPair(t)
	io.WriteString(far, "HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n")
	c := NewClientConn(nc)
	defer c.Close()
	cfg := ClientConfig{ReadTimeout: patience, WriteTimeout: 50 * time.Millisecond}.WithDefaults()
	c.Begin(&cfg, nil)
	const size = 8 << 20
	c.WriteHead(newRequest("POST", "/", size), "", false, false)
	c.out.buf.B = append(c.out.buf.B, make([]byte, size)...)
	c.out.done = true
	if got := receive(c); got.statuses != "413 " || got.err != nil || got.reusable {
		t.Errorf("got %+v, want 413, not reusable", got)
	}
}

func TestClientConnKill(t *testing.T) {
	eachTransport(t, func(t *testing.T, nc, far net.Conn) {
		requests := make(chan string, 1)
		origin(t, far, func(br *bufio.Reader, nc net.Conn) { requests <- readRequest(br) })
		c := NewClientConn(nc)
		defer c.Close()
		cfg := ClientConfig{ReadTimeout: -1}.WithDefaults()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("GET", "/", 0), "", false, true)
		go func() {
			<-requests
			c.Kill()
		}()
		if got := receive(c); got.err == nil || got.reusable {
			t.Errorf("got %+v, want an error", got)
		}
		if err := c.WriteBody([]byte("x"), true); err == nil {
			c.out.done = false
			c.out.start(bodyUntilClose, -1)
			if err := c.WriteBody([]byte("x"), true); err == nil {
				t.Error("write after Kill: no error")
			}
		}
	})
}

func TestClientConnTunnel(t *testing.T) {
	eachTransport(t, func(t *testing.T, nc, far net.Conn) {
		origin(t, far, func(br *bufio.Reader, nc net.Conn) {
			readRequest(br)
			io.WriteString(nc, "HTTP/1.1 101 x\r\nUpgrade: echo\r\n\r\nearly")
			io.Copy(nc, br)
		})
		c := NewClientConn(nc)
		defer c.Close()
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("GET", "/", 0), "echo", false, true)
		if got := receive(c); got.statuses != "101 " || got.reusable {
			t.Fatalf("got %+v, want 101, not reusable", got)
		}
		conn, early := c.Tunnel()
		buf := make([]byte, 10)
		got := string(early)
		for len(got) < len("early") {
			n, err := conn.Recv(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += string(buf[:n])
		}
		if got != "early" {
			t.Errorf("early bytes are %q", got)
		}
		conn.Write([]byte("bye"), nil, nil, 0)
		n, err := conn.Recv(buf)
		if string(buf[:n]) != "bye" || err != nil {
			t.Errorf("Recv = %q, %v, want bye", buf[:n], err)
		}
	})
}

func TestClientConnIdleTimeout(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]time.Duration{
		"timeout=5":            5 * time.Second,
		"Timeout=5, max=100":   5 * time.Second,
		"max=100, timeout=5":   5 * time.Second,
		"timeout=99999999":     time.Hour,
		"timeout=0":            0,
		"timeout=-1":           0,
		"timeout=x":            0,
		"timeout":              0,
		"max=5":                0,
		"":                     0,
		"timeout=999999999999": time.Hour,
	} {
		c := NewClientConn(&scriptConn{pieces: pieces([]byte("HTTP/1.1 200 x\r\nContent-Length: 0\r\nKeep-Alive: "+params+"\r\n\r\n"), 0)})
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("GET", "/", 0), "", false, true)
		receive(c)
		if got := c.IdleTimeout(); got != want {
			t.Errorf("Keep-Alive: %s: IdleTimeout = %v, want %v", params, got, want)
		}
		c.Close()
	}
}

// A parked connection shows what has happened to it.
func TestClientConnIdle(t *testing.T) {
	t.Parallel()
	for want, happen := range map[netio.IdleState]func(nc *net.TCPConn){
		netio.HasData:    func(nc *net.TCPConn) { io.WriteString(nc, "HTTP/1.1 408 x\r\n\r\n") },
		netio.PeerClosed: func(nc *net.TCPConn) { nc.Close() },
	} {
		nc, far := tcpPair(t)
		c := NewClientConn(nc)
		if got := c.Idle(); got != netio.Quiet {
			t.Errorf("Idle = %v, want Quiet", got)
		}
		happen(far.(*net.TCPConn))
		for deadline := time.Now().Add(patience); c.Idle() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("Idle = %v, want %v", c.Idle(), want)
			}
		}
		c.Close()
	}
}

// Not parallel: it counts the buffers of the whole process.
func TestClientConnHoldsNoBufferWhileParked(t *testing.T) {
	if !raceEnabled {
		t.Skip("buffers are counted with the race detector only")
	}
	before := bytebuf.Outstanding()
	for _, n := range []int{0, 1, 100_000} {
		in := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n))
		c := NewClientConn(&scriptConn{pieces: pieces([]byte(in), 0)})
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("GET", "/", 0), "", false, true)
		if got := receive(c); got.err != nil || !got.reusable {
			t.Fatalf("got %+v", got)
		}
		c.Park()
		if got := bytebuf.Outstanding(); got != before {
			t.Errorf("parked after %d bytes: %d buffers are out, want %d", n, got, before)
		}
		c.Close()
	}
}

// clientRig is a ClientConn with an origin that costs nothing.
type clientRig struct {
	c   *ClientConn
	cfg ClientConfig
	req *header.Request
	res header.Response
}

func newClientRig(t testing.TB) *clientRig {
	nc, far := tcpPair(t)
	nc.SetDeadline(time.Time{})
	response := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 100))
	origin(t, far, func(_ *bufio.Reader, nc net.Conn) {
		nc.SetDeadline(time.Time{})
		buf := make([]byte, 4<<10)
		for {
			if n, err := nc.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				return
			}
			nc.Write(response)
		}
	})
	r := &clientRig{c: NewClientConn(nc), cfg: ClientConfig{}.WithDefaults(), req: newRequest("GET", "/", 0)}
	t.Cleanup(r.c.Close)
	return r
}

func (r *clientRig) roundTrip(t testing.TB) {
	r.c.Begin(&r.cfg, nil)
	if err := r.c.WriteHead(r.req, "", false, true); err != nil {
		t.Fatal(err)
	}
	if err := r.c.SendAndReadHead(&r.res); err != nil {
		t.Fatal(err)
	}
	for {
		if _, last, err := r.c.ReadBody(); err != nil {
			t.Fatal(err)
		} else if last {
			break
		}
	}
	if !r.c.Reusable() {
		t.Fatal("not reusable")
	}
	r.c.Park()
}

func TestClientConnAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newClientRig(t)
	r.roundTrip(t)
	if got := testing.AllocsPerRun(200, func() { r.roundTrip(t) }); got > 1 { // the string of the head
		t.Errorf("%v allocations per round trip, want at most 1", got)
	}
}

func BenchmarkClientConn(b *testing.B) {
	r := newClientRig(b)
	b.ReportAllocs()
	for b.Loop() {
		r.roundTrip(b)
	}
}

// A hint of the origin is positive and bounded, wherever it stands.
func FuzzKeepAliveTimeout(f *testing.F) {
	for _, s := range []string{"", "timeout=5", "max=100, timeout=5", "TIMEOUT=5,x", "timeout=-1", "timeout=99999999999999999999", "timeout = 5", `timeout="5"`, "timeout"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := keepAliveTimeout(in)
		if got < 0 || got > time.Hour || got%time.Second != 0 {
			t.Errorf("%q: %v", in, got)
		}
		if first := keepAliveTimeout("timeout=7," + in); first != 7*time.Second {
			t.Errorf("%q behind a timeout of 7: %v", in, first)
		}
		if last := keepAliveTimeout(in + ",timeout=7"); got != 0 && last != got || got == 0 && last != 7*time.Second {
			t.Errorf("%q is %v, in front of a timeout of 7 %v", in, got, last)
		}
	})
}
