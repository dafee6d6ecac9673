// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/upstream"
)

func TestRoundRobinOrder(t *testing.T) {
	tests := []struct {
		name     string
		backends string
		want     string
	}{
		{"one", "a", "a a a"},
		{"equal", "a b c", "a b c a b c a"},
		{"zero weight is 1", "a*0 b*1", "a b a b"},
		{"nginx's example", "a*5 b c", "a a b a c a a a a b a c a a"},
		{"common divisor", "a*500 b*100 c*100", "a a b a c a a a"},
		{"drained", "a b*-1 c", "a c a c"},
		{"empty", "", "none none"},
		{"all drained", "a*-1 b*-5", "none none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantPicks(t, newTest(t, Config{}, tt.backends), tt.want)
		})
	}
}

func TestErrNoBackend(t *testing.T) {
	b := newTest(t, Config{}, "")
	_, err := b.Pick(nil)
	if !errors.Is(err, ErrNoBackend) || !errors.Is(err, proxyerr.NoBackend) {
		t.Errorf("Pick = %v, want ErrNoBackend, which is proxyerr.NoBackend", err)
	}
	if proxyerr.CanRetry(err, false) {
		t.Error("ErrNoBackend permits a retry")
	}
	if _, err := b.PickExcept(nil, &upstream.Peer{}); err != ErrNoBackend {
		t.Errorf("PickExcept = %v, want ErrNoBackend", err)
	}
	var tried Tried
	if _, err := b.Next(nil, &tried); err != ErrNoBackend {
		t.Errorf("Next = %v, want ErrNoBackend", err)
	}
	if _, err := b.Select(nil, 0, func(Backend, bool) bool { return true }); err != ErrNoBackend {
		t.Errorf("Select = %v, want ErrNoBackend", err)
	}
}

func TestPickExcept(t *testing.T) {
	tests := []struct {
		name     string
		backends string
		tried    string
		want     string // one of these
	}{
		{"nothing tried", "a b", "", "a"},
		{"the other", "a b", "a", "b"},
		{"the third", "a b c", "c a", "b"},
		{"one of two", "a b c", "b", "a c"},
		{"a rare one", "a*65535 b", "a", "b"},
		{"only tried ones: longest ago", "a b c", "b a c", "b"},
		{"longest ago counts the last attempt", "a b", "a b a", "b"},
		{"only one", "a", "a a", "a"},
		{"tried one is not ready", "a b", "x", "a b"},
		{"drained is no way out", "a b*-1", "a", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newTest(t, Config{}, tt.backends)
			var tried []*upstream.Peer
			for word := range strings.FieldsSeq(tt.tried) {
				tried = append(tried, peerOf(b, word))
			}
			for range 10 {
				got, err := b.PickExcept(nil, tried...)
				if err != nil || !slices.Contains(strings.Fields(tt.want), name(got)) {
					t.Fatalf("PickExcept = %s, %v, want one of %s", name(got), err, tt.want)
				}
				if len(tried) == 0 {
					break
				}
			}
		})
	}
}

// peerOf returns the peer of a backend, or a foreign one.
func peerOf(b *Balancer, name string) *upstream.Peer {
	for _, s := range b.Backends() {
		if s.Backend.Addr == name+":1" {
			return s.Backend.Peer
		}
	}
	return &upstream.Peer{Addr: name + ":1"}
}

// While a fails, first attempts keep their rotation, and what a cannot take is
// spread over all others by their weight.
func TestFailOverKeepsRotation(t *testing.T) {
	b := newTest(t, Config{}, "a b c*2")
	firsts, seconds := map[string]int{}, map[string]int{}
	var order strings.Builder
	for range 4 * 300 {
		var tried Tried
		p, err := b.Next(nil, &tried)
		if err != nil {
			t.Fatal(err)
		}
		firsts[name(p)]++
		order.WriteString(name(p))
		if name(p) == "a" {
			p, err = b.Next(nil, &tried)
			if err != nil {
				t.Fatal(err)
			}
			seconds[name(p)]++
		}
	}
	if want := strings.Repeat("cabc", 300); order.String() != want {
		t.Errorf("first attempts begin %s…, want %s…", order.String()[:20], want[:20])
	}
	if firsts["a"] != 300 || firsts["b"] != 300 || firsts["c"] != 600 {
		t.Errorf("first attempts = %v, want 300, 300, 600", firsts)
	}
	if seconds["a"] != 0 || seconds["b"] != 100 || seconds["c"] != 200 {
		t.Errorf("second attempts = %v, want b 100, c 200", seconds)
	}
}

func TestNextGoesThroughAll(t *testing.T) {
	const n = 20 // more than Tried keeps without allocating, and than maxNext
	var backends []string
	for i := range n {
		backends = append(backends, fmt.Sprintf("b%d", i))
	}
	b := newTest(t, Config{}, strings.Join(backends, " "))
	var tried Tried
	seen := map[*upstream.Peer]bool{}
	var first *upstream.Peer
	for i := range n {
		p, err := b.Next(nil, &tried)
		if err != nil || seen[p] {
			t.Fatalf("attempt %d = %s, %v, want one not tried yet", i+1, name(p), err)
		}
		seen[p] = true
		if first == nil {
			first = p
		}
	}
	if p, err := b.Next(nil, &tried); err != nil || p != first {
		t.Errorf("attempt %d = %s, %v, want the first again", n+1, name(p), err)
	}
}

func TestSelect(t *testing.T) {
	tests := []struct {
		name     string
		backends string
		disable  string
		limit    int
		accept   string // names; with "!" also when not ready
		want     string
		offers   int // at most
	}{
		{"first", "a b c", "", 0, "a b c", "a", 1},
		{"skips", "a b c", "", 0, "c", "c", 3},
		{"repeats are offered once", "a*60000 b c", "", 0, "c", "c", 3},
		{"none accepted", "a b c", "", 0, "", "none", 3},
		{"limit counts different backends", "a*60000 b", "", 2, "b", "b", 2},
		{"limit reached", "a b c", "", 1, "b c", "none", 1},
		{"limit beyond all", "a b", "", 100, "", "none", 2},
		{"negative limit is all", "a b", "", -1, "b", "b", 2},
		{"disabled is not offered", "a b", "a", 0, "a", "none", 1},
		{"drained is not offered", "a b*-1", "", 0, "b", "none", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newTest(t, Config{}, tt.backends)
			if tt.disable != "" {
				b.SetEnabled(tt.disable+":1", false)
			}
			var offered []string
			got, err := b.Select(nil, tt.limit, func(backend Backend, ready bool) bool {
				if !ready {
					t.Errorf("%s is offered as not ready", backend.Addr)
				}
				offered = append(offered, backend.Addr)
				return slices.Contains(strings.Fields(tt.accept), name(backend.Peer))
			})
			if name(got.Peer) != tt.want || (err == nil) != (tt.want != "none") {
				t.Errorf("Select = %s, %v, want %s", name(got.Peer), err, tt.want)
			}
			slices.Sort(offered)
			if once := slices.Compact(slices.Clone(offered)); len(once) != len(offered) || len(offered) > tt.offers {
				t.Errorf("offered %q, want each once and at most %d", offered, tt.offers)
			}
		})
	}
}

func TestSelectCountsAsOneRequest(t *testing.T) {
	b := newTest(t, Config{}, "a b c d")
	wantPicks(t, b, "a")
	b.Select(nil, 0, func(Backend, bool) bool { return false }) // takes b's turn
	wantPicks(t, b, "c d a")
}

// However many goroutines pick, a whole number of rounds gives each backend
// exactly its share.
func TestFairUnderConcurrency(t *testing.T) {
	b := newTest(t, Config{}, "a*5 b*3 c*2 d")
	const goroutines, rounds = 8, 500 // 11 picks a round
	counts := make([]map[string]int, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		counts[g] = map[string]int{}
		wg.Go(func() {
			for range rounds * 11 {
				p, err := b.Pick(nil)
				if err != nil {
					t.Error(err)
					return
				}
				counts[g][name(p)]++
				if g%2 == 0 { // fallbacks do not take turns from others
					if _, err := b.PickExcept(nil, p); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	sum := map[string]int{}
	for _, c := range counts {
		for k, v := range c {
			sum[k] += v
		}
	}
	for backend, weight := range map[string]int{"a": 5, "b": 3, "c": 2, "d": 1} {
		if want := weight * goroutines * rounds; sum[backend] != want {
			t.Errorf("%s was picked %d times, want %d", backend, sum[backend], want)
		}
	}
}

// numbered returns n backends with weights from 1 to 3.
func numbered(n int) []Backend {
	backends := make([]Backend, n)
	for i := range backends {
		backends[i] = Backend{Addr: fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255), Weight: 1 + i%3}
	}
	return backends
}

func TestPickAllocs(t *testing.T) {
	for _, n := range []int{3, 1000} {
		b, err := New(Config{Logger: quiet}, numbered(n)...)
		if err != nil {
			t.Fatal(err)
		}
		one, _ := b.Pick(nil)
		key := []byte("key")
		calls := map[string]func(){
			"Pick":       func() { b.Pick(key) },
			"PickExcept": func() { b.PickExcept(key, one) },
			"Select":     func() { b.Select(key, 0, func(c Backend, ready bool) bool { return ready && c.Peer != one }) },
		}
		for what, f := range calls {
			if got := testing.AllocsPerRun(100, f); got > 0 {
				t.Errorf("%s of %d: %v allocations, want 0", what, n, got)
			}
		}
		// Tried is part of the request's state, which exists anyway.
		state := new(Tried)
		next := func() {
			*state = Tried{}
			for range len(state.first) {
				b.Next(key, state)
			}
		}
		if got := testing.AllocsPerRun(100, next); got > 0 {
			t.Errorf("Next of %d: %v allocations, want 0", n, got)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 1000, 10_000} {
		lb, err := New(Config{Logger: quiet}, numbered(n)...)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lb.Pick(nil)
			}
		})
		b.Run(fmt.Sprintf("parallel/n=%d", n), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					lb.Pick(nil)
				}
			})
		})
		b.Run(fmt.Sprintf("except/n=%d", n), func(b *testing.B) {
			one, _ := lb.Pick(nil)
			b.ReportAllocs()
			for b.Loop() {
				lb.PickExcept(nil, one)
			}
		})
	}
}
