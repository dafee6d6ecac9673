// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

var (
	flagRequests = flag.Int("requests", 0, "requests of TestNoLeaks; 0 means 100000, or 20000 with -short or -race")
	flagSeed     = flag.Uint64("seed", 1, "seed of the load")
)

// workers is the number of clients at one time.
const workers = 32

// maxHeapGrowth is how many bytes the heap may grow by, whatever the load: the
// collector and the pools keep some.
const maxHeapGrowth = 1 << 20

func TestNoLeaks(t *testing.T) {
	proxytest.CheckLeaks(t)
	requests := *flagRequests
	if requests == 0 {
		requests = 100_000
		if testing.Short() || raceEnabled {
			requests = 20_000
		}
	}
	p, counted := newProxy(t)
	addr := proxytest.Listen(t, p)
	load(t, addr, 2000, *flagSeed+1000) // so that pools have their usual size
	settle(t, p)
	before := takeInventory()
	counted.Store(0)

	start := time.Now()
	load(t, addr, requests, *flagSeed)
	t.Logf("%d requests in %v, %d reached an exchange", requests, time.Since(start).Round(time.Millisecond), counted.Load())
	settle(t, p)

	var after inventory
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if after = takeInventory(); after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.buffers <= before.buffers && after.heap <= before.heap+maxHeapGrowth {
			t.Logf("before: %v; after: %v", before, after)
			return
		}
	}
	t.Errorf("before: %v; after: %v", before, after)
	stacks := make([]byte, 1<<20)
	t.Logf("goroutines:\n%.20000s", stacks[:runtime.Stack(stacks, true)])
}

// newProxy returns a proxy over several origins, and a count of its exchanges.
func newProxy(t *testing.T) (*proxy.Proxy, *atomic.Int64) {
	var stable, flaky []*upstream.Peer
	for range 3 {
		o := proxytest.NewOrigin(t, proxytest.Script(serveOrigin))
		stable = append(stable, proxytest.To(o))
		// Connections that die in the pool are kept from requests that must
		// not be sent twice.
		other := proxytest.To(o)
		other.Group = 1
		flaky = append(flaky, other)
	}
	unix := proxytest.NewOrigin(t, proxytest.OnUnix(), proxytest.Script(serveOrigin))
	stable = append(stable, proxytest.To(unix))
	connector, err := upstream.New(upstream.Config{IdleTimeout: time.Second}) // so that settle need not wait for long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connector.Close)
	var next, logged atomic.Int64
	type state struct{ logged int }
	cfg := proxy.Config{
		Connector:   connector,
		Logger:      slog.New(slog.DiscardHandler),
		MaxRetries:  10,
		RetryBudget: proxy.RetryBudget{Percent: 1000, MinPerSecond: 1000},
	}
	p, err := proxy.New(cfg, proxy.Hooks[state]{
		UpstreamPeer: func(s *proxy.Session, _ *state) (*upstream.Peer, error) {
			peers := stable
			if strings.HasPrefix(s.Request().Target, "/hangup?") {
				peers = flaky
			}
			return peers[int(next.Add(1))%len(peers)], nil
		},
		UpstreamRequestFilter: func(s *proxy.Session, _ *state, head *header.Request) error {
			head.Fields.Set("Attempt", strconv.Itoa(s.Attempt()))
			return nil
		},
		Log: func(_ *proxy.Session, st *state, _ error) {
			if st.logged++; st.logged != 1 {
				t.Error("Log ran twice")
			}
			logged.Add(1)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, &logged
}

// load makes about so many requests.
func load(t *testing.T, addr string, requests int, seed uint64) {
	t.Helper()
	var wg sync.WaitGroup
	var failed atomic.Bool
	counts := make([]map[string]int, workers)
	for i := range workers {
		counts[i] = make(map[string]int)
		c := &client{addr: addr, rng: rand.New(rand.NewPCG(seed, uint64(i))), counts: counts[i]}
		wg.Go(func() {
			if err := c.run(requests/workers, failed.Load); err != nil {
				failed.Store(true)
				t.Errorf("client %d of seed %d: %v", i, seed, err)
			}
		})
	}
	wg.Wait()
	if failed.Load() {
		t.FailNow()
	}
	var done strings.Builder
	for _, s := range steps {
		n := 0
		for i := range counts {
			n += counts[i][s.name]
		}
		fmt.Fprintf(&done, " %s %d,", s.name, n)
	}
	t.Logf("steps:%s", strings.TrimSuffix(done.String(), ","))
}

// settle waits until the proxy has noticed that the clients are gone, and has
// closed what it kept for reuse by others.
func settle(t *testing.T, p *proxy.Proxy) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stats := p.Stats()
		idle := p.Connector().Stats().Idle
		if stats.Connections == 0 && stats.Active == 0 && idle == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("20 s after the last client: %+v, %d idle connections to origins", stats, idle)
		}
	}
}

// An inventory is what may leak.
type inventory struct {
	goroutines, descriptors int
	buffers                 int64 // on loan; counted with -race only
	heap                    uint64
}

func (i inventory) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d buffers, %d KiB", i.goroutines, i.descriptors, i.buffers, i.heap>>10)
}

// takeInventory collects garbage first, twice: pools let go of their contents
// at the second time.
func takeInventory() inventory {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return inventory{runtime.NumGoroutine(), descriptors(), bytebuf.Outstanding(), m.HeapAlloc}
}

// descriptors counts the open descriptors, those of the pipes to splice too,
// which the collector closes. It is 0 where the system does not tell.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
