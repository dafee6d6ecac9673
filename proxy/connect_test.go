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
	"sync/atomic"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

const connectHead = "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n"

// tunnelOrigin answers CONNECT with status, or an HTTP/1 head, and echoes if
// that is a success.
type tunnelOrigin struct {
	status   atomic.Int64
	head     string // HTTP/1: sent instead of a status
	requests chan string
	echo     atomic.Int64 // bytes
}

// start starts the origin and returns a peer that reaches it.
func (o *tunnelOrigin) start(t *testing.T, p proxytest.Protocol) *upstream.Peer {
	t.Helper()
	o.requests = make(chan string, 10)
	if p == proxytest.H1 {
		return proxytest.To(proxytest.NewOrigin(t, proxytest.Script(o.serveH1)))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			go o.serveH2(nc)
		}
	}()
	return proxytest.PeerAt(l.Addr().String(), p)
}

func (o *tunnelOrigin) serveH1(c net.Conn, br *bufio.Reader) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		head.WriteString(line)
	}
	framing := "no framing"
	for _, name := range []string{"\r\ncontent-length:", "\r\ntransfer-encoding:"} {
		if strings.Contains(strings.ToLower(head.String()), name) {
			framing = name
		}
	}
	line, _, _ := strings.Cut(head.String(), " HTTP/1.1\r\n")
	o.requests <- line + ", " + framing
	switch status := o.status.Load(); {
	case o.head != "":
		_, _ = io.WriteString(c, o.head)
	case status >= 300:
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno", status)
		return
	default: // the framing fields mean nothing here (RFC 9110 section 9.3.6)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d OK\r\nContent-Length: 99\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n", status)
	}
	n, _ := io.Copy(c, br)
	o.echo.Add(n)
}

func (o *tunnelOrigin) serveH2(nc net.Conn) {
	cfg := http2.Config{}.WithDefaults()
	http2.NewServerConn(nc, &cfg, nil, func(s *http2.ServerStream) {
		req := s.Request()
		framing := "no framing"
		if req.Length >= 0 {
			framing = fmt.Sprint("length ", req.Length)
		}
		o.requests <- req.Method + " " + req.Target + ", " + framing
		status := int(o.status.Load())
		if status >= 300 {
			_ = s.WriteHead(&header.Response{Status: status, Length: 2}, false)
			_ = s.WriteBody([]byte("no"), true)
			return
		}
		_ = s.WriteHead(&header.Response{Status: status, Length: header.UnknownLength}, false)
		s.StartTunnelReads(-1)
		_ = s.StartTunnelWrites(-1)
		for last := false; !last; {
			piece, end, err := s.ReadBody()
			if err != nil {
				return
			}
			o.echo.Add(int64(len(piece)))
			if last = end; errors.Join(s.WriteBody(piece, last), s.Flush()) != nil {
				return
			}
		}
	}).Serve()
}

// tunnelClient is a client's end of a tunnel.
type tunnelClient struct {
	status int
	fields string
	body   string // of a refusal
	send   func(string) error
	read   func(n int) string // n bytes
	finish func() string      // ends our direction, and returns the rest of the other
}

// ask sends a request that is to open a tunnel: CONNECT or, if protocol is not
// "", extended CONNECT, which takes HTTP/2.
func (r *rig) ask(down proxytest.Protocol, protocol string) *tunnelClient {
	r.t.Helper()
	if down == proxytest.H1 {
		return r.askH1()
	}
	return r.askH2(protocol)
}

func (r *rig) askH1() *tunnelClient {
	r.t.Helper()
	conn := r.Dial()
	must(r.t, conn.Send(connectHead))
	res := conn.Response("CONNECT")
	must(r.t, res.Err)
	return &tunnelClient{
		status: res.Status, fields: res.Fields.String(), body: string(res.Body),
		send:   conn.Send,
		read:   func(n int) string { s, _ := conn.ReadFull(n); return s },
		finish: func() string { must(r.t, conn.CloseWrite()); s, _ := conn.Rest(); return s },
	}
}

func (r *rig) askH2(protocol string) *tunnelClient {
	r.t.Helper()
	st := dialH2(r.t, r.addr).NewStream(nil, patience, patience)
	r.t.Cleanup(st.Finish)
	head := &header.Request{Method: "CONNECT", Target: "b.test:443", Length: header.UnknownLength}
	if protocol != "" {
		head.Target = "/chat"
	}
	head.SetHost("b.test:443")
	must(r.t, errors.Join(st.WriteHead(head, protocol, false, false), st.Flush()))
	var res header.Response
	must(r.t, st.ReadHead(&res))
	c := &tunnelClient{status: res.Status, fields: res.Fields.String()}
	var got strings.Builder
	last := false
	more := func() bool {
		piece, end, err := st.ReadBody()
		if err != nil || last {
			return false
		}
		last = end
		got.Write(piece)
		return true
	}
	take := func() string { s := got.String(); got.Reset(); return s }
	if res.Status >= 300 {
		for !last && more() {
		}
		c.body = take()
		return c
	}
	st.StartTunnelReads(patience)
	st.StartTunnelWrites(patience)
	c.send = func(s string) error { return errors.Join(st.WriteBody([]byte(s), false), st.Flush()) }
	c.read = func(n int) string {
		for got.Len() < n && more() {
		}
		return take()
	}
	c.finish = func() string {
		must(r.t, st.WriteBody(nil, true))
		for !last && more() {
		}
		return take()
	}
	return c
}

// dialH2 returns a client connection without TLS that ends with t.
func dialH2(t testing.TB, addr string) *http2.ClientConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	must(t, err)
	cfg := http2.Config{}.WithDefaults()
	c := http2.NewClientConn(nc, &cfg, "http")
	t.Cleanup(c.Kill)
	return c
}

// newH2Rig is newRig for a mode whose clients the test makes itself.
func newH2Rig(t testing.TB, cfg proxy.Config, h hooks) *rig {
	t.Helper()
	cfg.Downstream.H2C = true
	return newRig(t, proxytest.Mode{Downstream: proxytest.H1}, cfg, h)
}

func wantRequest(t *testing.T, o *tunnelOrigin, want string) {
	t.Helper()
	if got := receive(t, "request", o.requests); got != want {
		t.Errorf("the origin got %q, want %q", got, want)
	}
}

// CONNECT works between any two versions.
func TestConnectPairs(t *testing.T) {
	proxytest.RunAll(t, func(t *testing.T, m proxytest.Mode) {
		o := &tunnelOrigin{}
		h := toPeer(o.start(t, m.Upstream))
		r := newH2Rig(t, proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}, h)

		o.status.Store(200)
		c := r.ask(m.Downstream, "")
		wantRequest(t, o, "CONNECT b.test:443, no framing")
		if fields := strings.ToLower(c.fields); c.status != 200 || strings.Contains(fields, "content-length") || strings.Contains(fields, "x-hop") {
			t.Fatalf("got %d, fields %q; want 200 without framing", c.status, c.fields)
		}
		must(t, c.send("hello"))
		if got := c.read(5); got != "hello" {
			t.Errorf("echo = %q, want hello", got)
		}
		data := string(proxytest.Pattern(100_000))
		must(t, c.send(data))
		if got := c.read(len(data)); got != data {
			t.Errorf("%d bytes came back, want %d", len(got), len(data))
		}
		if rest := c.finish(); rest != "" {
			t.Errorf("after the end: %q, want the end", rest)
		}
		r.wantOK()

		o.status.Store(403)
		if c := r.ask(m.Downstream, ""); c.status != 403 || c.body != "no" {
			t.Errorf("got %d, %q; want 403, no", c.status, c.body)
		}
		wantRequest(t, o, "CONNECT b.test:443, no framing")
		r.wantOK()
	})
}

// Where CONNECT is not allowed no version lets it through.
func TestConnectRefusedPairs(t *testing.T) {
	proxytest.RunAll(t, func(t *testing.T, m proxytest.Mode) {
		o := &tunnelOrigin{}
		r := newH2Rig(t, proxy.Config{}, toPeer(o.start(t, m.Upstream)))
		if c := r.ask(m.Downstream, ""); c.status != 405 {
			t.Errorf("got %d, want 405", c.status)
		}
		r.wantKind(proxyerr.Unsupported)
		if n := len(o.requests); n != 0 {
			t.Errorf("the origin got %d requests", n)
		}
	})
}

// A tunnel of HTTP would escape every rule here, so h2c is refused, whether
// CONNECT is allowed or not.
func TestExtendedConnectH2C(t *testing.T) {
	proxytest.RunAll(t, func(t *testing.T, m proxytest.Mode) {
		if m.Downstream != proxytest.H2 {
			t.Skip("HTTP/1 has no extended CONNECT")
		}
		for _, allow := range []bool{false, true} {
			for _, protocol := range []string{"h2c", "H2C"} {
				o := &tunnelOrigin{}
				o.status.Store(200)
				h := toPeer(o.start(t, m.Upstream))
				h.EarlyRequestFilter = func(*proxy.Session, *none) error { t.Error("a hook ran"); return nil }
				r := newH2Rig(t, proxy.Config{Downstream: proxy.Downstream{AllowConnect: allow}}, h)
				if c := r.ask(m.Downstream, protocol); c.status != 501 {
					t.Errorf("AllowConnect %v, %s: got %d, want 501", allow, protocol, c.status)
				}
				r.wantKind(proxyerr.Unsupported)
				if n := len(o.requests); n != 0 {
					t.Errorf("AllowConnect %v, %s: the origin got %d requests", allow, protocol, n)
				}
			}
		}
	})
}

// A CONNECT with content could be framed in two ways, as nobody says what that
// means (RFC 9110 section 9.3.6).
func TestConnectWithContent(t *testing.T) {
	o := &tunnelOrigin{}
	r := newH2Rig(t, proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}, toPeer(o.start(t, proxytest.H1)))
	for _, framing := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		if res := r.Do(strings.TrimSuffix(connectHead, "\r\n") + framing); res.Status != 400 || res.KeepAlive() {
			t.Errorf("%q: got %v, want 400 and close", framing, res)
		}
	}
	if n := r.proxy.Stats().Rejected; n != 2 {
		t.Errorf("%d requests were refused, want 2", n)
	}
	if n := len(o.requests); n != 0 {
		t.Errorf("the origin got %d requests", n)
	}
}

// A peer of HTTP/1 that answers a request to switch with anything successful
// but 101 has not switched.
func TestSwitchAnswered(t *testing.T) {
	for name, tt := range map[string]struct{ protocol, head string }{
		"200":               {"websocket", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot a ws!"},
		"204":               {"websocket", "HTTP/1.1 204 No Content\r\n\r\n"},
		"without proof":     {"websocket", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
		"another protocol":  {"echo", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"},
		"without a request": {"", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &tunnelOrigin{head: tt.head}
			r := newH2Rig(t, proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}, toPeer(o.start(t, proxytest.H1)))
			if c := r.askH2(tt.protocol); c.status != 502 {
				t.Errorf("got %d, want 502", c.status)
			}
			r.wantKind(proxyerr.BadMessage)
		})
	}
}
