// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/upstream"
)

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name     string
		cfg      Config
		backends []Backend
		want     []string // all in the error
	}{
		{"weight", Config{}, []Backend{{Addr: "a:1", Weight: MaxWeight + 1}}, []string{`"a:1"`, "Weight is 1000001, want at most 1000000"}},
		{"twice", Config{}, []Backend{{Addr: "a:1"}, {Addr: "a:1", Weight: 2}}, []string{`"a:1" is in the set twice`}},
		{"addresses, all of them", Config{}, []Backend{{Addr: "a"}, {Addr: ""}, {Addr: "unix:"}, {Addr: "a:0"}}, []string{`"a"`, `""`, `"unix:"`, `"a:0"`}},
		{"peer", Config{}, []Backend{{Addr: "a:1", Peer: &upstream.Peer{Addr: "a:1", DSCP: 64}}}, []string{`"a:1"`, "DSCP is 64"}},
		{"NewPeer", Config{NewPeer: func(string) *upstream.Peer { return nil }}, parse("a"), []string{"NewPeer returned nil"}},
		{"Config", Config{UpdateInterval: 1, ReadyAfterChecks: true, Health: health.Config{Jitter: 2}}, nil,
			[]string{"UpdateInterval is 1ns", "ReadyAfterChecks", "Jitter is 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg, tt.backends...)
			if err == nil {
				t.Fatal("New succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
	edge := Config{UpdateInterval: minUpdateInterval}
	if _, err := New(edge, Backend{Addr: "a:1", Weight: MaxWeight}, Backend{Addr: "unix:/s"}, Backend{Addr: "[::1]:65535"}); err != nil {
		t.Errorf("New at the limits = %v, want nil", err)
	}
}

func TestWithDefaultsCoversEachField(t *testing.T) {
	optional := map[string]bool{"Discovery": true, "Checker": true, "Health": true, "ReadyAfterChecks": true, "OnChange": true}
	v := reflect.ValueOf(Config{}.withDefaults())
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && !optional[name] {
			t.Errorf("%s has no default", name)
		}
	}
}

func TestSet(t *testing.T) {
	b := newTest(t, Config{}, "a b c")
	wantPicks(t, b, "a b")
	peerA := peerOf(b, "a")

	rebuilds := b.Stats().Rebuilds
	if err := b.Set(parse("c b*1 a")...); err != nil { // the same in another order
		t.Fatal(err)
	}
	if got := b.Stats().Rebuilds; got != rebuilds {
		t.Errorf("an equal set was built again: %d rebuilds, want %d", got, rebuilds)
	}
	wantPicks(t, b, "c a") // the rotation went on

	if err := b.Set(parse("a*2 d")...); err != nil {
		t.Fatal(err)
	}
	if got := b.Stats().Rebuilds; got != rebuilds+1 {
		t.Errorf("%d rebuilds, want %d", got, rebuilds+1)
	}
	wantPicks(t, b, "d a a d a a")
	if peerOf(b, "a") != peerA {
		t.Error("a has another peer after a change of weight")
	}

	if err := b.Set(parse("a a")...); err == nil {
		t.Error("Set with an address twice succeeded")
	}
	wantPicks(t, b, "d a a") // nothing has changed

	own := &upstream.Peer{Addr: "a:1", TLS: true}
	if err := b.Set(Backend{Addr: "a:1", Peer: own}); err != nil {
		t.Fatal(err)
	}
	if got, _ := b.Pick(nil); got != own {
		t.Errorf("Pick = %+v, want the peer that Set was given", got)
	}
	if err := b.Set(); err != nil {
		t.Fatal(err)
	}
	wantPicks(t, b, "none")
}

func TestNewPeerIsCalledOncePerAddress(t *testing.T) {
	calls := map[string]int{}
	b := newTest(t, Config{NewPeer: func(addr string) *upstream.Peer {
		calls[addr]++
		return &upstream.Peer{Addr: addr, ServerName: "example.com"}
	}}, "a b")
	for _, set := range []string{"a*3 b", "b a c", "a c*-1"} {
		if err := b.Set(parse(set)...); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[string]int{"a:1": 1, "b:1": 1, "c:1": 1}; !reflect.DeepEqual(calls, want) {
		t.Errorf("calls of NewPeer = %v, want %v", calls, want)
	}
	if p, _ := b.Pick(nil); p.ServerName != "example.com" {
		t.Errorf("Pick = %+v, want a peer from NewPeer", p)
	}
}

func TestMeta(t *testing.T) {
	zones := func(names ...string) any { return map[string][]string{"zones": names} } // not comparable with ==
	b, err := New(Config{}, Backend{Addr: "a:1", Meta: zones("x")})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		meta    any
		rebuilt bool
	}{{zones("x"), false}, {zones("x", "y"), true}, {nil, true}, {nil, false}, {zones("x"), true}} {
		before := b.Stats().Rebuilds
		if err := b.Set(Backend{Addr: "a:1", Meta: tt.meta}); err != nil {
			t.Fatal(err)
		}
		if got := b.Stats().Rebuilds != before; got != tt.rebuilt {
			t.Errorf("Meta %v: rebuilt = %v, want %v", tt.meta, got, tt.rebuilt)
		}
		got, err := b.Select(nil, 0, func(c Backend, _ bool) bool { return reflect.DeepEqual(c.Meta, tt.meta) })
		if err != nil {
			t.Errorf("Select by Meta %v = %+v, %v", tt.meta, got, err)
		}
	}
}

func TestSetEnabled(t *testing.T) {
	b := newTest(t, Config{}, "a b c")
	if !b.SetEnabled("b:1", false) {
		t.Error("SetEnabled of a member = false, want true")
	}
	wantPicks(t, b, "a c a c")
	if s := b.Backends()[1]; s.Enabled || s.Ready() || !s.Health.Healthy {
		t.Errorf("status of b = %+v, want disabled and healthy", s)
	}
	rebuilds := b.Stats().Rebuilds
	b.SetEnabled("b:1", false)
	b.SetEnabled("a:1", true)
	if got := b.Stats().Rebuilds; got != rebuilds {
		t.Errorf("a switch that was not turned cost %d rebuilds", got-rebuilds)
	}
	if err := b.Set(parse("a b*4 c")...); err != nil { // a new weight keeps the switch
		t.Fatal(err)
	}
	wantPicks(t, b, "a c")
	if err := b.Set(parse("a")...); err != nil {
		t.Fatal(err)
	}
	if b.SetEnabled("b:1", false) || b.SetEnabled("d:1", false) {
		t.Error("SetEnabled of addresses that are not in the set = true, want false")
	}
	if err := b.Set(parse("a b d")...); err != nil { // so does going and coming
		t.Fatal(err)
	}
	wantPicks(t, b, "a a a")
	b.SetEnabled("b:1", true)
	b.SetEnabled("a:1", false)
	wantPicks(t, b, "b b")
	b.SetEnabled("b:1", false)
	wantPicks(t, b, "none")
}

// slowPolicy takes its time to build a picker, and checks what it is given.
type slowPolicy struct {
	Policy
	building atomic.Bool
}

func (p *slowPolicy) NewPicker(ready []Backend) Picker {
	p.building.Store(true)
	defer p.building.Store(false)
	time.Sleep(2 * time.Millisecond) // real: requests must get through meanwhile
	return p.Policy.NewPicker(ready)
}

// While sets change and rebuilds are slow, every pick is a complete backend of
// some set: a peer with its Meta, never one without state.
func TestConsistentDuringSlowRebuild(t *testing.T) {
	policy := &slowPolicy{Policy: RoundRobin()}
	sets := make([][]Backend, 3)
	for s := range sets {
		for i := range 5 + s {
			addr := fmt.Sprintf("10.0.%d.%d:80", s, i)
			sets[s] = append(sets[s], Backend{Addr: addr, Weight: 1 + i, Meta: addr})
		}
	}
	b, err := New(Config{Policy: policy, Logger: quiet}, sets[0]...)
	if err != nil {
		t.Fatal(err)
	}
	var during atomic.Int64 // picks while a picker was being built
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !isClosed(stop) {
				p, err := b.Pick(nil)
				if err != nil || p == nil {
					t.Errorf("Pick = %v, %v", p, err)
					return
				}
				if _, err := b.PickExcept(nil, p); err != nil {
					t.Errorf("PickExcept: %v", err)
				}
				got, err := b.Select(nil, 0, func(c Backend, ready bool) bool { return ready })
				if err != nil || got.Peer == nil || got.Meta != got.Addr || got.Peer.Addr != got.Addr {
					t.Errorf("Select = %+v, %v, want a complete backend", got, err)
				}
				if policy.building.Load() {
					during.Add(1)
				}
			}
		})
	}
	for round := range 60 {
		if err := b.Set(sets[round%3]...); err != nil {
			t.Error(err)
		}
		b.SetEnabled("10.0.0.1:80", round%2 == 0)
		b.Backends()
	}
	for during.Load() == 0 { // picks do not wait for rebuilds
		b.SetEnabled("10.0.2.0:80", false)
		b.SetEnabled("10.0.2.0:80", true)
	}
	close(stop)
	wg.Wait()
}
