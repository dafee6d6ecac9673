// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/discovery"
	"github.com/belay-proxy/belay/health"
)

// steady is a health.Config without jitter, so that tests can count.
var steady = health.Config{Jitter: -1}

func TestHealthTakesBackendsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		b := newTest(t, Config{Checker: f, Health: steady}, "a b c")
		wantPicks(t, b, "a b c") // healthy until checked
		stop := run(t, b)
		defer stop()
		for _, step := range []struct{ down, want string }{
			{"", "a b c"},
			{"b", "a c a c a"},
			{"a b c", "none none"},
			{"a b", "c c"},
			{"", "b c a b c a"},
		} {
			f.set(step.down)
			pass(time.Second)
			wantPicks(t, b, step.want)
		}
	})
}

func TestHealthIsKeptByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		f.set("a")
		b := newTest(t, Config{Checker: f, Health: steady}, "a b")
		stop := run(t, b)
		defer stop()
		<-b.Ready()
		pass(0)
		wantPicks(t, b, "b b")
		asked := f.asked("a")
		// A new weight, new Meta, and a drain do not make it a new backend.
		for _, set := range []string{"a*7 b", "b a*7 c", "a*-1 b", "a b"} {
			if err := b.Set(parse(set)...); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, s := range b.Backends() {
				if want := s.Backend.Addr != "a:1"; s.Health.Healthy != want {
					t.Errorf("set %s: %s healthy = %v, want %v", set, s.Backend.Addr, s.Health.Healthy, want)
				}
			}
		}
		if got := f.asked("a"); got != asked {
			t.Errorf("a was checked %d times more than its interval says", got-asked)
		}
		if s := b.Backends()[0]; s.Health.Err == nil || s.Health.Since.IsZero() {
			t.Errorf("status of a = %+v, want what is wrong and since when", s)
		}
		// Going and coming does.
		f.set("")
		if err := b.Set(parse("b")...); err != nil {
			t.Fatal(err)
		}
		if err := b.Set(parse("a b")...); err != nil {
			t.Fatal(err)
		}
		wantPicks(t, b, "a b")
	})
}

func TestOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		var log bytes.Buffer
		var got []string
		var b *Balancer
		cfg := Config{
			Checker: f, Health: steady,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			OnChange: func(backend Backend, healthy bool) {
				// The view has changed before, and no lock is held.
				if p, _ := b.Pick(nil); (p == nil) == healthy {
					t.Errorf("Pick in OnChange(%v) = %v", healthy, p)
				}
				b.SetEnabled(backend.Addr, true)
				got = append(got, fmt.Sprintf("%s %v %v", name(backend.Peer), healthy, backend.Meta))
			},
		}
		var err error
		if b, err = New(cfg, Backend{Addr: "a:1", Meta: "m"}); err != nil {
			t.Fatal(err)
		}
		stop := run(t, b)
		pass(100 * time.Millisecond)
		for i := range 4 {
			f.set([]string{"a", ""}[i%2])
			pass(time.Second)
		}
		stop()
		if want := "a false m, a true m, a false m, a true m"; strings.Join(got, ", ") != want {
			t.Errorf("OnChange heard %q, want %q", got, want)
		}
		for _, want := range []string{"level=WARN msg=\"backend is unhealthy\" backend=a:1 err=\"fault in a:1\"", "level=INFO msg=\"backend is healthy again\" backend=a:1"} {
			if n := strings.Count(log.String(), want); n != 2 {
				t.Errorf("log has %q %d times, want 2:\n%s", want, n, &log)
			}
		}
	})
}

// A callback that panics ends neither the process nor the deliveries.
func TestOnChangePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		var log bytes.Buffer
		var got []bool
		b := newTest(t, Config{Checker: f, Health: steady, Logger: slog.New(slog.NewTextHandler(&log, nil)), OnChange: func(_ Backend, healthy bool) {
			got = append(got, healthy)
			panic("bug")
		}}, "a")
		stop := run(t, b)
		pass(100 * time.Millisecond)
		for _, bad := range []string{"a", ""} {
			f.set(bad)
			pass(time.Second)
		}
		stop()
		if want := []bool{false, true}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("OnChange heard %v, want %v", got, want)
		}
		if n := strings.Count(log.String(), "panic in OnChange"); n != 2 {
			t.Errorf("%d panics logged, want 2:\n%s", n, &log)
		}
	})
}

// A callback that waits delays neither checks nor requests, and misses nothing.
func TestOnChangeMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		gate := make(chan struct{})
		var got []bool
		b := newTest(t, Config{Checker: f, Health: steady, OnChange: func(_ Backend, healthy bool) {
			<-gate
			got = append(got, healthy)
		}}, "a")
		stop := run(t, b)
		pass(100 * time.Millisecond)
		for i := range 6 {
			f.set([]string{"a", ""}[i%2])
			pass(time.Second)
			wantPicks(t, b, []string{"none", "a"}[i%2])
		}
		close(gate)
		stop() // delivers what is left
		if want := []bool{false, true, false, true, false, true}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("OnChange heard %v, want %v", got, want)
		}
	})
}

func TestSelectIgnoringHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		f.set("a b c")
		b := newTest(t, Config{Checker: f, Health: steady}, "a b c d e")
		b.SetEnabled("e:1", false)
		stop := run(t, b)
		defer stop()
		pass(0)
		var offered []string
		_, err := b.Select(nil, 0, func(c Backend, ready bool) bool {
			offered = append(offered, fmt.Sprint(name(c.Peer), ready))
			return false
		})
		if err != ErrNoBackend || len(offered) != 4 || offered[0] != "dtrue" {
			t.Errorf("offered %q, %v; want d ready, then three that are not", offered, err)
		}
		f.set("a b c d e")
		pass(time.Second)
		counts := map[string]int{}
		for range 30 {
			got, err := b.Select(nil, 1, func(Backend, bool) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			counts[name(got.Peer)]++
		}
		for name := range strings.FieldsSeq("a b c d") {
			if got := counts[name]; got < 7 || got > 8 {
				t.Errorf("with all down %s was taken %d times of 30, want 7 or 8", name, got)
			}
		}
	})
}

func TestDiscoveryLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := new(source)
		src.set("b", nil)
		src.takes = 300 * time.Millisecond
		b := newTest(t, Config{Discovery: src, UpdateInterval: 10 * time.Second}, "a")
		if isClosed(b.Ready()) {
			t.Error("ready before Run")
		}
		stop := run(t, b)
		defer stop()
		pass(299 * time.Millisecond)
		wantPicks(t, b, "a") // the set given to New serves until then
		if isClosed(b.Ready()) {
			t.Error("ready before the first discovery")
		}
		pass(2 * time.Millisecond)
		if !isClosed(b.Ready()) {
			t.Error("not ready after the first discovery")
		}
		wantPicks(t, b, "b b")
		s := b.Stats()
		if s.Updates != 1 || s.DiscoveryTook != 300*time.Millisecond || s.LastUpdate.IsZero() {
			t.Errorf("Stats = %+v, want one update that took 300ms", s)
		}
		src.set("b c", nil)
		pass(12 * time.Second) // 10s, 10 % more or less, and 300ms
		if got := b.Stats(); got.Updates != 2 || got.Rebuilds != s.Rebuilds+1 {
			t.Errorf("Stats = %+v, want two updates, one more rebuild", got)
		}
		pass(time.Minute)
		if got := b.Stats(); got.Updates < 6 || got.Rebuilds != s.Rebuilds+1 {
			t.Errorf("Stats = %+v, want more updates and no more rebuilds", got)
		}
		if err := b.Set(parse("x")...); err == nil {
			t.Error("Set on a discovered set succeeded")
		}
	})
}

func TestDiscoveryErrorsKeepTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := new(source)
		src.set("a b", nil)
		var log bytes.Buffer
		b := newTest(t, Config{
			Discovery: src, UpdateInterval: 4 * time.Second,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}, "")
		stop := run(t, b)
		defer stop()
		<-b.Ready()
		broken := errors.New("catalogue is closed")
		src.set("", broken)
		pass(150 * time.Second) // warnings at about 4s, 65s and 130s
		wantPicks(t, b, "a b a")
		s := b.Stats()
		if s.Updates != 1 || s.UpdateErrors < 25 {
			t.Errorf("Stats = %+v, want one update and many errors", s)
		}
		if n := strings.Count(log.String(), broken.Error()); n != 3 {
			t.Errorf("the error was logged %d times in 150s, want 3:\n%s", n, &log)
		}
		for _, bad := range []string{"a a", "a*2000000"} { // unusable is an error too
			src.set(bad, nil)
			if err := b.Update(t.Context()); err == nil {
				t.Errorf("Update to %q succeeded", bad)
			}
			wantPicks(t, b, "b a")
		}
		src.set("c", nil)
		pass(5 * time.Second)
		wantPicks(t, b, "c c")
		if !strings.Contains(log.String(), "discovery works again") {
			t.Errorf("the log does not say that it works again:\n%s", &log)
		}
	})
}

func TestFirstDiscoveryIsTriedAgain(t *testing.T) {
	for _, interval := range []time.Duration{time.Hour, -1} {
		synctest.Test(t, func(t *testing.T) {
			src := new(source)
			src.set("", errors.New("not yet"))
			b := newTest(t, Config{Discovery: src, UpdateInterval: interval}, "")
			stop := run(t, b)
			defer stop()
			pass(5 * time.Second) // tries after 1s, 2s, and soon 4s
			if got := src.times(); got != 3 {
				t.Errorf("%d tries in 5s, want 3", got)
			}
			src.set("a", nil)
			begin := time.Now()
			<-b.Ready()
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("ready %v after discovery works, want at most 4s", took)
			}
			wantPicks(t, b, "a")
			tries := src.times()
			pass(50 * time.Minute) // less than an hour less 10 %
			if got := src.times(); got != tries {
				t.Errorf("%d further discoveries, want none", got-tries)
			}
		})
	}
}

func TestDiscoveryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{takes: time.Hour}
		b := newTest(t, Config{Discovery: src}, "a")
		begin := time.Now()
		if err := b.Update(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update = %v, want deadline exceeded", err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("Update took %v, want 10s", took)
		}
		// A second Update gives up waiting for the first when its ctx ends.
		go b.Update(t.Context())
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Update(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update that waits = %v, want deadline exceeded", err)
		}
		if took := time.Since(begin); took != 11*time.Second {
			t.Errorf("it gave up after %v, want 11s", took)
		}
		time.Sleep(10 * time.Second)
	})
}

func TestSlowDiscoveryDoesNotDelayChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, src := newFaults(), &source{takes: time.Hour}
		b := newTest(t, Config{Discovery: src, UpdateTimeout: -1, Checker: f, Health: steady}, "a b")
		stop := run(t, b)
		defer stop()
		pass(10 * time.Millisecond)
		for i := range 5 {
			f.set([]string{"a", "b"}[i%2])
			pass(time.Second)
			wantPicks(t, b, []string{"b b", "a a"}[i%2])
		}
		if got := f.asked("a"); got != 6 {
			t.Errorf("a was checked %d times in 5s, want 6", got)
		}
		b.SetEnabled("b:1", false) // nor anything else
		b.Backends()
	})
}

func TestDiscoveryReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := new(source)
		src.set("a b", nil)
		src.targets[0].Disabled = true
		b := newTest(t, Config{Discovery: src}, "")
		if err := b.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantPicks(t, b, "b b")
		if s := b.Backends()[0]; s.Enabled || s.Ready() {
			t.Errorf("status of a = %+v, want disabled", s)
		}
		b.SetEnabled("a:1", true) // the operator has no say over discovery
		wantPicks(t, b, "b b")
		src.set("a b", nil) // a change of the flag alone is a change
		if err := b.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantPicks(t, b, "a b a b")
		b.SetEnabled("a:1", false)
		if err := b.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantPicks(t, b, "b b") // nor discovery over the operator
	})
}

func TestPanickingDiscovery(t *testing.T) {
	b := newTest(t, Config{Discovery: panicking{}}, "a")
	if err := b.Update(t.Context()); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("Update = %v, want the panic as an error", err)
	}
	wantPicks(t, b, "a")
}

type panicking struct{}

func (panicking) Discover(context.Context) ([]discovery.Target, error) { panic("out of order") }

func TestStaticChangesApplyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaults()
		f.set("b")
		set, err := discovery.NewStatic(t.Context(), nil, discovery.Target{Addr: "10.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		b := newTest(t, Config{Discovery: set, UpdateInterval: -1, Checker: f, Health: steady}, "")
		stop := run(t, b)
		defer stop()
		<-b.Ready()
		wantPicks(t, b, "10.0.0.1")
		if err := set.Add(t.Context(), discovery.Target{Addr: "10.0.0.2:1", Weight: 2}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantPicks(t, b, "10.0.0.1 10.0.0.2 10.0.0.2")
		if got := f.asked("10.0.0.2"); got != 1 {
			t.Errorf("the new backend was checked %d times, want at once", got)
		}
		set.Remove("10.0.0.1:1")
		synctest.Wait()
		asked := f.asked("10.0.0.1")
		pass(5 * time.Second)
		wantPicks(t, b, "10.0.0.2 10.0.0.2")
		if got := f.asked("10.0.0.1"); got != asked {
			t.Errorf("a removed backend was checked %d times", got-asked)
		}
	})
}

func TestReadyAfterChecks(t *testing.T) {
	tests := []struct {
		name   string
		checks bool // ReadyAfterChecks
		wait   time.Duration
		picks  string
	}{
		{"after the first set", false, 100 * time.Millisecond, "a"},
		{"after the first checks", true, 1100 * time.Millisecond, "c c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, src := newFaults(), new(source)
				f.set("a")
				f.hang["b:1"] = true // until the timeout of 1s
				src.set("a b c", nil)
				src.takes = 100 * time.Millisecond
				b := newTest(t, Config{Discovery: src, Checker: f, Health: steady, ReadyAfterChecks: tt.checks}, "")
				begin := time.Now()
				stop := run(t, b)
				defer stop()
				<-b.Ready()
				if got := time.Since(begin); got != tt.wait {
					t.Errorf("ready after %v, want %v", got, tt.wait)
				}
				if tt.checks {
					wantPicks(t, b, tt.picks) // b and a are out by now
				}
			})
		})
	}
}

func TestRunEndsCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		f, src := newFaults(), &source{takes: time.Hour}
		f.hang["a:1"] = true
		b := newTest(t, Config{
			Discovery: src, UpdateTimeout: -1,
			Checker: f, Health: health.Config{Timeout: -1}, ReadyAfterChecks: true,
		}, "a")
		stop := run(t, b)
		pass(time.Second)
		if err := b.Run(t.Context()); err == nil {
			t.Error("second Run = nil, want an error")
		}
		stop() // in the middle of a discovery and a check
		if isClosed(b.Ready()) {
			t.Error("ready without a first discovery")
		}
		wantPicks(t, b, "a") // requests in hand still find their way

		src.takes, f.hang["a:1"] = 0, false
		src.set("a", nil)
		stop = run(t, b) // may be run again
		<-b.Ready()
		stop()
	})
}

// When everything fails at once, nothing is lost and nothing is told twice.
func TestManyFlipsAtOnce(t *testing.T) {
	const n = 2000
	f := newFaults()
	backends := numbered(n)
	for _, b := range backends {
		f.down[b.Addr] = true
	}
	heard := map[string]int{}
	all := make(chan struct{})
	b, err := New(Config{Checker: f, Health: health.Config{Interval: -1}, Logger: quiet, OnChange: func(c Backend, healthy bool) {
		if heard[c.Addr]++; len(heard) == n {
			close(all)
		}
		if healthy || heard[c.Addr] > 1 {
			t.Errorf("OnChange(%s, %v), call %d, want one with false", c.Addr, healthy, heard[c.Addr])
		}
	}}, backends...)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, b)
	<-all
	stop()
	wantPicks(t, b, "none")
	if got := b.Stats().Rebuilds; got > n+1 {
		t.Errorf("%d rebuilds for %d changes", got, n)
	}
}
