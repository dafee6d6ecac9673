// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeDNS answers from a table.
type fakeDNS map[string][]string

var errNXDomain = errors.New("no such host")

func (d fakeDNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" {
		return nil, fmt.Errorf("network %q, want ip", network)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answers, ok := d[host]
	if !ok {
		return nil, errNXDomain
	}
	var ips []netip.Addr
	for _, a := range answers {
		ips = append(ips, netip.MustParseAddr(a))
	}
	return ips, nil
}

var dns = fakeDNS{
	"app":   {"10.0.0.1", "10.0.0.2", "::1"},
	"alias": {"10.0.0.2", "::ffff:10.0.0.3"}, // the second is IPv4 in disguise
	"empty": {},
}

// addrs returns what s discovers as "addr*weight".
func addrs(t *testing.T, s *Static) []string {
	t.Helper()
	targets, err := s.Discover(t.Context())
	if err != nil {
		t.Fatalf("Discover: %v", err)
	}
	var list []string
	for _, target := range targets {
		list = append(list, fmt.Sprintf("%s*%d", target.Addr, target.Weight))
	}
	return list
}

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestStaticResolves(t *testing.T) {
	tests := []struct {
		name  string
		given []Target
		want  []string
	}{
		{"nothing", nil, nil},
		{"addresses stay as they are", []Target{{Addr: "10.1.1.1:80"}, {Addr: "[::1]:80", Weight: 3}}, []string{"10.1.1.1:80*0", "[::1]:80*3"}},
		{"unix", []Target{{Addr: "unix:/run/app.sock"}}, []string{"unix:/run/app.sock*0"}},
		{"every address of a name", []Target{{Addr: "app:80", Weight: 2}}, []string{"10.0.0.1:80*2", "10.0.0.2:80*2", "[::1]:80*2"}},
		{"the first of two ways counts", []Target{{Addr: "alias:80", Weight: 5}, {Addr: "app:80"}},
			[]string{"10.0.0.2:80*5", "10.0.0.3:80*5", "10.0.0.1:80*0", "[::1]:80*0"}},
		{"ports differ", []Target{{Addr: "alias:80"}, {Addr: "alias:81"}},
			[]string{"10.0.0.2:80*0", "10.0.0.3:80*0", "10.0.0.2:81*0", "10.0.0.3:81*0"}},
		{"given twice, the later counts", []Target{{Addr: "10.1.1.1:80"}, {Addr: "10.1.1.2:80"}, {Addr: "10.1.1.1:80", Weight: 7}},
			[]string{"10.1.1.1:80*7", "10.1.1.2:80*0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewStatic(t.Context(), dns, tt.given...)
			if err != nil {
				t.Fatalf("NewStatic: %v", err)
			}
			check(t, "Discover", addrs(t, s), tt.want...)
		})
	}
}

func TestStaticRefuses(t *testing.T) {
	tests := []struct {
		name  string
		given []Target
		want  []string // all in the error
	}{
		{"unknown hosts, all named", []Target{{Addr: "app:80"}, {Addr: "nowhere:80"}, {Addr: "elsewhere:80"}}, []string{`"nowhere"`, `"elsewhere"`, errNXDomain.Error()}},
		{"no addresses", []Target{{Addr: "empty:80"}}, []string{`"empty"`, "no addresses"}},
		{"no port", []Target{{Addr: "app"}}, []string{`"app"`, "want host:port"}},
		{"empty port", []Target{{Addr: "app:"}}, []string{`"app:"`}},
		{"empty host", []Target{{Addr: ":80"}}, []string{`":80"`}},
		{"empty", []Target{{}}, []string{`""`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewStatic(t.Context(), dns, tt.given...); err == nil {
				t.Error("NewStatic succeeded")
			} else {
				for _, want := range tt.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q, want %q in it", err, want)
					}
				}
			}
			s, err := NewStatic(t.Context(), dns, Target{Addr: "10.9.9.9:80"})
			if err != nil {
				t.Fatal(err)
			}
			changed := s.Changed()
			if err := s.Set(t.Context(), tt.given...); err == nil {
				t.Error("Set succeeded")
			}
			if err := s.Add(t.Context(), tt.given...); err == nil {
				t.Error("Add succeeded")
			}
			check(t, "after errors", addrs(t, s), "10.9.9.9:80*0")
			if isClosed(changed) {
				t.Error("an error announced a change")
			}
		})
	}
}

func TestStaticEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewStatic(ctx, dns, Target{Addr: "app:80"}); !errors.Is(err, context.Canceled) {
		t.Errorf("NewStatic = %v, want canceled", err)
	}
}

func TestStaticChangesAtRunTime(t *testing.T) {
	s, err := NewStatic(t.Context(), dns, Target{Addr: "10.1.1.1:80"})
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, changes bool, do func(), want ...string) {
		t.Helper()
		changed := s.Changed()
		do()
		check(t, what, addrs(t, s), want...)
		if got := isClosed(changed); got != changes {
			t.Errorf("%s: change announced = %v, want %v", what, got, changes)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	step("add", true, func() { must(s.Add(t.Context(), Target{Addr: "alias:80"})) }, "10.1.1.1:80*0", "10.0.0.2:80*0", "10.0.0.3:80*0")
	step("new weight", true, func() { must(s.Add(t.Context(), Target{Addr: "10.1.1.1:80", Weight: 4})) }, "10.1.1.1:80*4", "10.0.0.2:80*0", "10.0.0.3:80*0")
	step("remove unknown", false, func() {
		if s.Remove("10.0.0.2:80") { // it was given as alias:80
			t.Error("Remove = true, want false")
		}
	}, "10.1.1.1:80*4", "10.0.0.2:80*0", "10.0.0.3:80*0")
	step("remove a name", true, func() {
		if !s.Remove("alias:80", "nowhere:80") {
			t.Error("Remove = false, want true")
		}
	}, "10.1.1.1:80*4")
	step("set", true, func() { must(s.Set(t.Context(), Target{Addr: "unix:/a", Disabled: true, Meta: "m"})) }, "unix:/a*0")
	if got, _ := s.Discover(t.Context()); !got[0].Disabled || got[0].Meta != "m" {
		t.Errorf("Discover = %+v, want Disabled and Meta kept", got)
	}
	step("set nothing", true, func() { must(s.Set(t.Context())) })
}

func TestStaticHandsOutCopies(t *testing.T) {
	s, err := NewStatic(t.Context(), dns, Target{Addr: "10.1.1.1:80"})
	if err != nil {
		t.Fatal(err)
	}
	mine, _ := s.Discover(t.Context())
	mine[0].Addr = "scribble"
	check(t, "Discover", addrs(t, s), "10.1.1.1:80*0")
}

func TestStaticConcurrentUse(t *testing.T) {
	s, err := NewStatic(t.Context(), dns)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			addr := fmt.Sprintf("10.0.0.%d:80", g)
			for range 200 {
				changed := s.Changed()
				if err := s.Add(t.Context(), Target{Addr: addr}); err != nil {
					t.Error(err)
				}
				<-changed
				if targets, _ := s.Discover(t.Context()); !slices.ContainsFunc(targets, func(t Target) bool { return t.Addr == addr }) {
					t.Errorf("%s was added and is not there", addr)
				}
				s.Remove(addr)
			}
		})
	}
	wg.Wait()
	check(t, "at the end", addrs(t, s))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
