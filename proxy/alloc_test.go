// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// wantAllocs is what one warm request allocates: its two heads and its hook
// state.
const wantAllocs = 3

// pair is a client and an origin, with a proxy between them, that allocate
// nothing themselves.
type pair struct {
	proxy *proxy.Proxy
	addr  string
	hold  chan struct{} // the origin answers when it can receive
}

// newPair returns a pair whose origin answers with body bytes.
func newPair(t testing.TB, body int) *pair {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{hold: make(chan struct{})}
	close(p.hold)
	answer := append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: raw\r\nContent-Length: %d\r\n\r\n", body), proxytest.Pattern(body)...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c, answer) })
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	peer := &upstream.Peer{Addr: l.Addr().String()}
	type state struct{ n int }
	p.proxy, err = proxy.New(proxy.Config{}, proxy.Hooks[state]{
		UpstreamPeer: func(_ *proxy.Session, st *state) (*upstream.Peer, error) { st.n++; return peer, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.proxy.Connector().Close)
	p.addr = proxytest.Listen(t, p.proxy)
	return p
}

// serve is the origin: it answers whatever ends in an empty line.
func (p *pair) serve(c net.Conn, answer []byte) {
	defer c.Close()
	buf := make([]byte, 4096)
	for n := 0; ; {
		k, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += k; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		n = 0
		<-p.hold
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

var rawRequest = []byte("GET /path HTTP/1.1\r\nHost: origin.test\r\nUser-Agent: raw\r\nAccept: */*\r\n\r\n")

// rawClient is one connection of a client.
type rawClient struct {
	c    net.Conn
	buf  []byte
	size int // of a response; 0 before the first
}

func (p *pair) dial(t testing.TB) *rawClient {
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &rawClient{c: c, buf: make([]byte, 256<<10)}
}

// roundTrip sends a request and reads the response, which always has the same
// size.
func (c *rawClient) roundTrip() error {
	if _, err := c.c.Write(rawRequest); err != nil {
		return err
	}
	for n := 0; n == 0 || n < c.size; {
		k, err := c.c.Read(c.buf[n:])
		if err != nil {
			return err
		}
		if n += k; c.size == 0 {
			head, _, ok := bytes.Cut(c.buf[:n], []byte("\r\n\r\n"))
			_, length, _ := bytes.Cut(head, []byte("Content-Length: "))
			length, _, _ = bytes.Cut(length, []byte("\r\n"))
			if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
				return fmt.Errorf("bad response %.100q", c.buf[:n])
			}
			body, err := strconv.Atoi(string(length))
			if err != nil {
				return err
			}
			c.size = len(head) + 4 + body
		}
		if n > c.size {
			return fmt.Errorf("%d bytes of response, want %d", n, c.size)
		}
	}
	return nil
}

func TestExchangeAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, body := range []int{0, 100, 4 << 10} {
		c := newPair(t, body).dial(t)
		for range 100 { // warm connections and pools
			must(t, c.roundTrip())
		}
		var err error
		got := math.Inf(1)
		for try := 0; try < 5 && got != wantAllocs; try++ { // others on the machine can only add
			got = min(got, testing.AllocsPerRun(2000, func() {
				if e := c.roundTrip(); e != nil {
					err = e
				}
			}))
		}
		must(t, err)
		if got != wantAllocs {
			t.Errorf("body of %d bytes: %v allocations per request, want exactly %d; if it is less, lower the number", body, got, wantAllocs)
		}
	}
}

// Under steady load practically every request finds a connection.
func TestReuseRatio(t *testing.T) {
	const clients, requests = 16, 10_000
	p := newPair(t, 100)
	p.hold = make(chan struct{})
	var conns []*rawClient
	for range clients {
		conns = append(conns, p.dial(t))
	}
	each := func(n int) {
		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() {
				for range n {
					if err := c.roundTrip(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if n == 1 { // all are under way at once, so that each has a connection
			eventually(t, "all connections", func() bool { return p.proxy.Connector().Stats().Dialed == clients })
			close(p.hold)
		}
		wg.Wait()
	}
	each(1)
	before := p.proxy.Connector().Stats()
	each(requests / clients)
	after := p.proxy.Connector().Stats()
	reused, dialed := after.Reused-before.Reused, after.Dialed-before.Dialed
	if reused+dialed != requests || float64(reused) < 0.999*requests {
		t.Errorf("%d requests on used connections and %d on new ones, want %d in all, 99.9 %% of them used", reused, dialed, requests)
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, body := range []int{0, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("body=%d", body), func(b *testing.B) {
			c := newPair(b, body).dial(b)
			must(b, c.roundTrip())
			b.ReportAllocs()
			b.SetBytes(int64(body))
			for b.Loop() {
				if err := c.roundTrip(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
