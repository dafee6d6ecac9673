// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// A comment "Pingora: name" beside a test names the test of that project that
// asks for the same behaviour.

// patience bounds the waits of these tests. Nothing takes as long.
const patience = 20 * time.Second

type (
	none  = struct{}
	hooks = proxy.Hooks[none]
)

// to returns hooks that send every attempt to o.
func to(o *proxytest.Origin) hooks { return toPeer(proxytest.To(o)) }

func toPeer(p *upstream.Peer) hooks {
	return hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return p, nil }}
}

// toEach returns hooks that send attempt 1 to the first origin, attempt 2 to
// the second and so on; the last one gets the rest.
func toEach(origins ...*proxytest.Origin) hooks {
	var peers []*upstream.Peer
	for _, o := range origins {
		peers = append(peers, proxytest.To(o))
	}
	return hooks{UpstreamPeer: func(s *proxy.Session, _ *none) (*upstream.Peer, error) {
		return peers[min(s.Attempt(), len(peers))-1], nil
	}}
}

// rig is a proxy under test with a client of it.
type rig struct {
	*proxytest.Client
	t      testing.TB
	proxy  *proxy.Proxy
	addr   string
	logged chan outcome
}

// outcome is what Log was told of one request.
type outcome struct {
	target string
	err    error
	digest proxy.Digest
}

// newRig serves a proxy on a loopback port.
func newRig(t testing.TB, m proxytest.Mode, cfg proxy.Config, h hooks) *rig {
	t.Helper()
	return listenRig(t, m, cfg, h, proxytest.Listen)
}

// listenRig is newRig with another listener.
func listenRig(t testing.TB, m proxytest.Mode, cfg proxy.Config, h hooks, listen func(testing.TB, proxytest.Handler) string) *rig {
	t.Helper()
	r := &rig{t: t, logged: make(chan outcome, 1000)}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := proxy.New(cfg, proxy.Chain(h, hooks{Log: func(s *proxy.Session, _ *none, err error) {
		r.logged <- outcome{s.Request().Target, err, s.Digest()}
	}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Connector().Close)
	r.proxy = p
	r.addr = listen(t, p)
	r.Client = proxytest.NewClient(t, r.addr, proxytest.As(m.Downstream))
	return r
}

// outcome waits until a request has been logged.
func (r *rig) outcome() outcome {
	r.t.Helper()
	return receive(r.t, "Log", r.logged)
}

// wantKind checks the error with which the next request ends.
func (r *rig) wantKind(kind proxyerr.Kind) {
	r.t.Helper()
	if got := r.outcome(); !errors.Is(got.err, kind) {
		r.t.Errorf("%s ended with %v, want %q", got.target, got.err, kind)
	}
}

// wantOK checks that the next request ends without an error.
func (r *rig) wantOK() {
	r.t.Helper()
	if got := r.outcome(); got.err != nil {
		r.t.Errorf("%s ended with %v, want no error", got.target, got.err)
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
	return v
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// must fails the test at once if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// journal notes what happened, from any goroutine.
type journal struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (j *journal) add(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, what)
}

// take returns the notes so far, and forgets them.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.list
	j.list = nil
	return list
}

// logRecords is a slog.Handler that keeps what it gets.
type logRecords struct {
	level slog.Level
	mu    sync.Mutex
	list  []slog.Record // guarded by mu
}

func (h *logRecords) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }
func (h *logRecords) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *logRecords) WithGroup(string) slog.Handler                { return h }
func (h *logRecords) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, r)
	return nil
}

// take returns the records so far, and forgets them.
func (h *logRecords) take() []slog.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.list
	h.list = nil
	return list
}

// attr returns an attribute of a record as text.
func attr(r slog.Record, key string) (value string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			value = a.Value.String()
		}
		return value == ""
	})
	return value
}

func slogTo(h slog.Handler) *slog.Logger { return slog.New(h) }
