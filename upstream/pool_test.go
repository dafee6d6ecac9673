// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestReuseIsLastInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial})
		p := &Peer{Addr: "a:1"}
		conns := []*Conn{get(t, c, p), get(t, c, p), get(t, c, p)}
		for _, conn := range conns {
			conn.Release(time.Now())
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(sweepInterval) // a sweep does not change the order
		for i := 2; i >= 0; i-- {
			conn := c.Idle(p, nil)
			if conn != conns[i] {
				t.Fatalf("Idle = %p, want connection %d, %p", conn, i, conns[i])
			}
			check(t, "Reused", conn.Reused(), true)
			exchange(t, conn)
			defer conn.Discard()
		}
		if conn := c.Idle(p, nil); conn != nil {
			t.Errorf("Idle = %p with all connections in use, want nil", conn)
		}
		check(t, "Stats", c.Stats(), Stats{Dialed: 3, Reused: 3})
	})
}

func TestMaxIdlePerPeer(t *testing.T) {
	tests := []struct{ limit, released, kept int }{
		{0, 5, 5}, // the default is more
		{3, 2, 2},
		{3, 3, 3},
		{3, 4, 3},
		{1, 4, 1},
		{-1, 4, 0},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("limit=%d/released=%d", tt.limit, tt.released), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{answer: ok}
				c := newConnector(t, Config{Dial: o.dial, MaxIdlePerPeer: tt.limit})
				p := &Peer{Addr: "a:1"}
				var conns []*Conn
				for range tt.released {
					conns = append(conns, get(t, c, p))
				}
				for _, conn := range conns {
					conn.Release(time.Now())
				}
				synctest.Wait()
				check(t, "Stats.Idle", c.Stats().Idle, int64(tt.kept))
				check(t, "open connections", o.open.Load(), int64(tt.kept))
				for i := range tt.kept { // the youngest are kept
					got, want := c.Idle(p, nil), conns[tt.released-1-i]
					if got != want {
						t.Fatalf("Idle = %p, want %p", got, want)
					}
					defer got.Discard()
				}
			})
		})
	}
}

// The connection that goes is the one of all peers that has been idle longest.
func TestMaxIdle(t *testing.T) {
	tests := []struct {
		limit, released int
		gone            int // the oldest so many
	}{
		{3, 3, 0},
		{3, 4, 1},
		{3, 6, 3},
		{64, 64, 0},
		{64, 65, 3}, // one too many and 64/32 to spare
		{64, 67, 3},
		{64, 68, 6},
		{-1, 100, 0},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("limit=%d/released=%d", tt.limit, tt.released), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{answer: ok}
				c := newConnector(t, Config{Dial: o.dial, MaxIdle: tt.limit})
				var conns []*Conn
				for i := range tt.released {
					conns = append(conns, get(t, c, &Peer{Addr: fmt.Sprintf("a:%d", 1+i%7)}))
				}
				for _, conn := range conns {
					conn.Release(time.Now())
					time.Sleep(time.Millisecond)
				}
				synctest.Wait()
				check(t, "Stats.Idle", c.Stats().Idle, int64(tt.released-tt.gone))
				check(t, "open connections", o.open.Load(), int64(tt.released-tt.gone))
				idle := idleConns(c)
				for i, conn := range conns {
					check(t, fmt.Sprintf("connection %d of %d is in the pool", i, tt.released), idle[conn], i >= tt.gone)
				}
			})
		})
	}
}

// state returns how many sets there are and whether a sweep is due.
func (p *pool) state() (sets int, awake bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.sets), p.sweeping
}

// idleConns returns the connections in the pool.
func idleConns(c *Connector) map[*Conn]bool {
	idle := make(map[*Conn]bool)
	for _, s := range c.pool.allSets() {
		for _, conn := range s.conns {
			idle[conn] = true
		}
	}
	return idle
}

func TestIdleTimeout(t *testing.T) {
	const hint = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=%d, max=100\r\nContent-Length: 2\r\n\r\nhi"
	tests := []struct {
		name   string
		config time.Duration // Config.IdleTimeout
		peer   time.Duration // Peer.IdleTimeout
		hint   int           // the origin's Keep-Alive, in seconds
		idle   time.Duration
		want   bool // reused
	}{
		{"default", 0, 0, 0, 49 * time.Second, true},
		{"default, swept", 0, 0, 0, 53 * time.Second, false},
		{"config", 3 * time.Second, 0, 0, 3*time.Second - 1, true},
		{"config, too late", 3 * time.Second, 0, 0, 3 * time.Second, false},
		{"no limit", -1, 0, 0, 24 * time.Hour, true},
		{"peer is longer", time.Second, time.Minute, 0, 59 * time.Second, true},
		{"peer is shorter", time.Minute, 50 * time.Millisecond, 0, 50 * time.Millisecond, false},
		{"peer never", 0, -1, 0, 0, false},
		{"origin", 0, 0, 5, 4*time.Second - 1, true},
		{"origin, a second early", 0, 0, 5, 4 * time.Second, false},
		{"origin, shortest", 0, 0, 1, 500*time.Millisecond - 1, true},
		{"origin, shortest, too late", 0, 0, 1, 500 * time.Millisecond, false},
		{"origin with no limit", -1, 0, 60, 62 * time.Second, false},
		{"origin is longer", 2 * time.Second, 0, 60, 2 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{answer: ok}
				if tt.hint > 0 {
					o.answer = fmt.Sprintf(hint, tt.hint)
				}
				c := newConnector(t, Config{Dial: o.dial, IdleTimeout: tt.config})
				p := &Peer{Addr: "a:1", IdleTimeout: tt.peer}
				get(t, c, p).Release(time.Now())
				time.Sleep(tt.idle)
				conn := c.Idle(p, nil)
				check(t, "reused", conn != nil, tt.want)
				if conn != nil {
					conn.Discard()
				}
				synctest.Wait()
				check(t, "open connections", o.open.Load(), 0)
				check(t, "Stats.Idle", c.Stats().Idle, 0)
			})
		})
	}
}

// Nobody has to ask for a connection to have it closed in time.
func TestSweepClosesOldConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial, IdleTimeout: 10 * time.Second})
		for i := range 100 {
			get(t, c, &Peer{Addr: fmt.Sprintf("a:%d", i+1)}).Release(time.Now())
		}
		time.Sleep(10*time.Second - 1)
		synctest.Wait()
		check(t, "open connections before the limit", o.open.Load(), 100)
		time.Sleep(sweepInterval + 1)
		synctest.Wait()
		check(t, "open connections after the limit", o.open.Load(), 0)
		check(t, "Stats", c.Stats(), Stats{Dialed: 100})
	})
}

// Peers that are gone leave nothing behind, and an unused Connector has no
// janitor.
func TestJanitorRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial, IdleTimeout: time.Second})
		p := &c.pool
		for round := range 3 {
			for i := range 1000 {
				get(t, c, &Peer{Addr: fmt.Sprintf("a:%d", i+1)}).Release(time.Now())
			}
			if sets, awake := p.state(); sets != 1000 || !awake {
				t.Fatalf("round %d: %d sets, janitor awake is %v, want 1000 and true", round, sets, awake)
			}
			time.Sleep(3 * sweepInterval)
			synctest.Wait()
			if sets, awake := p.state(); sets != 0 || awake || p.janitor.Stop() {
				t.Fatalf("round %d: %d sets, janitor awake is %v, want none and false", round, sets, awake)
			}
		}
	})
}

// A peer whose connections cannot be kept takes no room in the pool.
func TestNoSetWithoutReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: okThenClose}
		c := newConnector(t, Config{Dial: o.dial})
		for i := range 10 {
			get(t, c, &Peer{Addr: fmt.Sprintf("a:%d", i+1)}).Release(time.Now())
		}
		sets, awake := c.pool.state()
		check(t, "sets", sets, 0)
		check(t, "janitor awake", awake, false)
	})
}

// A connection that comes back to a pool that has forgotten its peer is kept.
func TestReleaseAfterForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial})
		p := &Peer{Addr: "a:1"}
		get(t, c, p).Release(time.Now())
		conn := get(t, c, p)
		check(t, "Reused", conn.Reused(), true)
		time.Sleep(time.Hour)
		sets, _ := c.pool.state()
		check(t, "sets", sets, 0)
		conn.Release(time.Now())
		if got := c.Idle(p, nil); got != conn {
			t.Errorf("Idle = %p, want %p", got, conn)
		}
		conn.Discard()
	})
}

// The set of a busy peer is not forgotten because it happens to be empty.
func TestBusySetStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial})
		p := &Peer{Addr: "a:1"}
		get(t, c, p).Release(time.Now())
		set := c.pool.find(p)
		for range 100 {
			conn := get(t, c, p) // most sweeps come while it is in use
			time.Sleep(sweepInterval - 1)
			conn.Release(time.Now())
		}
		if got := c.pool.find(p); got != set {
			t.Errorf("find = %p, want %p", got, set)
		}
	})
}

func TestPutBack(t *testing.T) {
	c := newConnector(t, Config{MaxIdlePerPeer: 4})
	p := &Peer{Addr: "a:1"}
	conns := make([]*Conn, 6)
	for i := range conns {
		conns[i] = plainConn(c, p)
	}
	set := c.pool.open(p)
	set.conns = slices.Clone(conns[4:])
	c.pool.idle.Store(2)
	rest := set.putBack(conns[:4])
	if !slices.Equal(rest, conns[:2]) || !slices.Equal(set.conns, conns[2:]) {
		t.Errorf("putBack returned %d connections and left %d; want the two oldest, and the others in order", len(rest), len(set.conns))
	}
	check(t, "idle", c.pool.idle.Load(), 4)
	c.Close()
	check(t, "idle after Close", c.pool.idle.Load(), 0)
	if rest := set.putBack(conns[:1]); !slices.Equal(rest, conns[:1]) {
		t.Errorf("putBack after Close = %v, want what was given", rest)
	}
	check(t, "idle after putBack", c.pool.idle.Load(), 0)
}

// What a sweep puts back counts towards MaxIdle.
func TestSweepKeepsMaxIdle(t *testing.T) {
	c := newConnector(t, Config{MaxIdle: 2})
	p := &Peer{Addr: "a:1"}
	var conns []*Conn
	for range 5 {
		conn := plainConn(c, p)
		conn.idleSince, conn.maxIdle = time.Now(), time.Hour
		conns = append(conns, conn)
	}
	c.pool.open(p).putBack(conns)
	check(t, "idle", c.pool.idle.Load(), 5)
	c.pool.sweep()
	check(t, "idle after the sweep", c.pool.idle.Load(), 2)
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial})
		p := &Peer{Addr: "a:1"}
		inUse, idle := get(t, c, p), get(t, c, p)
		idle.Release(time.Now())
		c.Close()
		synctest.Wait()
		check(t, "open connections", o.open.Load(), 1)
		check(t, "janitor was due", c.pool.janitor.Stop(), false)
		if conn := c.Idle(p, nil); conn != nil {
			t.Errorf("Idle after Close = %p, want nil", conn)
		}
		inUse.Release(time.Now())
		get(t, c, p).Release(time.Now()) // dialed after Close
		c.Close()
		synctest.Wait()
		check(t, "open connections at the end", o.open.Load(), 0)
		check(t, "Stats", c.Stats(), Stats{Dialed: 3})
		sets, _ := c.pool.state()
		check(t, "sets", sets, 0)
	})
}

func TestCloseOfUnusedConnector(t *testing.T) {
	c := newConnector(t, Config{})
	c.Close()
	check(t, "Stats", c.Stats(), Stats{})
}

// A program may make a Peer for each request.
func TestFreshPeers(t *testing.T) {
	c := newConnector(t, Config{})
	plainConn(c, &Peer{Addr: "a:1"}).keep(time.Now())
	want := c.pool.find(&Peer{Addr: "a:1"})
	if want == nil {
		t.Fatal("find = nil, want the set of an equal Peer")
	}
	for range maxRecent + 10 {
		if got := c.pool.find(&Peer{Addr: "a:1"}); got != want {
			t.Fatalf("find = %p, want %p", got, want)
		}
	}
	n := 0
	c.pool.recent.sets.Range(func(any, any) bool { n++; return true })
	if n > maxRecent {
		t.Errorf("%d Peers are remembered, want at most %d", n, maxRecent)
	}
	c.pool.sweep()
	c.pool.recent.sets.Range(func(any, any) bool { t.Error("a Peer is remembered after a sweep"); return false })
}

// countTracer counts connections made and closed.
type countTracer struct{ connected, disconnected atomic.Int64 }

func (c *countTracer) Connected(*Peer, time.Duration) { c.connected.Add(1) }
func (c *countTracer) Disconnected(*Peer)             { c.disconnected.Add(1) }

// Connections are put, taken, swept, evicted and closed at the same time. Each
// has one user at a time and is closed once.
func TestConcurrentUse(t *testing.T) {
	tracer := &countTracer{}
	c := newConnector(t, Config{MaxIdle: 20, MaxIdlePerPeer: 8})
	peers := make([]*Peer, 5)
	for i := range peers {
		peers[i] = &Peer{Addr: "a:1", Tracer: tracer}
	}
	var inUse sync.Map
	var done atomic.Bool
	var wg, sweeper sync.WaitGroup
	sweeper.Go(func() {
		for !done.Load() {
			c.pool.sweep()
			c.Stats()
		}
	})
	for worker := range 4 {
		wg.Go(func() {
			var held []*Conn
			for i := range 3000 {
				p := peers[(worker+i)%len(peers)]
				conn := c.Idle(p, nil)
				if conn == nil {
					conn = plainConn(c, p)
					tracer.Connected(p, 0)
				}
				if _, twice := inUse.LoadOrStore(conn, true); twice {
					t.Error("a connection has two users")
				}
				if held = append(held, conn); len(held) < 7 {
					continue
				}
				for _, conn := range held {
					inUse.Delete(conn)
					// Some look as if they had been idle for a second or an hour.
					conn.keep(time.Now().Add(-[]time.Duration{0, time.Second, time.Hour}[i%3]))
				}
				held = held[:0]
				if worker == 0 && i > 2500 {
					c.Close()
				}
			}
			for _, conn := range held {
				conn.Discard()
			}
		})
	}
	wg.Wait()
	done.Store(true)
	sweeper.Wait()
	c.Close()
	check(t, "Stats.Idle", c.Stats().Idle, 0)
	check(t, "connections closed", tracer.disconnected.Load(), tracer.connected.Load())
}
