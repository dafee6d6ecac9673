// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
)

// chunked returns body in the chunked coding, in pieces of size bytes.
func chunked(body string, size int) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

// Pingora: upload, duplex.
func TestUpload(t *testing.T) {
	proxytest.CheckLeaks(t)
	sizes := []int{1, 1000, 100_000, 15 << 20}
	if testing.Short() {
		sizes = sizes[:3]
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("done"))
		r := newRig(t, m, proxy.Config{}, to(origin))
		seen := 0
		for _, size := range sizes {
			body := string(proxytest.Pattern(size))
			for i, raw := range []string{
				r.Request("POST", "/", body),
				"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, max(size/100, 1)),
			} {
				res := r.Do(raw)
				res.Check(t, 200, "done")
				if !res.KeepAlive() {
					t.Errorf("%d bytes: the connection is closed", size)
				}
				seen++
				req := origin.WaitRequests(seen)[seen-1]
				if want := [...]proxytest.Framing{proxytest.ByLength, proxytest.ByChunks}[i]; req.Text() != body || req.Framing != want {
					t.Errorf("the origin got %d bytes by %q, want %d by %q", len(req.Body), req.Framing, size, want)
				}
				out := r.outcome()
				if out.err != nil || out.digest.RequestBodyBytes != int64(size) {
					t.Errorf("Log got %v and %d bytes, want %d", out.err, out.digest.RequestBodyBytes, size)
				}
			}
		}
		if origin.Connections() != 1 || r.Connections() != 1 {
			t.Errorf("%d and %d connections, want one each", origin.Connections(), r.Connections())
		}
	})
}

// Both directions move at once: the peer echoes each piece before it gets the
// next one.
func TestDuplex(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
			for { // skip the head
				if line, err := br.ReadString('\n'); err != nil || line == "\r\n" {
					break
				}
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for { // a chunk has the same form in both directions
				size, _ := br.ReadString('\n')
				data, err := br.ReadString('\n')
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, size+data)
				if size == "0\r\n" {
					return
				}
			}
		}))
		r := newRig(t, m, proxy.Config{}, to(origin))
		conn := r.Dial()
		must(t, conn.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"))
		// The head leaves before the body is in, so it cannot promise that the
		// connection will be in step afterwards.
		var seen strings.Builder
		for !strings.HasSuffix(seen.String(), "\r\n\r\n") {
			s, err := conn.ReadFull(1)
			must(t, err)
			seen.WriteString(s)
		}
		if head := seen.String(); !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(head, "\r\nConnection: close\r\n") {
			t.Errorf("head is %q, want 200 and Connection: close", head)
		}
		for i := range 50 {
			piece := fmt.Sprintf("piece %d.", i)
			must(t, conn.Send(fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece)))
			for !strings.Contains(seen.String(), piece) {
				s, err := conn.ReadFull(1)
				must(t, err)
				seen.WriteString(s)
			}
		}
		must(t, conn.Send("0\r\n\r\n"))
		for !strings.HasSuffix(seen.String(), "\r\n0\r\n\r\n") {
			s, err := conn.ReadFull(1)
			must(t, err)
			seen.WriteString(s)
		}
		r.wantOK()
	})
}

// Pingora: close_on_response_before_downstream_finish.
func TestResponseBeforeBodyEnds(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.AnswerEarly(), proxytest.Status(413), proxytest.BodySize(100_000))
		for _, size := range []int64{100, 15 << 20} { // of which the first byte is sent
			r := newRig(t, m, proxy.Config{}, to(origin))
			conn := r.Dial()
			must(t, conn.Send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nx", size)))
			res := conn.Response("POST")
			res.Check(t, 413, string(proxytest.Pattern(100_000)))
			if res.KeepAlive() {
				t.Error("the connection stays open with a body that nobody reads")
			}
			if rest, err := conn.Rest(); rest != "" || err != nil {
				t.Errorf("after the response: %q, %v; want the end", rest, err)
			}
			r.wantOK()
			origin.WaitOpen(0) // the peer's connection cannot be used again
		}
	})
}

// The same for a client that goes on sending all of it, and reads meanwhile.
func TestResponseDuringUpload(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.AnswerEarly(), proxytest.Status(413), proxytest.BodySize(100_000))
		for _, framing := range []string{"Content-Length: 15728640\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nf00000\r\n"} {
			r := newRig(t, m, proxy.Config{}, to(origin))
			conn := r.Dial()
			must(t, conn.Send("POST / HTTP/1.1\r\nHost: a\r\n"+framing))
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_ = conn.Send(string(proxytest.Pattern(15 << 20))) // the proxy may end it
			}()
			res := conn.Response("POST")
			res.Check(t, 413, string(proxytest.Pattern(100_000)))
			if res.KeepAlive() {
				t.Error("the connection stays open with a body that nobody reads")
			}
			r.wantOK()
			_ = conn.Close()
			<-sent
			origin.WaitOpen(0)
		}
	})
}

// Pingora: upload_connection_die.
func TestPeerDiesInUploadAfterAnswer(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
			_, _ = br.ReadString('\n')
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nokay")
			_, _ = io.CopyN(io.Discard, br, 1<<20)
			proxytest.Reset(c)
		}))
		r := newRig(t, m, proxy.Config{}, to(origin))
		conn := r.Dial()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			if conn.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n") == nil {
				_ = conn.Send(chunked(string(proxytest.Pattern(15<<20)), 10_000))
			}
		}()
		res := conn.Response("POST")
		res.Check(t, 200, "okay")
		if res.KeepAlive() {
			t.Error("the connection stays open")
		}
		r.wantOK()
		_ = conn.Close()
		<-sent
	})
}

// A peer that dies in the middle of the upload without an answer.
func TestPeerDiesInUpload(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, method := range []string{"POST", "PUT"} {
			origin := proxytest.NewOrigin(t, proxytest.Script(func(c net.Conn, br *bufio.Reader) {
				_, _ = io.CopyN(io.Discard, br, 1<<20)
				proxytest.Reset(c)
			}))
			r := newRig(t, m, proxy.Config{}, to(origin))
			if res := r.Do(r.Request(method, "/", string(proxytest.Pattern(15<<20)))); res.Complete && res.Status != 502 {
				t.Errorf("%s: got %v, want 502 or a cut connection", method, res)
			}
			r.wantKind(proxyerr.ConnClosed)
			if got := origin.Connections(); got != 1 {
				t.Errorf("%s: %d connections, want 1: the body cannot be sent again", method, got)
			}
		}
	})
}

// What goes wrong on the client's side while the peer waits for more of the
// body.
func TestClientFailsInUpload(t *testing.T) {
	proxytest.CheckLeaks(t)
	const fixed, open = "Content-Length: 10\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	large := "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 300_000)
	tests := []struct {
		name   string
		raw    string // after the first fields
		end    func(*proxytest.Conn)
		status int
		kind   proxyerr.Kind
	}{
		{name: "closes", raw: fixed + "abc", end: func(c *proxytest.Conn) { _ = c.Close() }, kind: proxyerr.ConnClosed},
		{name: "half-closes", raw: fixed + "abc", end: func(c *proxytest.Conn) { _ = c.CloseWrite() }, kind: proxyerr.ConnClosed},
		{name: "resets", raw: fixed + "abc", end: (*proxytest.Conn).Reset, kind: proxyerr.ConnClosed},
		{name: "closes in chunks", raw: open + "3\r\nabc\r\n", end: func(c *proxytest.Conn) { _ = c.Close() }, kind: proxyerr.ConnClosed},
		{name: "bad chunk", raw: open + "3\r\nabc\r\nzz\r\n", status: 400, kind: proxyerr.BadMessage},
		{name: "bad first chunk", raw: open + "-1\r\n", status: 400, kind: proxyerr.BadMessage},
		{name: "too many trailers", raw: open + "0\r\nA: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", status: 400, kind: proxyerr.BadMessage},
		{name: "stalls", raw: fixed + "abc", status: 408, kind: proxyerr.ReadTimeout},
		{name: "closes a large one", raw: large, end: func(c *proxytest.Conn) { _ = c.Close() }, kind: proxyerr.ConnClosed},
		{name: "resets a large one", raw: large, end: (*proxytest.Conn).Reset, kind: proxyerr.ConnClosed},
		{name: "stalls in a large one", raw: large, status: 408, kind: proxyerr.ReadTimeout},
	}
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
				cfg := proxy.Config{Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{BodyTimeout: 300 * time.Millisecond}}}
				if tt.status != 408 {
					cfg.Downstream.HTTP1.BodyTimeout = patience
				}
				r := newRig(t, m, cfg, to(origin))
				conn := r.Dial()
				must(t, conn.Send("PUT / HTTP/1.1\r\nHost: a\r\n"))
				must(t, conn.Send(tt.raw))
				if tt.end != nil {
					origin.WaitConnections(1) // the request is on its way
					tt.end(conn)
				}
				if tt.status != 0 {
					if res := conn.Response("PUT"); res.Status != tt.status || res.KeepAlive() {
						t.Errorf("got %v, want %d and close", res, tt.status)
					}
				}
				out := r.outcome()
				e, ok := errors.AsType[*proxyerr.Error](out.err)
				if !ok || e.Source != proxyerr.Downstream || e.Kind != tt.kind || out.digest.Status != tt.status || out.digest.Attempts != 1 {
					t.Errorf("Log got %v, status %d, %d attempts; want a downstream error %q, %d, 1", out.err, out.digest.Status, out.digest.Attempts, tt.kind, tt.status)
				}
				origin.WaitOpen(0)
				if got := origin.Requests(); len(got) != 0 {
					t.Errorf("the origin took %v for a whole request", got)
				}
			})
		}
	})
}

// Pingora: the proxy does not answer Expect: 100-continue by itself, it relays
// the peer's answer.
func TestExpectContinue(t *testing.T) {
	proxytest.CheckLeaks(t)
	const head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		t.Run("continues", func(t *testing.T) {
			origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
			r := newRig(t, m, proxy.Config{}, to(origin))
			conn := r.Dial()
			for i := range 2 {
				must(t, conn.Send(head))
				conn.Next("POST").Check(t, 100, "")
				must(t, conn.Send("body"))
				conn.Next("POST").Check(t, 200, "")
				if req := origin.WaitRequests(i + 1)[i]; req.Text() != "body" || req.Fields.Get("Expect") != "100-continue" {
					t.Errorf("the origin got %q with Expect %q", req.Text(), req.Fields.Get("Expect"))
				}
				r.wantOK()
			}
		})
		t.Run("refused", func(t *testing.T) {
			origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.AnswerEarly(), proxytest.Status(417))
			r := newRig(t, m, proxy.Config{}, to(origin))
			conn := r.Dial()
			must(t, conn.Send(head))
			if res := conn.Next("POST"); res.Status != 417 || res.KeepAlive() {
				t.Errorf("got %v, want 417 and close", res)
			}
			r.wantOK()
		})
		t.Run("ignored by the peer", func(t *testing.T) {
			origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.IgnoreExpectation())
			r := newRig(t, m, proxy.Config{}, to(origin))
			conn := r.Dial()
			must(t, conn.SendPieces(time.Millisecond, head, "body"))
			conn.Next("POST").Check(t, 200, "")
			r.wantOK()
		})
		t.Run("ignored by the client", func(t *testing.T) {
			origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
			r := newRig(t, m, proxy.Config{}, to(origin))
			r.Do(head+"body").Check(t, 200, "")
			if req := origin.WaitRequests(1)[0]; req.Fields.Has("Expect") {
				t.Error("Expect was sent together with the body")
			}
			r.wantOK()
		})
		t.Run("unknown", func(t *testing.T) {
			origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
			r := newRig(t, m, proxy.Config{}, to(origin))
			if res := r.Post("/", "body", "Expect", "magic"); res.Status != 417 {
				t.Errorf("got %v, want 417", res)
			}
		})
	})
}

func TestRequestBodyFilters(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		seen := 0
		for _, size := range []int{1, 10, 200_000} {
			body := string(proxytest.Pattern(size))
			for _, f := range bodyFilters {
				t.Run(fmt.Sprintf("%d/%s", size, f.name), func(t *testing.T) {
					for _, raw := range []string{
						"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + fmt.Sprint(size) + "\r\n\r\n" + body,
						"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 7000),
					} {
						want := f.want(body)
						framing := proxytest.ByChunks
						h := to(origin)
						filter := f.make()
						h.RequestBodyFilter = func(_ *proxy.Session, _ *none, chunk []byte, last bool) ([]byte, error) {
							return filter(chunk, last), nil
						}
						if size == 10 {
							framing = proxytest.ByLength
							h.UpstreamRequestFilter = func(_ *proxy.Session, _ *none, head *header.Request) error {
								head.Length = int64(len(want))
								return nil
							}
						}
						r := newRig(t, m, proxy.Config{}, h)
						r.Do(raw).Check(t, 200, "")
						r.wantOK()
						seen++
						if req := origin.WaitRequests(seen)[seen-1]; req.Text() != want || req.Framing != framing && want != "" {
							t.Errorf("the origin got %d bytes by %q, want %d by %q", len(req.Body), req.Framing, len(want), framing)
						}
					}
				})
			}
		}
		if v := origin.Violations(); len(v) > 0 {
			t.Errorf("violations: %v", v)
		}
	})
}

// An error of RequestBodyFilter reaches the client, also from the goroutine of
// the upload.
func TestRequestBodyFilterRejects(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream))
		h := to(origin)
		h.RequestBodyFilter = func(_ *proxy.Session, _ *none, chunk []byte, _ bool) ([]byte, error) {
			if strings.Contains(string(chunk), "evil") {
				return nil, proxyerr.WithStatus(403, "evil")
			}
			return chunk, nil
		}
		r := newRig(t, m, proxy.Config{}, h)
		for range 20 { // the goroutines race
			for _, pieces := range [][]string{{"evil"}, {"ev", "il", "", "evil"}} {
				conn := r.Dial()
				must(t, conn.Send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"))
				for _, p := range pieces {
					if p != "" {
						_ = conn.Send(fmt.Sprintf("%x\r\n%s\r\n", len(p), p))
					}
				}
				if res := conn.Response("PUT"); res.Status != 403 || res.KeepAlive() {
					t.Errorf("got %v, want 403 and close", res)
				}
				r.wantKind(proxyerr.HTTPStatus)
				_ = conn.Close()
			}
		}
		if got := origin.Requests(); len(got) != 0 {
			t.Errorf("the origin took %v for a whole request", got)
		}
	})
}

// A peer that does not read stops the reading from the client.
func TestBackPressureUp(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		peer := proxytest.To(proxytest.NewOrigin(t, proxytest.NeverRead()))
		peer.WriteTimeout, peer.ReadTimeout = 3*time.Second, time.Second
		r := newRig(t, m, proxy.Config{}, toPeer(peer))
		conn := r.Dial()
		nc := conn.NetConn()
		must(t, conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"))
		taken, piece := 0, make([]byte, 64<<10)
		for {
			_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := nc.Write(piece)
			if taken += n; err != nil {
				break
			}
		}
		if taken > 48<<20 {
			t.Errorf("%d bytes taken from the client for a peer that reads none", taken)
		}
		_ = conn.Close()
		r.outcome()
	})
}

// Pingora: upstream write timeout.
func TestPeerDoesNotTakeBody(t *testing.T) {
	t.Parallel()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		peer := proxytest.To(proxytest.NewOrigin(t, proxytest.NeverRead()))
		peer.WriteTimeout, peer.ReadTimeout = 200*time.Millisecond, 200*time.Millisecond
		r := newRig(t, m, proxy.Config{}, toPeer(peer))
		conn := r.Dial()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_ = conn.Send(r.Request("POST", "/", string(make([]byte, 64<<20))))
		}()
		if res := conn.Response("POST"); res.Status != 504 {
			t.Errorf("got %v, want 504", res)
		}
		out := r.outcome()
		if e, ok := errors.AsType[*proxyerr.Error](out.err); !ok || e.Source != proxyerr.Upstream || !e.Timeout() || out.digest.Attempts != 1 {
			t.Errorf("Log got %v after %d attempts, want an upstream timeout after 1", out.err, out.digest.Attempts)
		}
		_ = conn.Close()
		<-sent
	})
}
