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
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

// echoed is what echo answers, without Date.
func echoed(body string, more ...string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s", len(body), strings.Join(more, ""), body)
}

const (
	closes = "Connection: close\r\n"
	keeps  = "Connection: keep-alive\r\n"
)

// Exact bytes in, exact bytes out, to the end of the connection.
func TestServerConn(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 20_000)
	tests := []struct {
		name, in, want string
	}{
		{"close", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", echoed(`GET /a h "" ""`, closes)},
		{
			"keep-alive, then close",
			"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: i\r\nConnection: x, Close\r\n\r\nGET /c HTTP/1.1\r\nHost: j\r\n\r\n",
			echoed(`GET /a h "" ""`) + echoed(`GET /b i "" ""`, closes),
		},
		{"1.0", "GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n", echoed(`GET /a  "" ""`, closes)},
		{
			"1.0 with keep-alive",
			"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
			echoed(`GET /a  "" ""`, keeps) + echoed(`GET /b  "" ""`, closes),
		},
		{"1.0, no body without a length", "POST /a HTTP/1.0\r\n\r\nhello", echoed(`POST /a  "" ""`, closes)},
		{"1.0 with a length", "POST /a HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", echoed(`POST /a  "hello" ""`, closes)},
		{"1.1, no body without a length", "POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nhello", echoed(`POST /a h "" ""`, closes)},
		{
			"bodies in a pipeline",
			"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" +
				"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nT: u\r\n\r\n" +
				"\r\nPOST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			echoed(`POST /a h "hello" ""`) + echoed(`POST /b h "hello" "T: u\n"`) + echoed(`POST /c h "" ""`, closes),
		},
		{
			"long bodies in a pipeline",
			"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + long +
				"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n30d40\r\n" + long + "\r\n0\r\n\r\n",
			echoed(`POST /a h "`+long+`" ""`) + echoed(`POST /b h "`+long+`" ""`, closes),
		},
		{"absolute-form", "GET http://i/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", echoed(`GET /a i "" ""`, closes)},
		{"refused at once", "\x16\x03\x01", refused(400, "Bad Request")},
		{"refused", "GET / HTTP/1.1\r\n\r\n", refused(400, "Bad Request")},
		{"refused version", "GET / HTTP/1.3\r\nHost: h\r\n\r\n", refused(505, "HTTP Version Not Supported")},
		{"refused coding", "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", refused(501, "Not Implemented")},
		{"refused expectation", "GET / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", refused(417, "Expectation Failed")},
		{"refused target", "GET /" + strings.Repeat("x", 17_000) + " HTTP/1.1\r\nHost: h\r\n\r\n", refused(414, "URI Too Long")},
		{"refused fields", "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n", refused(431, "Request Header Fields Too Large")},
		{"refused head", "GET / HTTP/1.1\r\nA: " + strings.Repeat("x", 66_000), refused(431, "Request Header Fields Too Large")},
		{"refused as second", "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\n\n", echoed(`GET /a h "" ""`) + refused(400, "Bad Request")},
	}
	for _, tt := range tests {
		for _, tr := range transports {
			t.Run(tt.name+"/"+tr.name, func(t *testing.T) {
				t.Parallel()
				client, server := tr.pair(t)
				serve(t, server, ServerConfig{DrainTimeout: -1}, echo)
				send(t, client, tt.in)
				got, err := io.ReadAll(client)
				if err != nil && !isReset(err) { // unread data makes close reset
					t.Error(err)
				}
				if got := dateLine.ReplaceAllString(string(got), ""); got != tt.want {
					t.Errorf("got\n%.1000q, want\n%.1000q", got, tt.want)
				}
			})
		}
	}
}

// refused is the answer to a request that is refused.
func refused(status int, text string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: %d\r\n%s\r\n%d %s\n",
		status, text, len(text)+5, closes, status, text)
}

// Every way to cut a pipeline gives the same answers.
func TestServerConnPieces(t *testing.T) {
	t.Parallel()
	in := "GET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" +
		"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n" +
		"GET /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	want := echoed(`GET /a h "" ""`) + echoed(`POST /b h "hello" ""`) + echoed(`POST /c h "hello" "T: u\n"`) +
		echoed(`GET /d h "" ""`, closes)
	for n := range len(in) {
		script := &scriptConn{pieces: pieces([]byte(in), n)}
		cfg := ServerConfig{}.WithDefaults()
		NewServerConn(script, &cfg, echo).Serve()
		if got := dateLine.ReplaceAllString(script.out.String(), ""); got != want {
			t.Fatalf("in pieces of %d: got %q, want %q", n, got, want)
		}
	}
}

// Requests that fill the buffer to its last byte do not wait for the next
// event.
func TestServerConnFullBuffer(t *testing.T) {
	t.Parallel()
	client, server := tcpPair(t)
	var slow atomic.Bool
	began := time.Now()
	serve(t, server, ServerConfig{}, func(s *ServerStream) {
		if time.Since(began) > 10*time.Second {
			slow.Store(true)
		}
		echo(s)
	})
	const n = 40
	request := "GET /a HTTP/1.1\r\nHost: h\r\nX: "
	request += strings.Repeat("x", bytebuf.Small-len(request)-4) + "\r\n\r\n"
	send(t, client, strings.Repeat(request, n))
	br := bufio.NewReader(client)
	for i := range n {
		if _, body := recvResponse(t, br, "GET"); body != `GET /a h "" ""` {
			t.Fatalf("response %d is %q", i, body)
		}
	}
	if slow.Load() {
		t.Errorf("%d requests took more than 10s", n)
	}
}

// Many requests in one write are answered in order.
func TestServerConnPipeline(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		c, done := serve(t, server, ServerConfig{}, echo)
		const n = 300
		var in strings.Builder
		for i := range n {
			if i%3 == 0 {
				fmt.Fprintf(&in, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", i, i, strings.Repeat("x", i))
			} else {
				fmt.Fprintf(&in, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
			}
		}
		send(t, client, in.String())
		br := bufio.NewReader(client)
		for i := range n {
			_, body := recvResponse(t, br, "GET")
			if want := fmt.Sprintf("/%d ", i); !strings.Contains(body, want) {
				t.Fatalf("response %d is %q, want one for %q", i, body, want)
			}
		}
		client.Close()
		waitFor(t, "Serve after the client has closed", done)
		if got := c.Requests(); got != n {
			t.Errorf("Requests() = %d, want %d", got, n)
		}
	})
}

func TestServerConnMaxRequests(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		serve(t, server, ServerConfig{MaxRequests: 2, DrainTimeout: -1}, echo)
		send(t, client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n")
		if got, want := recvAll(t, client), echoed(`GET /a h "" ""`)+echoed(`GET /b h "" ""`, closes); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestServerConnOnReject(t *testing.T) {
	t.Parallel()
	client, server := pipePair(t)
	type reject struct {
		status int
		why    string
	}
	rejects := make(chan reject, 2)
	serve(t, server, ServerConfig{DrainTimeout: -1, OnReject: func(c *ServerConn, status int, err error) {
		if c.NetConn() != server || c.Requests() != 0 {
			t.Errorf("OnReject for %v after %d requests, want %v after 0", c.NetConn(), c.Requests(), server)
		}
		rejects <- reject{status, err.Error()}
	}}, func(*ServerStream) { t.Error("a refused request reached the handler") })
	send(t, client, "GET / HTTP/1.1\r\n\r\n")
	recvAll(t, client)
	if got, want := <-rejects, (reject{400, "missing Host"}); got != want {
		t.Errorf("OnReject(%+v), want %+v", got, want)
	}
}

// The times of a connection, on a fake clock.
func TestServerConnTimes(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	tests := []struct {
		name string
		cfg  ServerConfig
		in   string
		end  time.Duration // when the connection ends, after the last answer
		want string        // in the last answer
	}{
		{"nothing comes", ServerConfig{}, "", 10 * time.Second, ""},
		{"nothing comes, short", ServerConfig{HeadTimeout: 300 * time.Millisecond}, "", 300 * time.Millisecond, ""},
		{"nothing comes, no limit", ServerConfig{HeadTimeout: -1}, "", 0, ""},
		{"part of a head", ServerConfig{DrainTimeout: -1}, "GET / HT", 10 * time.Second, " 408 "},
		{"part of a head, short", ServerConfig{HeadTimeout: time.Second, DrainTimeout: -1}, "G", time.Second, " 408 "},
		{"part of a head, no limit", ServerConfig{HeadTimeout: -1, DrainTimeout: -1}, "G", 0, ""},
		{"idle", ServerConfig{}, get, 75 * time.Second, " 200 "},
		{"idle, short", ServerConfig{IdleTimeout: 100 * time.Millisecond}, get, 100 * time.Millisecond, " 200 "},
		{"idle, no limit", ServerConfig{IdleTimeout: -1}, get, 0, " 200 "},
		{"idle, then part of a head", ServerConfig{DrainTimeout: -1}, get + "GET", 10 * time.Second, " 408 "},
		// An empty line is no request: a 408 would be taken for the answer to the next.
		{"idle, then an empty line", ServerConfig{}, get + "\r\n", 10 * time.Second, " 200 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				cfg := tt.cfg.WithDefaults()
				done := make(chan struct{})
				go func() {
					defer close(done)
					NewServerConn(server, &cfg, echo).Serve()
				}()
				var out bytes.Buffer
				var wg sync.WaitGroup
				wg.Go(func() { io.Copy(&out, client) })
				io.WriteString(client, tt.in)
				synctest.Wait()
				start := time.Now()
				select {
				case <-done:
				case <-time.After(2 * time.Hour):
					client.Close()
					<-done
				}
				took := time.Since(start)
				wg.Wait()
				if tt.end == 0 && took < 2*time.Hour {
					t.Errorf("ended after %v, want for ever", took)
				} else if tt.end > 0 && (took < tt.end-tt.end/50 || took > tt.end+tt.end/50) {
					t.Errorf("ended after %v, want %v", took, tt.end)
				}
				got := out.String()
				if i := strings.LastIndex(got, "HTTP/1.1"); i >= 0 {
					got = got[i:]
				}
				if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
					t.Errorf("answered %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// A head that comes in drops does not get more time.
func TestServerConnSlowHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		cfg := ServerConfig{DrainTimeout: -1}.WithDefaults()
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewServerConn(server, &cfg, echo).Serve()
		}()
		go io.Copy(io.Discard, client)
		start := time.Now()
		for range 100 {
			if _, err := io.WriteString(client, "X"); err != nil {
				break
			}
			time.Sleep(900 * time.Millisecond)
		}
		<-done
		if took := time.Since(start); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("ended after %v, want 10s", took)
		}
	})
}

func TestServerConnBodyTimeout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		timeout, pause time.Duration
		want           error
	}{
		{0, 58 * time.Second, nil},
		{0, 61 * time.Second, proxyerr.ReadTimeout},
		{time.Second, 900 * time.Millisecond, nil},
		{time.Second, 1100 * time.Millisecond, proxyerr.ReadTimeout},
		{-1, 24 * time.Hour, nil},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			cfg := ServerConfig{BodyTimeout: tt.timeout, MinBodyRate: -1, DrainTimeout: -1}.WithDefaults()
			var err error
			var body []byte
			var wg sync.WaitGroup
			wg.Go(func() {
				NewServerConn(server, &cfg, func(s *ServerStream) {
					body, err = readBody(s.ReadBody)
					s.CloseAfter()
					answer(s, 200, "")
				}).Serve()
			})
			wg.Go(func() { io.Copy(io.Discard, client) })
			io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
			for range 3 { // each wait has the whole time
				time.Sleep(tt.pause)
				io.WriteString(client, "x")
			}
			wg.Wait()
			if !errors.Is(err, tt.want) || tt.want == nil && string(body) != "xxx" {
				t.Errorf("timeout %v, pauses of %v: %q, %v, want %v", tt.timeout, tt.pause, body, err, tt.want)
			}
			if e, ok := errors.AsType[*proxyerr.Error](err); ok && (e.Status != 408 || e.Source != proxyerr.Downstream) {
				t.Errorf("error is %+v, want status 408 and source downstream", e)
			}
		})
	}
}

// A client that takes a little at a time is served; one that takes nothing is
// given up.
func TestServerConnWriteTimeout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pause time.Duration // between two reads of the client
		want  error
	}{
		{59 * time.Second, nil},
		{61 * time.Second, proxyerr.WriteTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			cfg := ServerConfig{DrainTimeout: -1}.WithDefaults()
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				NewServerConn(server, &cfg, func(s *ServerStream) {
					const size = 1 << 20
					s.WriteHead(&header.Response{Status: 200, Length: size}, false)
					err = s.WriteBody(make([]byte, size), true)
					s.CloseAfter()
				}).Serve()
			}()
			io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			buf := make([]byte, 64<<10)
			for got := 0; ; {
				time.Sleep(tt.pause)
				n, rerr := io.ReadFull(client, buf)
				if got += n; rerr != nil {
					if tt.want == nil && got < 1<<20 {
						t.Errorf("got %d bytes, %v", got, rerr)
					}
					break
				}
			}
			<-done
			if !errors.Is(err, tt.want) {
				t.Errorf("pauses of %v: %v, want %v", tt.pause, err, tt.want)
			}
		})
	}
}

// Over TCP, too, a response to a client that does not read ends, and does not
// look whole: neither one in pieces, nor one whose last piece was accepted.
func TestServerConnWriteTimeoutTCP(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 20, 64 << 20} {
		client, server := tcpPair(t)
		got := make(chan error, 1)
		_, done := serve(t, server, ServerConfig{WriteTimeout: 50 * time.Millisecond}, func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
			piece := make([]byte, size)
			for {
				if err := s.WriteBody(piece, size > 1<<20); err != nil {
					got <- err
					return
				}
			}
		})
		io.WriteString(client, "GET / HTTP/1.0\r\n\r\n") // the end of the connection ends the body
		if err := <-got; !errors.Is(err, proxyerr.WriteTimeout) {
			t.Errorf("WriteBody = %v, want %v", err, proxyerr.WriteTimeout)
		}
		waitFor(t, "Serve after a write timeout", done)
		if n, err := io.Copy(io.Discard, client); !isReset(err) {
			t.Errorf("after %d bytes: %v, want a reset", n, err)
		}
	}
}

// A big response to a reader in no hurry arrives whole.
func TestServerConnBigResponse(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		const piece, n = 100_000, 30
		serve(t, server, ServerConfig{}, func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
			for i := range n {
				if err := s.WriteBody(bytes.Repeat([]byte{byte('a' + i%26)}, piece), i == n-1); err != nil {
					t.Errorf("piece %d: %v", i, err)
				}
			}
		})
		send(t, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		_, body := recvResponse(t, bufio.NewReaderSize(client, 16), "GET")
		if len(body) != piece*n {
			t.Fatalf("got %d bytes, want %d", len(body), piece*n)
		}
		for i := range n {
			if want := strings.Repeat(string(rune('a'+i%26)), piece); body[i*piece:(i+1)*piece] != want {
				t.Errorf("piece %d is wrong", i)
			}
		}
	})
}

// A response before the end of the request's body is delivered, though the
// client goes on sending, and the connection ends.
func TestServerConnEarlyResponse(t *testing.T) {
	t.Parallel()
	client, server := tcpPair(t)
	_, done := serve(t, server, ServerConfig{MaxDrainBytes: 1 << 30}, func(s *ServerStream) { answer(s, 413, "too much") })
	io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n")
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, 5_000_000))
		client.(*net.TCPConn).CloseWrite()
		sent <- err
	}()
	res, body := recvResponse(t, bufio.NewReader(client), "POST")
	if res.StatusCode != 413 || body != "too much" || !res.Close {
		t.Errorf("got %d, %q, close %v, want 413, close", res.StatusCode, body, res.Close)
	}
	if err := <-sent; err != nil && !isReset(err) {
		t.Errorf("send: %v", err)
	}
	waitFor(t, "Serve after an early response", done)
}

// A client that sends faster than it reads is held back, not cut off: the
// answer waits for it.
func TestServerConnEarlyResponseFastClient(t *testing.T) {
	t.Parallel()
	client, server := tcpPair(t)
	_, done := serve(t, server, ServerConfig{DrainTimeout: patience}, func(s *ServerStream) { answer(s, 413, "too much") })
	io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n")
	sent := make(chan error, 1)
	go func() {
		for {
			if _, err := client.Write(make([]byte, 100_000)); err != nil {
				sent <- err
				close(sent)
				return
			}
		}
	}()
	select {
	case err := <-sent:
		t.Errorf("cut off before it reads: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	res, body := recvResponse(t, bufio.NewReader(client), "POST")
	if res.StatusCode != 413 || body != "too much" || !res.Close {
		t.Errorf("got %d, %q, close %v, want 413, close", res.StatusCode, body, res.Close)
	}
	client.(*net.TCPConn).SetLinger(0)
	client.Close()
	<-sent
	waitFor(t, "Serve after the client has gone", done)
}

// A request behind the last one that is served does not make the close a reset,
// which could overtake the answer (RFC 9112 section 9.6).
func TestServerConnCloseIsGentle(t *testing.T) {
	t.Parallel()
	client, server := tcpPair(t)
	in := make(chan struct{})
	serve(t, server, ServerConfig{MaxRequests: 1}, func(s *ServerStream) {
		close(in)
		for deadline := time.Now().Add(patience); s.conn.io.Raw() && s.conn.io.Idle() != netio.HasData; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Error("the second request does not arrive")
				break
			}
		}
		echo(s)
	})
	io.WriteString(client, get11)
	waitFor(t, "the first request", in)
	io.WriteString(client, get11)
	client.(*net.TCPConn).CloseWrite()
	if got, want := recvAll(t, client), echoed(`GET / h "" ""`, closes); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is left of a body is read for DrainTimeout at most.
func TestServerConnDrainTimeout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ timeout, want time.Duration }{
		{0, time.Second}, {3 * time.Second, 3 * time.Second}, {-1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			cfg := ServerConfig{DrainTimeout: tt.timeout}.WithDefaults()
			done := make(chan struct{})
			go func() {
				defer close(done)
				NewServerConn(server, &cfg, func(s *ServerStream) { answer(s, 200, "") }).Serve()
			}()
			go io.Copy(io.Discard, client)
			io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
			start := time.Now()
			for {
				if _, err := io.WriteString(client, "x"); err != nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			<-done
			if took := time.Since(start); took < tt.want || took > tt.want+150*time.Millisecond {
				t.Errorf("DrainTimeout %v: the connection ended after %v, want %v", tt.timeout, took, tt.want)
			}
		})
	}
}

// A body that is in memory is skipped, and the next request served.
func TestServerConnSkipsUnreadBody(t *testing.T) {
	t.Parallel()
	script := &scriptConn{pieces: pieces([]byte("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"+
		"GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 0)}
	cfg := ServerConfig{}.WithDefaults()
	NewServerConn(script, &cfg, func(s *ServerStream) { answer(s, 200, s.Request().Target) }).Serve()
	if got, want := dateLine.ReplaceAllString(script.out.String(), ""), echoed("/a")+echoed("/b", closes); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The client ends its direction behind the request and waits for the answer.
func TestServerConnHalfClose(t *testing.T) {
	t.Parallel()
	client, server := tcpPair(t)
	release := make(chan struct{})
	_, done := serve(t, server, ServerConfig{}, func(s *ServerStream) {
		<-release
		for !s.ClientGone() {
			time.Sleep(time.Millisecond)
		}
		echo(s)
	})
	io.WriteString(client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	client.(*net.TCPConn).CloseWrite()
	close(release)
	if got, want := recvAll(t, client), echoed(`GET /a h "" ""`); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	waitFor(t, "Serve after the end of the stream", done)
}

// A response that is cut does not look whole.
func TestServerConnCutResponse(t *testing.T) {
	t.Parallel()
	cut := map[string]func(*ServerStream){
		"length": func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: 100}, false)
			s.WriteBody([]byte("part"), false)
			s.Flush()
		},
		"chunked": func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
			s.WriteBody([]byte("part"), false)
			s.Flush()
		},
		"aborted": func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: 4}, false)
			s.WriteBody([]byte("part"), true)
			s.Abort()
		},
	}
	for name, handle := range cut {
		for _, request := range []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				client, server := tcpPair(t)
				_, done := serve(t, server, ServerConfig{}, handle)
				io.WriteString(client, request)
				waitFor(t, "Serve after a cut response", done)
				if got, err := io.ReadAll(client); !isReset(err) {
					t.Errorf("got %q and %v, want a reset", got, err)
				}
			})
		}
	}
}

// A program that does not answer hangs up.
func TestServerConnNoResponse(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		serve(t, server, ServerConfig{}, func(*ServerStream) {})
		send(t, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := recvAll(t, client); got != "" {
			t.Errorf("got %q, want nothing", got)
		}
	})
}

func TestServerConnDrain(t *testing.T) {
	t.Parallel()
	const get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, tr := range transports {
		t.Run("idle/"+tr.name, func(t *testing.T) {
			t.Parallel()
			client, server := tr.pair(t)
			c, done := serve(t, server, ServerConfig{IdleTimeout: -1}, echo)
			send(t, client, get)
			br := bufio.NewReader(client)
			recvResponse(t, br, "GET")
			c.Drain()
			waitFor(t, "Serve after Drain while idle", done)
			if _, err := br.ReadByte(); err != io.EOF {
				t.Errorf("read = %v, want EOF", err)
			}
		})
		t.Run("busy/"+tr.name, func(t *testing.T) {
			t.Parallel()
			client, server := tr.pair(t)
			var c *ServerConn
			ready := make(chan struct{})
			c, done := serve(t, server, ServerConfig{IdleTimeout: -1, DrainTimeout: -1}, func(s *ServerStream) {
				<-ready
				c.Drain()
				echo(s)
			})
			close(ready)
			send(t, client, get+get)
			if got, want := recvAll(t, client), echoed(`GET /a h "" ""`, closes); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			waitFor(t, "Serve after Drain while busy", done)
		})
		t.Run("busy, head sent/"+tr.name, func(t *testing.T) {
			t.Parallel()
			client, server := tr.pair(t)
			var c *ServerConn
			ready := make(chan struct{})
			c, done := serve(t, server, ServerConfig{IdleTimeout: -1}, func(s *ServerStream) {
				<-ready
				s.WriteHead(&header.Response{Status: 200, Length: 2}, false)
				c.Drain()
				s.WriteBody([]byte("ok"), true)
			})
			close(ready)
			send(t, client, get)
			if got, want := recvAll(t, client), echoed("ok"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			waitFor(t, "Serve after Drain while busy", done)
		})
		t.Run("body on its way/"+tr.name, func(t *testing.T) {
			t.Parallel()
			client, server := tr.pair(t)
			var c *ServerConn
			ready := make(chan struct{})
			c, done := serve(t, server, ServerConfig{IdleTimeout: -1}, func(s *ServerStream) {
				<-ready
				c.Drain()
				echo(s)
			})
			close(ready)
			send(t, client, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100_000))
			if got, want := recvAll(t, client), echoed(`POST /a h "`+strings.Repeat("x", 100_000)+`" ""`, closes); got != want {
				t.Errorf("got %.200q, want %.200q", got, want)
			}
			waitFor(t, "Serve after Drain while busy", done)
		})
	}
}

// A connection without a request yet has a moment to send one.
func TestServerConnDrainFresh(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before bool // Drain before Serve
		pause  time.Duration
		want   string
	}{
		{"a request comes", false, 900 * time.Millisecond, echoed(`GET /a h "" ""`, closes)},
		{"none comes", false, time.Minute, ""},
		{"a request comes, drained before", true, 900 * time.Millisecond, echoed(`GET /a h "" ""`, closes)},
		{"none comes, drained before", true, time.Minute, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				cfg := ServerConfig{IdleTimeout: -1, HeadTimeout: -1}.WithDefaults()
				c := NewServerConn(server, &cfg, echo)
				if tt.before {
					c.Drain()
				}
				go c.Serve()
				synctest.Wait()
				c.Drain()
				go func() {
					time.Sleep(tt.pause)
					io.WriteString(client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
				}()
				start := time.Now()
				got, err := io.ReadAll(client)
				if got := dateLine.ReplaceAllString(string(got), ""); got != tt.want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, tt.want)
				}
				if took := time.Since(start); took > freshGrace {
					t.Errorf("ended after %v, want at most %v", took, freshGrace)
				}
				time.Sleep(time.Minute) // let the writer end
			})
		})
	}
}

func TestServerConnDraining(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		var draining atomic.Bool
		_, done := serve(t, server, ServerConfig{Draining: draining.Load, DrainTimeout: -1}, func(s *ServerStream) {
			draining.Store(s.Request().Target == "/b")
			echo(s)
		})
		send(t, client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n")
		if got, want := recvAll(t, client), echoed(`GET /a h "" ""`)+echoed(`GET /b h "" ""`, closes); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		waitFor(t, "Serve while draining", done)
	})
}

// Drain and requests that come at the same time: each request that is answered
// is answered whole, and the connection ends.
func TestServerConnDrainRace(t *testing.T) {
	t.Parallel()
	for range 50 {
		client, server := tcpPair(t)
		c, done := serve(t, server, ServerConfig{IdleTimeout: -1}, echo)
		go c.Drain()
		br := bufio.NewReader(client)
		for {
			if _, err := io.WriteString(client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				break
			}
			if _, err := br.Peek(1); err != nil {
				break
			}
			if _, body := recvResponse(t, br, "GET"); body != `GET /a h "" ""` {
				t.Fatalf("got %q", body)
			}
		}
		waitFor(t, "Serve after Drain", done)
	}
}

// A request that has arrived when the connection would end for a Drain is
// served: its client cannot know.
func TestServerConnDrainCrossed(t *testing.T) {
	t.Parallel()
	for _, crossed := range []bool{false, true} {
		client, server := tcpPair(t)
		cfg := ServerConfig{}.WithDefaults()
		c := NewServerConn(server, &cfg, echo)
		if !c.io.Raw() {
			t.Skip("only a descriptor tells what has arrived")
		}
		c.served = 1
		want := hangUp
		if crossed {
			want = goOn
			io.WriteString(client, get11)
			for deadline := time.Now().Add(patience); c.io.Idle() != netio.HasData; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nothing has arrived")
				}
			}
		}
		c.Drain()
		if got := c.afterInterrupt(time.Now()); got != want {
			t.Errorf("crossed %v: after the interrupt %d, want %d", crossed, got, want)
		}
		if c.becomeIdle(); c.next != want {
			t.Errorf("crossed %v: on becoming idle %d, want %d", crossed, c.next, want)
		}
	}
}

func TestServerConnKill(t *testing.T) {
	t.Parallel()
	where := map[string]func(s *ServerStream) error{
		"reading": func(s *ServerStream) error { _, err := readBody(s.ReadBody); return err },
		"writing": func(s *ServerStream) error {
			s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
			for {
				if err := s.WriteBody(make([]byte, 1<<20), false); err != nil {
					return err
				}
			}
		},
	}
	for name, work := range where {
		for _, tr := range transports {
			t.Run(name+"/"+tr.name, func(t *testing.T) {
				t.Parallel()
				client, server := tr.pair(t)
				got := make(chan error, 1)
				in := make(chan struct{})
				c, done := serve(t, server, ServerConfig{BodyTimeout: -1, WriteTimeout: -1}, func(s *ServerStream) {
					close(in)
					got <- work(s)
				})
				send(t, client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
				<-in
				c.Kill()
				waitFor(t, "Serve after Kill", done)
				if err := <-got; err == nil {
					t.Error("no error after Kill")
				}
			})
		}
	}
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		_, server := tcpPair(t)
		c, done := serve(t, server, ServerConfig{HeadTimeout: -1, IdleTimeout: -1}, echo)
		c.Kill()
		waitFor(t, "Serve after Kill", done)
	})
}

// Not parallel: it counts the buffers of the whole process.
func TestServerConnHoldsNoBufferWhileIdle(t *testing.T) {
	if !raceEnabled {
		t.Skip("buffers are counted with the race detector only")
	}
	before := bytebuf.Outstanding()
	client, server := tcpPair(t)
	serve(t, server, ServerConfig{}, echo)
	br := bufio.NewReader(client)
	for _, body := range []string{"", strings.Repeat("x", 100_000)} {
		fmt.Fprintf(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		recvResponse(t, br, "POST")
		for deadline := time.Now().Add(patience); bytebuf.Outstanding() != before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d buffers are held while idle, want %d", bytebuf.Outstanding(), before)
			}
		}
	}
}

// However a connection ends, all buffers come back. Not parallel.
func TestServerConnReturnsBuffers(t *testing.T) {
	if !raceEnabled {
		t.Skip("buffers are counted with the race detector only")
	}
	before := bytebuf.Outstanding()
	for _, seed := range requestSeeds {
		for n := range 20 {
			cfg := ServerConfig{}.WithDefaults()
			for _, handle := range []func(*ServerStream){echo, func(*ServerStream) {}, func(s *ServerStream) { answer(s, 200, "x") }} {
				NewServerConn(&scriptConn{pieces: pieces([]byte(seed), n)}, &cfg, handle).Serve()
			}
		}
		if got := bytebuf.Outstanding(); got != before {
			t.Fatalf("after %q: %d buffers are out, want %d", seed, got, before)
		}
	}
}

// A seen request is what a handler got to know of one.
func FuzzServerConn(f *testing.F) {
	for _, seed := range requestSeeds {
		f.Add([]byte(seed), uint8(5))
	}
	for i := range requestSeeds {
		f.Add([]byte(requestSeeds[i]+requestSeeds[(i+1)%len(requestSeeds)]), uint8(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		if len(in) > 4<<10 {
			return
		}
		whole, out := serveScript(in, 0)
		for _, n := range []int{1, int(size)} {
			// However the bytes arrive, the same requests are handed on.
			got, out2 := serveScript(in, n)
			if got != whole {
				t.Fatalf("%q is read as\n%s, in pieces of %d as\n%s", in, whole, n, got)
			}
			// The answers are the same, too, but for a connection that ends
			// earlier because the rest of a body had not arrived.
			if out, out2 = answersOf(out), answersOf(out2); out != out2 {
				t.Errorf("%q is answered %q, in pieces of %d %q", in, out, n, out2)
			}
		}
	})
}

// answersOf returns responses without what depends on time: Date, and
// Connection, which says close if a part of the body had not yet arrived.
func answersOf(out string) string {
	return connectionLine.ReplaceAllString(dateLine.ReplaceAllString(out, ""), "")
}

var connectionLine = regexp.MustCompile("Connection: [^\r]*\r\n")

// serveScript serves what arrives in pieces of n bytes, and returns what the
// handler saw and what the client got.
func serveScript(in []byte, n int) (seen, out string) {
	script := &scriptConn{pieces: pieces(in, n)}
	cfg := ServerConfig{}.WithDefaults()
	var log strings.Builder
	NewServerConn(script, &cfg, func(s *ServerStream) {
		body, err := readBody(s.ReadBody)
		r := s.Request()
		fmt.Fprintf(&log, "%s %s %s %d %q %q %q err=%v\n", r.Method, r.Target, r.Proto, r.Length, r.Fields.String(), body, s.Trailers().String(), err != nil)
		if err != nil {
			s.Abort()
			return
		}
		answer(s, 200, "ok")
	}).Serve()
	return log.String(), script.out.String()
}

// A rig is a client on a connection that is served, without the costs of a
// real client.
type rig struct {
	client  net.Conn
	request []byte
	buf     []byte
	want    int // length of a response
}

func newRig(t testing.TB) *rig {
	client, server := tcpPair(t)
	client.SetDeadline(time.Time{})
	body := bytes.Repeat([]byte("x"), 100)
	serve(t, server, ServerConfig{}, func(s *ServerStream) {
		res := responsePool.Get().(*header.Response)
		res.Status, res.Length = 200, int64(len(body))
		s.WriteHead(res, false)
		s.WriteBody(body, true)
		responsePool.Put(res)
	})
	r := &rig{client: client, request: []byte(benchRequest), buf: make([]byte, 1<<10)}
	client.Write(r.request)
	n, err := client.Read(r.buf)
	if err != nil || !bytes.HasSuffix(r.buf[:n], body) {
		t.Fatalf("got %q, %v", r.buf[:n], err)
	}
	r.want = n
	return r
}

var responsePool = sync.Pool{New: func() any { return new(header.Response) }}

func (r *rig) roundTrip(t testing.TB) {
	if _, err := r.client.Write(r.request); err != nil {
		t.Fatal(err)
	}
	if n, err := r.client.Read(r.buf); n != r.want || err != nil {
		t.Fatalf("got %d bytes, %v, want %d", n, err, r.want)
	}
}

func TestServerConnAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(t)
	if got := testing.AllocsPerRun(200, func() { r.roundTrip(t) }); got > 1 { // the string of the head
		t.Errorf("%v allocations per request, want at most 1", got)
	}
}

func BenchmarkServerConn(b *testing.B) {
	r := newRig(b)
	b.ReportAllocs()
	for b.Loop() {
		r.roundTrip(b)
	}
}
