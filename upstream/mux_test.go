// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/proxyerr"
)

// An h2Origin answers over HTTP/2, and over HTTP/1.1 if TLS leads to that.
type h2Origin struct {
	http1 origin
	tls   atomic.Pointer[tls.Config] // nil: no TLS
	open  atomic.Int64               // connections over HTTP/2
	made  atomic.Int64               // connections of any kind
}

// newH2Origin returns an origin that speaks protos by ALPN, and roots for it.
func newH2Origin(t testing.TB, protos ...string) (*h2Origin, *testcert.CA) {
	o := &h2Origin{http1: origin{answer: ok}}
	ca := testcert.NewCA(t, "root")
	o.tls.Store(&tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, testcert.Spec{Names: []string{"example.com"}})},
		NextProtos:   protos,
	})
	return o, ca
}

// speak makes connections that come from now on choose among protos.
func (o *h2Origin) speak(protos ...string) {
	cfg := o.tls.Load().Clone()
	cfg.NextProtos = protos
	o.tls.Store(cfg)
}

// dial connects to o in memory, whatever the address.
func (o *h2Origin) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	o.made.Add(1)
	go o.serve(far)
	return near, nil
}

func (o *h2Origin) serve(nc net.Conn) {
	if cfg := o.tls.Load(); cfg != nil {
		tc := tls.Server(nc, cfg)
		if tc.Handshake() != nil {
			nc.Close()
			return
		}
		if nc = tc; tc.ConnectionState().NegotiatedProtocol != protoH2 {
			o.http1.serve(nc)
			return
		}
	}
	o.open.Add(1)
	defer o.open.Add(-1)
	cfg := http2.Config{}.WithDefaults()
	http2.NewServerConn(nc, &cfg, nil, func(s *http2.ServerStream) {
		_ = s.WriteHead(&header.Response{Status: 200, Length: 2}, false)
		_ = s.WriteBody([]byte("hi"), true)
	}).Serve()
}

// inBubble runs test on a fake clock, and gives connections a minute to end.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) })
		test(t)
	})
}

// stream returns a stream to p, as the proxy gets it.
func stream(t testing.TB, c *Connector, p *Peer) Stream {
	t.Helper()
	if s := c.Open(p, nil); s != nil {
		return s
	}
	s, err := c.Connect(t.Context(), p, nil)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return s
}

// roundTrip sends a request on s, checks the answer and releases s.
func roundTrip(t testing.TB, s Stream) {
	t.Helper()
	req := &header.Request{Method: "GET", Target: "/"}
	req.Fields.Add("Host", "example.com")
	if err := s.WriteHead(req, "", false, true); err != nil {
		t.Fatal(err)
	}
	var res header.Response
	if err := s.SendAndReadHead(&res); err != nil {
		t.Fatal(err)
	}
	var body strings.Builder
	for last := false; !last; {
		var piece []byte
		var err error
		if piece, last, err = s.ReadBody(); err != nil {
			t.Fatal(err)
		}
		body.Write(piece)
	}
	check(t, "body", body.String(), "hi")
	s.Release(time.Now())
}

// connectAll calls Connect n times at the same time and returns the streams.
func connectAll(t testing.TB, c *Connector, p *Peer, n int) []Stream {
	t.Helper()
	streams := make([]Stream, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { streams[i], errs[i] = c.Connect(t.Context(), p, nil) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return streams
}

// HTTP/2 over TLS, as ALPN decides, on real sockets.
func TestHTTP2OverTLS(t *testing.T) {
	tests := []struct {
		alpn  ALPN
		peer  []string // what the peer knows
		proto header.Proto
	}{
		{ALPNHTTP1, []string{"h2", "http/1.1"}, header.HTTP11},
		{ALPNH2HTTP1, []string{"h2", "http/1.1"}, header.HTTP2},
		{ALPNH2HTTP1, []string{"http/1.1"}, header.HTTP11},
		{ALPNH2HTTP1, nil, header.HTTP11},
		{ALPNH2, []string{"h2", "http/1.1"}, header.HTTP2},
	}
	for _, tt := range tests {
		o, ca := newH2Origin(t, tt.peer...)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				o.made.Add(1)
				go o.serve(nc)
			}
		}()
		c := newConnector(t, Config{RootCAs: ca.Pool()})
		p := &Peer{Addr: l.Addr().String(), TLS: true, ServerName: "example.com", ALPN: tt.alpn}
		for i := range 3 {
			s := stream(t, c, p)
			check(t, "Proto", s.Proto(), tt.proto)
			check(t, "Reused", s.Reused(), i > 0)
			roundTrip(t, s)
		}
		check(t, "connections", o.made.Load(), 1)
		stats := c.Stats()
		check(t, "Dialed", stats.Dialed, 1)
		check(t, "Reused", stats.Reused, 2)
	}
}

// A peer that has to speak HTTP/2 and does not is an error that says so.
func TestHTTP2Required(t *testing.T) {
	for name, protos := range map[string][]string{"http/1.1": {"http/1.1"}, "no ALPN": nil} {
		t.Run(name, func(t *testing.T) {
			o, ca := newH2Origin(t, protos...)
			c := newConnector(t, Config{RootCAs: ca.Pool(), Dial: o.dial})
			_, err := c.Connect(t.Context(), &Peer{Addr: "a:1", TLS: true, ServerName: "example.com", ALPN: ALPNH2}, nil)
			checkTLSError(t, err, proxyerr.TLSHandshake, proxyerr.RetryAlways)
			if err != nil && !strings.Contains(err.Error(), "the peer does not speak h2") {
				t.Errorf("Connect: %v, want that it does not speak h2", err)
			}
		})
	}
}

// The scheme of a request over HTTP/2 is that of its connection.
func TestHTTP2Scheme(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, testcert.Spec{Names: []string{"example.com"}})},
		NextProtos:   []string{"h2"},
	}
	for scheme, p := range map[string]*Peer{
		"http":  {Addr: "a:1", ALPN: ALPNH2},
		"https": {Addr: "a:1", ALPN: ALPNH2, TLS: true, ServerName: "example.com"},
	} {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close() })
		got := make(chan string, 1)
		go func() {
			if p.TLS {
				far = tls.Server(far, server)
			}
			got <- readScheme(far)
		}()
		c := newConnector(t, Config{RootCAs: ca.Pool(), Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
		s := stream(t, c, p)
		req := &header.Request{Method: "GET", Target: "/"}
		req.Fields.Add("Host", "example.com")
		if err := s.WriteHead(req, "", false, true); err != nil {
			t.Fatal(err)
		}
		check(t, ":scheme", <-got, scheme)
		s.Discard()
	}
}

// readScheme reads from a client of HTTP/2 until its first request and returns
// the scheme of that.
func readScheme(nc net.Conn) (scheme string) {
	br := bufio.NewReader(nc)
	if _, err := br.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return err.Error()
	}
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(br, head); err != nil {
			return err.Error()
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(br, payload); err != nil {
			return err.Error()
		}
		if head[3] != 1 { // HEADERS
			continue
		}
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(payload)
		if err != nil {
			return err.Error()
		}
		for _, f := range fields {
			if f.Name == ":scheme" {
				scheme = f.Value
			}
		}
		return scheme
	}
}

// Requests that come together share one connection, if it may be one of
// HTTP/2, and cope with an answer that it is not.
func TestConnectTogether(t *testing.T) {
	for _, tt := range []struct {
		protos []string
		proto  header.Proto
	}{{[]string{"h2"}, header.HTTP2}, {[]string{"http/1.1"}, header.HTTP11}} {
		inBubble(t, func(t *testing.T) {
			o, ca := newH2Origin(t, tt.protos...)
			c := newConnector(t, Config{RootCAs: ca.Pool(), Dial: slow(o.dial)})
			p := &Peer{Addr: "a:1", TLS: true, ServerName: "example.com", ALPN: ALPNH2HTTP1}
			for _, s := range connectAll(t, c, p, 20) {
				check(t, "Proto", s.Proto(), tt.proto)
				roundTrip(t, s)
			}
			if tt.proto == header.HTTP2 {
				check(t, "connections", o.made.Load(), 1)
				check(t, "Reused", c.Stats().Reused, 19)
			} else {
				check(t, "connections", o.made.Load(), 20)
			}
		})
	}
}

// slow makes a dial take a second.
func slow(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-time.After(time.Second):
			return dial(ctx, network, addr)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// The choice of a peer is remembered for protoMemory: until then requests do
// not wait to see whether they can share a connection.
func TestChoiceChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o, ca := newH2Origin(t, "http/1.1")
		c := newConnector(t, Config{RootCAs: ca.Pool(), Dial: slow(o.dial)})
		p := &Peer{Addr: "a:1", TLS: true, ServerName: "example.com", ALPN: ALPNH2HTTP1}
		connect := func(n int, want header.Proto) (made int64) {
			before := o.made.Load()
			for _, s := range connectAll(t, c, p, n) {
				check(t, "Proto", s.Proto(), want)
				roundTrip(t, s)
			}
			return o.made.Load() - before
		}
		connect(1, header.HTTP11)
		time.Sleep(time.Minute) // the connection is not kept for as long
		start := time.Now()
		check(t, "connections while it is known", connect(5, header.HTTP11), 5)
		check(t, "time", time.Since(start), time.Second) // none waited for another

		o.speak("h2", "http/1.1")
		time.Sleep(protoMemory)
		check(t, "connections when it is not known", connect(5, header.HTTP2), 1)

		o.speak("http/1.1")
		check(t, "connections while there is one", connect(5, header.HTTP2), 0)
		time.Sleep(time.Minute)
		check(t, "HTTP/2 connections that are left", o.open.Load(), 0)
		check(t, "connections after that", connect(5, header.HTTP11), 5)
	})
}

// What is known of a peer is not taken for another.
func TestChoiceIdentity(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o, ca := newH2Origin(t, "h2")
		old, oldCA := newH2Origin(t, "http/1.1")
		c := newConnector(t, Config{RootCAs: ca.Pool(), Dial: o.dial})
		one := &Peer{Addr: "a:1", TLS: true, ServerName: "example.com", ALPN: ALPNH2HTTP1}
		two := &Peer{Addr: "a:1", TLS: true, ServerName: "example.com", ALPN: ALPNH2HTTP1, Dial: old.dial, RootCAs: oldCA.Pool()}
		three := &Peer{Addr: "a:1", TLS: true, ServerName: "example.com", ALPN: ALPNH2HTTP1, Group: 1}
		for range 2 {
			for p, want := range map[*Peer]header.Proto{one: header.HTTP2, two: header.HTTP11, three: header.HTTP2} {
				s := stream(t, c, p)
				check(t, "Proto", s.Proto(), want)
				roundTrip(t, s)
			}
		}
		check(t, "connections", o.made.Load(), 2)
		check(t, "connections to the other", old.made.Load(), 1)
	})
}
