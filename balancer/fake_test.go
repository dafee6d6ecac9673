// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/discovery"
	"github.com/belay-proxy/belay/upstream"
)

// quiet is a Logger for tests that do not look at the log.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// parse returns backends written as "a b*5 c*-1": address before the colon
// and weight. The address is made complete with port 1.
func parse(text string) []Backend {
	var backends []Backend
	for word := range strings.FieldsSeq(text) {
		var b Backend
		name, weight, _ := strings.Cut(word, "*")
		fmt.Sscan(weight, &b.Weight)
		b.Addr = name + ":1"
		backends = append(backends, b)
	}
	return backends
}

// newTest returns a Balancer of the backends in text.
func newTest(t testing.TB, cfg Config, text string) *Balancer {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	b, err := New(cfg, parse(text)...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return b
}

// name returns the name that parse was given for p.
func name(p *upstream.Peer) string {
	if p == nil {
		return "none"
	}
	return strings.TrimSuffix(p.Addr, ":1")
}

// picks returns the names of the next n picks.
func picks(b *Balancer, n int) string {
	var names []string
	for range n {
		p, err := b.Pick(nil)
		if err != nil {
			p = nil
		}
		names = append(names, name(p))
	}
	return strings.Join(names, " ")
}

func wantPicks(t *testing.T, b *Balancer, want string) {
	t.Helper()
	if got := picks(b, len(strings.Fields(want))); got != want {
		t.Errorf("picks = %s, want %s", got, want)
	}
}

// faults is a Checker for which some addresses fail or hang.
type faults struct {
	mu   sync.Mutex
	down map[string]bool
	hang map[string]bool
	asks map[string]int
}

func newFaults() *faults {
	return &faults{down: map[string]bool{}, hang: map[string]bool{}, asks: map[string]int{}}
}

// set makes the backends in names, and only these, fail.
func (f *faults) set(names string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.down)
	for name := range strings.FieldsSeq(names) {
		f.down[name+":1"] = true
	}
}

func (f *faults) asked(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asks[name+":1"]
}

func (f *faults) Check(ctx context.Context, addr string) error {
	f.mu.Lock()
	f.asks[addr]++
	down, hang := f.down[addr], f.hang[addr]
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errors.New("fault in " + addr)
	}
	return nil
}

// run runs b until the returned function is called, or the test ends.
func run(t *testing.T, b *Balancer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(cancel)
	return stop
}

// pass lets d of fake time pass and everything settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// source is a Discoverer under the test's control.
type source struct {
	mu      sync.Mutex
	targets []discovery.Target
	err     error
	takes   time.Duration
	asked   []time.Time
}

func (s *source) Discover(ctx context.Context) ([]discovery.Target, error) {
	s.mu.Lock()
	targets, err, takes := slices.Clone(s.targets), s.err, s.takes
	s.asked = append(s.asked, time.Now())
	s.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return targets, err
}

// set makes s return the targets in text, in the form of parse.
func (s *source) set(text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.targets = nil
	for _, b := range parse(text) {
		s.targets = append(s.targets, discovery.Target{Addr: b.Addr, Weight: b.Weight})
	}
}

func (s *source) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
