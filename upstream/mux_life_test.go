// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// newH2COrigin returns an origin that speaks HTTP/2 without TLS.
func newH2COrigin() *h2Origin { return &h2Origin{} }

// blackHole is a dial to which nobody answers.
func blackHole(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Requests to a dead peer fail when the one dial that they wait for does.
func TestSharedDialFails(t *testing.T) {
	for name, p := range map[string]*Peer{
		"h2c": {Addr: "a:1", ALPN: ALPNH2},
		"TLS": {Addr: "a:1", ALPN: ALPNH2HTTP1, TLS: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newConnector(t, Config{Dial: blackHole})
			start := time.Now()
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					_, err := c.Connect(t.Context(), p, nil)
					if !errors.Is(err, proxyerr.ConnectTimeout) || !proxyerr.CanRetry(err, false) {
						t.Errorf("%s: %v, want a connect timeout that permits another attempt", name, err)
					}
				})
			}
			wg.Wait()
			check(t, name+": time", time.Since(start), 5*time.Second)
			check(t, name+": Failed", c.Stats().Failed, 1)
		})
	}
}

// A request that is over while it dials takes none of the others along.
func TestSharedDialCanceled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newH2COrigin()
		c := newConnector(t, Config{Dial: slow(o.dial)})
		p := &Peer{Addr: "a:1", ALPN: ALPNH2}
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := c.Connect(ctx, p, nil)
			first <- err
		}()
		synctest.Wait()
		time.AfterFunc(time.Second/2, cancel)
		start := time.Now()
		for _, s := range connectAll(t, c, p, 10) {
			roundTrip(t, s)
		}
		check(t, "time", time.Since(start), 3*time.Second/2)
		check(t, "connections", o.made.Load(), 1)
		if err := <-first; !errors.Is(err, proxyerr.Canceled) {
			t.Errorf("the first got %v, want canceled", err)
		}
	})
}

// However often the request that dials goes away, none waits for longer than a
// dial may take.
func TestSharedDialPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConnector(t, Config{Dial: blackHole})
		p := &Peer{Addr: "a:1", ALPN: ALPNH2}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var others sync.WaitGroup
		for range 1000 { // enough to be there at each turn
			others.Go(func() {
				for ctx.Err() == nil {
					short, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
					_, _ = c.Connect(short, p, nil)
					cancel()
				}
			})
		}
		time.Sleep(time.Second)
		start := time.Now()
		_, err := c.Connect(t.Context(), p, nil)
		if took := time.Since(start); !errors.Is(err, proxyerr.ConnectTimeout) || took > 10*time.Second {
			t.Errorf("after %v: %v, want a connect timeout within 10 s", took, err)
		}
		cancel()
		others.Wait()
	})
}

// A dial that panics, as a Peer's own function may, is not waited for.
func TestSharedDialPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newH2COrigin()
		var dials atomic.Int64
		c := newConnector(t, Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(time.Second)
			if dials.Add(1) == 1 {
				panic("oops")
			}
			return o.dial(ctx, network, addr)
		}})
		p := &Peer{Addr: "a:1", ALPN: ALPNH2}
		go func() {
			defer func() { _ = recover() }()
			_, _ = c.Connect(t.Context(), p, nil)
		}()
		synctest.Wait()
		start := time.Now()
		for _, s := range connectAll(t, c, p, 3) {
			roundTrip(t, s)
		}
		check(t, "time", time.Since(start), 2*time.Second)
	})
}

// What is kept of peers that are gone is gone with them.
func TestMuxSetsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newH2COrigin()
		c := newConnector(t, Config{Dial: o.dial})
		for i := range 100 {
			roundTrip(t, stream(t, c, &Peer{Addr: "a:1", ALPN: ALPNH2, Group: uint64(i)}))
		}
		time.Sleep(40 * time.Second)
		check(t, "sets while there are connections", muxSets(c), 100)
		time.Sleep(time.Minute)
		check(t, "open connections", o.open.Load(), 0)
		check(t, "sets after that", muxSets(c), 0)
		check(t, "sweeping", c.muxes.sweeping, false)
		roundTrip(t, stream(t, c, &Peer{Addr: "a:1", ALPN: ALPNH2}))
	})
}

// What a peer has chosen is kept without connections, but not of any number
// of peers.
func TestChoicesForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConnector(t, Config{})
		peer := func(i int) *Peer { return &Peer{Addr: "a:1", ALPN: ALPNH2HTTP1, TLS: true, Group: uint64(i)} }
		add := func(from, to int) {
			for i := from; i < to; i++ {
				s := c.muxes.open(peer(i))
				s.chose(peer(i), header.HTTP11)
			}
		}
		add(0, 100)
		time.Sleep(protoMemory - time.Second)
		check(t, "sets", muxSets(c), 100)
		time.Sleep(2*time.Second + sweepInterval)
		check(t, "sets when they are old", muxSets(c), 0)
		add(0, maxTLSClients+1)
		time.Sleep(3 * sweepInterval)
		check(t, "sets when there were too many", muxSets(c), 0)
	})
}

func muxSets(c *Connector) int {
	c.muxes.mu.Lock()
	defer c.muxes.mu.Unlock()
	return len(c.muxes.sets)
}

// A request that has found the set of a peer just before it is forgotten finds
// the next one.
func TestMuxSetForgottenMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newH2COrigin()
		c := newConnector(t, Config{Dial: slow(o.dial)})
		p := &Peer{Addr: "a:1", ALPN: ALPNH2}
		old := c.muxes.open(p)
		time.Sleep(3 * sweepInterval)
		if j := old.join(p, nil, 100); j != (joined{}) {
			t.Errorf("a forgotten set gives %+v", j)
		}
		streams := connectAll(t, c, p, 2)
		for _, s := range streams {
			roundTrip(t, s)
		}
		check(t, "connections", o.made.Load(), 1)
	})
}

// Where reuse is off each request has a connection, which ends with it.
func TestMuxWithoutReuse(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  Config
		idle time.Duration
	}{"IdleTimeout": {idle: -1}, "MaxIdlePerPeer": {cfg: Config{MaxIdlePerPeer: -1}}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				o := newH2COrigin()
				tt.cfg.Dial = o.dial
				c := newConnector(t, tt.cfg)
				p := &Peer{Addr: "a:1", ALPN: ALPNH2, IdleTimeout: tt.idle}
				for range 3 {
					s := stream(t, c, p)
					check(t, "Reused", s.Reused(), false)
					other := stream(t, c, p)
					roundTrip(t, other)
					roundTrip(t, s)
				}
				check(t, "connections", o.made.Load(), 6)
				check(t, "Reused", c.Stats().Reused, 0)
				time.Sleep(time.Second)
				check(t, "open connections", o.open.Load(), 0)
			})
		})
	}
}

// A connection whose dial began before Close serves its request and ends.
func TestCloseWhileDialing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := newH2COrigin()
		c := newConnector(t, Config{Dial: slow(o.dial)})
		p := &Peer{Addr: "a:1", ALPN: ALPNH2}
		got := make(chan []Stream)
		go func() { got <- connectAll(t, c, p, 2) }()
		synctest.Wait()
		c.Close()
		streams := append(<-got, stream(t, c, p))
		for _, s := range streams {
			roundTrip(t, s)
		}
		time.Sleep(time.Second)
		check(t, "open connections", o.open.Load(), 0)
		check(t, "connections", o.made.Load(), 3)
	})
}

// A connection on which an origin has fallen silent is not used for more than
// the requests that find out.
func TestSilentConnection(t *testing.T) {
	tests := []struct {
		name   string
		limit  time.Duration // of each wait
		first  proxyerr.Kind
		retry  bool
		within time.Duration
	}{
		{"requests time out", 3 * time.Second, proxyerr.ReadTimeout, false, 3 * time.Second},
		{"PING times out", time.Minute, proxyerr.ConnClosed, true, 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				o := newH2COrigin()
				var silent atomic.Bool
				c := newConnector(t, Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					nc, err := o.dial(ctx, network, addr)
					if o.made.Load() == 1 {
						nc = &mutedConn{nc, &silent}
					}
					return nc, err
				}})
				p := &Peer{Addr: "a:1", ALPN: ALPNH2, ReadTimeout: tt.limit}
				roundTrip(t, stream(t, c, p))
				silent.Store(true)
				start := time.Now()
				s := stream(t, c, p)
				req := &header.Request{Method: "GET", Target: "/"}
				req.Fields.Add("Host", "example.com")
				var res header.Response
				err := errors.Join(s.WriteHead(req, "", false, true), s.ReadHead(&res))
				if took := time.Since(start); !errors.Is(err, tt.first) || took > tt.within {
					t.Errorf("after %v: %v, want %q within %v", took, err, tt.first, tt.within)
				}
				var e *proxyerr.Error
				if errors.As(err, &e) && proxyerr.CanRetry(e, true) != tt.retry {
					t.Errorf("another attempt: %v, want %v", !tt.retry, tt.retry)
				}
				s.Discard()
				roundTrip(t, stream(t, c, p)) // on another connection
				check(t, "connections", o.made.Load(), 2)
				time.Sleep(10 * time.Second)
				silent.Store(false)
				check(t, "connections that are left", c.muxes.find(p).len(), 1)
			})
		})
	}
}

func (s *muxSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// A mutedConn loses what it receives while silent.
type mutedConn struct {
	net.Conn
	silent *atomic.Bool
}

func (c *mutedConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.silent.Load() {
			return n, err
		}
	}
}
