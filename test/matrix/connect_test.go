// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/test/internal/modes"
)

const connectTarget = "target.test:443"

// connectOrigin is a peer that takes CONNECT requests for connectTarget and
// nothing else. A tunnel begins with "hello " and then returns what it gets.
// status is that of its answer; any but 200 comes with the body "no".
type connectOrigin struct {
	status   int
	requests atomic.Int64
}

func (o *connectOrigin) start(t testing.TB, p modes.Protocol) (addr string) {
	serve := o.serveH1
	if p.H2 {
		serve = o.serveH2
	}
	return newScript(t, p, func(nc net.Conn, _ int) {
		if err := serve(nc); err != nil {
			t.Errorf("peer: %v", err)
		}
	})
}

func (o *connectOrigin) serveH1(nc net.Conn) error {
	_ = nc.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(nc)
	req, err := http.ReadRequest(br)
	if err == io.EOF {
		return nil // a connection that nobody used
	} else if err != nil {
		return err
	}
	o.requests.Add(1)
	if req.Method != "CONNECT" || req.RequestURI != connectTarget || req.Host != connectTarget || len(req.TransferEncoding) > 0 || req.ContentLength > 0 {
		return fmt.Errorf("got %s %s for host %s, length %d, %q", req.Method, req.RequestURI, req.Host, req.ContentLength, req.TransferEncoding)
	}
	if o.status != 200 {
		_, err = fmt.Fprintf(nc, "HTTP/1.1 %d No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", o.status)
		return err
	}
	if _, err := io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\nhello "); err != nil {
		return err
	}
	if _, err := io.Copy(nc, br); err != nil {
		return err
	}
	return nc.(interface{ CloseWrite() error }).CloseWrite()
}

func (o *connectOrigin) serveH2(nc net.Conn) error {
	c, err := acceptFrames(nc)
	if err != nil {
		return nil // the test is over
	}
	for {
		f, err := c.next()
		if err != nil || f.kind == frameGoAway {
			return nil
		}
		switch {
		case f.kind == frameHeaders:
			if err = o.answer(c, f); err != nil {
				return err
			}
		case f.kind == frameData:
			err = c.data(f.stream, f.ends(), string(f.payload))
		}
		if err != nil {
			return err
		}
	}
}

func (o *connectOrigin) answer(c *frames, f frame) error {
	o.requests.Add(1)
	if f.ends() || f.field(":method") != "CONNECT" || f.field(":authority") != connectTarget || f.field(":path") != "" || f.field(":scheme") != "" {
		return fmt.Errorf("got %v, end %v", f.fields, f.ends())
	}
	if o.status == 200 {
		if err := c.headers(f.stream, false, ":status", "200"); err != nil {
			return err
		}
		return c.data(f.stream, false, "hello ")
	}
	if err := c.headers(f.stream, false, ":status", fmt.Sprint(o.status)); err != nil {
		return err
	}
	return c.data(f.stream, true, "no")
}

// connect sends a CONNECT request, the pieces when the answer is there, and
// then the end of its side. It returns the status and all that came after it.
func (r *rig) connect(pieces ...string) (status, body string) {
	r.t.Helper()
	if r.mode.Down.H2 {
		return r.connectH2(pieces)
	}
	nc := r.mode.Down.Dial(r.t, r.addr)
	_ = nc.SetDeadline(time.Now().Add(patience))
	_, err := fmt.Fprintf(nc, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", connectTarget, connectTarget)
	must(r.t, err)
	br := bufio.NewReader(nc)
	res, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
	must(r.t, err)
	status = fmt.Sprint(res.StatusCode)
	if status != "200" {
		all, err := io.ReadAll(res.Body)
		must(r.t, err)
		return status, string(all)
	}
	for _, p := range pieces {
		_, err := io.WriteString(nc, p)
		must(r.t, err)
	}
	must(r.t, nc.(interface{ CloseWrite() error }).CloseWrite())
	all, err := io.ReadAll(br)
	must(r.t, err)
	return status, string(all)
}

func (r *rig) connectH2(pieces []string) (status, body string) {
	c := dialFrames(r.t, r.mode.Down, r.addr)
	must(r.t, c.headers(1, false, ":method", "CONNECT", ":authority", connectTarget))
	for {
		f, err := c.next()
		must(r.t, err)
		switch f.kind {
		case frameHeaders:
			status = f.field(":status")
			if status == "200" {
				for _, p := range pieces {
					must(r.t, c.data(1, false, p))
				}
				must(r.t, c.data(1, true, ""))
			}
		case frameData:
			body += string(f.payload)
		case frameReset:
			if status != "" && f.code() == codeNo { // what we did not send is not wanted
				return status, body
			}
			r.t.Fatalf("reset with code %d after status %q and %q", f.code(), status, body)
		}
		if f.ends() {
			return status, body
		}
	}
}

// A tunnel by CONNECT carries bytes both ways, and each side ends by itself.
func TestConnect(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1000)
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := &connectOrigin{status: 200}
		cfg := proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}
		r := newRigWith(t, m, cfg, toPeers(m.Up.PeerAt(t, o.start(t, m.Up))))
		for range 2 {
			if status, body := r.connect("a", long, "b"); status != "200" || body != "hello a"+long+"b" {
				t.Errorf("got %s and %d bytes, %.20q; want 200 and all bytes back", status, len(body), body)
			}
			if got := r.outcome(); got.err != nil {
				t.Errorf("Log got %v", got.err)
			}
		}
	})
}

// A peer that refuses the tunnel answers as to any request.
func TestConnectRefusedByPeer(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := &connectOrigin{status: 403}
		cfg := proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}}
		r := newRigWith(t, m, cfg, toPeers(m.Up.PeerAt(t, o.start(t, m.Up))))
		if status, body := r.connect(); status != "403" || body != "no" {
			t.Errorf("got %s, %q; want 403 and the body", status, body)
		}
	})
}

// Unless it is allowed, no CONNECT reaches a peer, and none of the extended
// kind that would make a tunnel for HTTP.
func TestConnectNotAllowed(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := &connectOrigin{status: 200}
		r := newRigWith(t, m, proxy.Config{}, toPeers(m.Up.PeerAt(t, o.start(t, m.Up))))
		if status, _ := r.connect(); !strings.HasPrefix(status, "4") && !strings.HasPrefix(status, "5") {
			t.Errorf("got %s, want a refusal", status)
		}
		if m.Down.H2 {
			c := dialFrames(t, m.Down, r.addr)
			must(t, c.headers(1, false, ":method", "CONNECT", ":scheme", c.scheme, ":authority", connectTarget, ":path", "/", ":protocol", "h2c"))
			if rep := c.reply(t, 1); !rep.reset && !strings.HasPrefix(rep.status, "4") && !strings.HasPrefix(rep.status, "5") {
				t.Errorf("a tunnel for h2c: got %s, want a refusal", rep.status)
			}
		}
		if n := o.requests.Load(); n != 0 {
			t.Errorf("%d requests reached the peer", n)
		}
	})
}
