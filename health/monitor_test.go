// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rig is a running Monitor on a fake network and clock.
type rig struct {
	*Monitor
	t    *testing.T
	net  *network
	rec  *recorder
	stop func() // ends Run and waits for it
}

// start runs a Monitor of addrs. It must be called inside a synctest bubble.
func start(t *testing.T, cfg Config, addrs ...string) *rig {
	t.Helper()
	r := &rig{t: t, net: newNetwork(), rec: new(recorder)}
	r.startWith(r.net, cfg, addrs...)
	return r
}

func (r *rig) startWith(c Checker, cfg Config, addrs ...string) {
	r.t.Helper()
	if cfg.Jitter == 0 {
		cfg.Jitter = -1
	}
	m, err := NewMonitor(c, cfg, r.rec.record)
	if err != nil {
		r.t.Fatalf("NewMonitor: %v", err)
	}
	r.Monitor = m
	m.Set(addrs)
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run = %v, want nil", err)
		}
	}
	r.t.Cleanup(cancel)
}

// after lets d pass and everything settle.
func (r *rig) after(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

func (r *rig) wantChanges(want ...string) {
	r.t.Helper()
	if got := r.rec.take(); !slices.Equal(got, want) {
		r.t.Errorf("changes = %q, want %q", got, want)
	}
}

func TestThresholds(t *testing.T) {
	tests := []struct {
		name             string
		success, failure int
		results          string   // one per round: + passes, - fails
		want             []string // "round:state"
	}{
		{"defaults are 1 and 1", 0, 0, "+-+-", []string{"2:down", "3:up", "4:down"}},
		{"new backends start healthy", 1, 3, "--", nil},
		{"third failure in a row", 1, 3, "--+---", []string{"6:down"}},
		{"opposite resets both ways", 2, 2, "-+-+--+-+-++-", []string{"6:down", "12:up"}},
		{"stays down", 1, 1, "----", []string{"1:down"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Config{ConsecutiveSuccess: tt.success, ConsecutiveFailure: tt.failure})
				defer r.stop()
				var got []string
				for i, result := range tt.results {
					r.net.setDown("a", result == '-')
					if i == 0 {
						r.Set([]string{"a"}) // checks at once
						synctest.Wait()
					} else {
						r.after(time.Second)
					}
					for _, c := range r.rec.take() {
						got = append(got, fmt.Sprintf("%d:%s", i+1, strings.TrimPrefix(c, "a ")))
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("changes = %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestScheduleFirstRoundAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{UnhealthyInterval: 250 * time.Millisecond})
		defer r.stop()
		r.net.setDown("b", true)
		r.Set([]string{"a", "b"})
		r.after(1100 * time.Millisecond)
		r.net.setDown("b", false)        // which its check at 1.25s finds
		r.Set([]string{"a", "b", "c"})   // c at once
		r.after(1200 * time.Millisecond) // until 2.3s
		want := []string{
			"a@0s", "a@1s", "a@2s",
			"b@0s", "b@1.25s", "b@1s", "b@2.25s", "b@250ms", "b@500ms", "b@750ms",
			"c@1.1s", "c@2.1s",
		}
		if got := r.net.seen(); !slices.Equal(got, want) {
			t.Errorf("checks = %q, want %q", got, want)
		}
	})
}

func TestNegativeIntervalChecksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Interval: -1}, "a")
		defer r.stop()
		r.after(time.Hour)
		r.Set([]string{"a", "b"})
		r.after(time.Hour)
		if got, want := r.net.seen(), []string{"a@0s", "b@1h0m0s"}; !slices.Equal(got, want) {
			t.Errorf("checks = %q, want %q", got, want)
		}
	})
}

func TestTimeout(t *testing.T) {
	tests := []struct {
		name    string
		timeout time.Duration // Config.Timeout
		takes   time.Duration // the check
		healthy bool
	}{
		{"in time", time.Second, 999 * time.Millisecond, true},
		{"too late", time.Second, 1001 * time.Millisecond, false},
		{"default is a second", 0, 1001 * time.Millisecond, false},
		{"no limit", -1, time.Hour, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := CheckerFunc(func(ctx context.Context, _ string) error {
					select {
					case <-time.After(tt.takes):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				r := &rig{t: t, rec: new(recorder)}
				r.startWith(slow, Config{Timeout: tt.timeout, Interval: 2 * time.Hour}, "a")
				defer r.stop()
				r.after(time.Hour)
				s, ok := r.Status("a")
				if !ok || s.Healthy != tt.healthy || (s.Err == nil) != tt.healthy {
					t.Errorf("Status = %+v, %v, want Healthy %v", s, ok, tt.healthy)
				}
				if want := min(tt.takes, time.Second); tt.timeout >= 0 && s.Took != want {
					t.Errorf("Took = %v, want %v", s.Took, want)
				}
			})
		})
	}
}

func TestChecksRunInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		slow := CheckerFunc(func(context.Context, string) error { time.Sleep(500 * time.Millisecond); return nil })
		r := &rig{t: t, rec: new(recorder)}
		r.startWith(slow, Config{}, numbered(n)...)
		defer r.stop()
		begin := time.Now()
		<-r.Checked()
		if got := time.Since(begin); got != 500*time.Millisecond {
			t.Errorf("a round of %d checks took %v, want 500ms", n, got)
		}
	})
}

func TestMaxParallelBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most int
		lock := make(chan struct{}, 1)
		change := func(by int) {
			lock <- struct{}{}
			now += by
			most = max(most, now)
			<-lock
		}
		slow := CheckerFunc(func(context.Context, string) error {
			change(1)
			defer change(-1)
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		r := &rig{t: t, rec: new(recorder)}
		r.startWith(slow, Config{MaxParallel: 3}, numbered(10)...)
		defer r.stop()
		begin := time.Now()
		<-r.Checked()
		if got := time.Since(begin); got != 400*time.Millisecond {
			t.Errorf("10 checks, 3 at a time, took %v, want 400ms", got)
		}
		if most != 3 {
			t.Errorf("%d checks at once, want 3", most)
		}
	})
}

// Twenty backends that hang and only four slots: they never hold more than
// two, so the one that works is checked every second.
func TestHungChecksDoNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := numbered(20)
		r := start(t, Config{MaxParallel: 4, ConsecutiveFailure: 1, Jitter: -1})
		defer r.stop()
		r.net.setHang(true, hung...)
		r.Set(append(hung, "good"))
		r.after(20 * time.Second) // all hung ones are known by now
		begin := len(of(r.net.seen(), "good"))
		r.after(10 * time.Second)
		if got := len(of(r.net.seen(), "good")) - begin; got != 10 {
			t.Errorf("good was checked %d times in 10s, want 10", got)
		}
		if !r.Healthy("good") {
			t.Error("good is unhealthy")
		}
		for _, addr := range hung {
			if r.Healthy(addr) {
				t.Errorf("%s is healthy, want unhealthy", addr)
			}
		}
	})
}

func TestRemoveStopsChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Timeout: -1})
		defer r.stop()
		r.net.setHang(true, "a")
		r.Set([]string{"a", "b"})
		r.after(time.Millisecond)
		r.Set([]string{"b"}) // cancels the check of a, whose failure is void
		r.after(10 * time.Second)
		if got := of(r.net.seen(), "a"); len(got) != 1 {
			t.Errorf("checks of a = %q, want one", got)
		}
		r.wantChanges()
		if _, ok := r.Status("a"); ok {
			t.Error("a is still known")
		}
		select {
		case <-r.Checked():
		default:
			t.Error("the round waits for a backend that is gone")
		}
	})
}

func TestReturningBackendStartsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		r.net.setDown("a", true)
		r.Set([]string{"a"})
		r.after(0)
		r.wantChanges("a down")
		r.Set([]string{"a", "b"}) // a stays: so does its health
		if r.Healthy("a") {
			t.Error("a became healthy by an unrelated Set")
		}
		r.Set(nil)
		r.Set([]string{"a"})
		if !r.Healthy("a") {
			t.Error("a is unhealthy, want healthy until checked")
		}
		r.after(0)
		r.wantChanges("a down")
	})
}

func TestChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		<-r.Checked() // of no addresses
		r.net.setHang(true, "slow")
		r.net.setDown("bad", true)
		r.Set([]string{"a", "bad", "slow"})
		round := r.Checked()
		r.after(999 * time.Millisecond)
		select {
		case <-round:
			t.Error("Checked was closed before slow had been checked")
		default:
		}
		<-round
		if got := r.rec.take(); !slices.Contains(got, "slow down") {
			t.Errorf("changes by then = %q, want slow down among them", got)
		}
	})
}

func TestInconclusiveLeavesStateAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := []error{errDown, ErrInconclusive, errDown, fmt.Errorf("dial: %w", ErrInconclusive), errDown}
		next := 0
		c := CheckerFunc(func(context.Context, string) error {
			err := results[min(next, len(results)-1)]
			next++
			return err
		})
		r := &rig{t: t, rec: new(recorder)}
		r.startWith(c, Config{ConsecutiveFailure: 3}, "a")
		defer r.stop()
		r.after(3500 * time.Millisecond) // two failures, two without verdict
		r.wantChanges()
		r.after(time.Second)
		r.wantChanges("a down")
	})
}

func TestPanicIsAFailedCheck(t *testing.T) {
	tests := []struct {
		name string
		f    func()
		want string
	}{
		{"panic", func() { panic("broken checker") }, "broken checker"},
		{"Goexit", runtime.Goexit, errGone.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{t: t, rec: new(recorder)}
				r.startWith(CheckerFunc(func(context.Context, string) error { tt.f(); return nil }), Config{}, "a")
				defer r.stop()
				r.after(0)
				r.wantChanges("a down")
				if s, _ := r.Status("a"); s.Err == nil || !strings.Contains(s.Err.Error(), tt.want) {
					t.Errorf("Err = %v, want %q in it", s.Err, tt.want)
				}
			})
		})
	}
}

// observer is a Checker with opinions of its own about changes.
type observer struct {
	*network
	seenChanges *recorder
}

func (o observer) Observe(addr string, healthy bool) {
	o.seenChanges.record([]Change{{Addr: addr, Healthy: healthy}})
}

func TestObserverHearsEachFlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := observer{newNetwork(), new(recorder)}
		r := &rig{t: t, net: o.network, rec: new(recorder)}
		r.startWith(o, Config{}, "a")
		defer r.stop()
		r.after(0)
		for i := range 4 {
			r.net.setDown("a", i%2 == 0)
			r.after(time.Second)
		}
		want := []string{"a down", "a up", "a down", "a up"}
		if got := o.seenChanges.take(); !slices.Equal(got, want) {
			t.Errorf("observed %q, want %q", got, want)
		}
		r.wantChanges(want...)
	})
}

func TestRunEndsCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		r := start(t, Config{Timeout: -1})
		r.net.setHang(true, numbered(50)...)
		r.Set(numbered(50))
		r.after(time.Second)
		if err := r.Run(t.Context()); err == nil {
			t.Error("second Run = nil, want an error")
		}
		r.stop()
		synctest.Wait()
		r.wantChanges() // cancelled checks are no failures

		// The next Run begins with a round of its own.
		r.net.setHang(false, numbered(50)...)
		before := len(r.net.seen())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		if got := len(r.net.seen()) - before; got != 50 {
			t.Errorf("the second Run began with %d checks, want 50", got)
		}
		cancel()
		<-done

		// With ctx ended before it begins, Run changes nothing.
		if err := r.Run(ctx); err != nil {
			t.Errorf("Run with an ended ctx = %v, want nil", err)
		}
		r.wantChanges()
	})
}

func TestJitterStaysInBounds(t *testing.T) {
	cfg := Config{Interval: time.Second, UnhealthyInterval: 100 * time.Millisecond, Jitter: 0.5}.withDefaults()
	differ := false
	for range 1000 {
		d := cfg.delay(true)
		if d < 500*time.Millisecond || d > 1500*time.Millisecond {
			t.Fatalf("delay = %v, want 0.5s to 1.5s", d)
		}
		differ = differ || d != cfg.delay(true)
		if d := cfg.delay(false); d < 50*time.Millisecond || d > 150*time.Millisecond {
			t.Fatalf("delay of an unhealthy one = %v, want 50ms to 150ms", d)
		}
	}
	if !differ {
		t.Error("1000 delays are equal, want jitter")
	}
	cfg.Jitter = -1
	if d := cfg.delay(true); d != time.Second {
		t.Errorf("delay without jitter = %v, want 1s", d)
	}
}

// State must stay sound when everything happens at once: run with -race.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Interval: time.Millisecond, MaxParallel: 4})
		all := numbered(20)
		done := make(chan struct{})
		for g := range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range 200 {
					r.Set(all[(g+i)%10 : (g+i)%10+10])
					r.net.setDown(all[i%20], i%3 == 0)
					r.Healthy(all[i%20])
					r.Status(all[i%20])
					time.Sleep(time.Millisecond)
				}
			}()
		}
		for range 4 {
			<-done
		}
		r.Set(all)
		<-r.Checked()
		for _, addr := range all {
			r.net.setDown(addr, false)
		}
		r.after(time.Second)
		for _, addr := range all {
			if !r.Healthy(addr) {
				t.Errorf("%s is unhealthy at the end, want healthy", addr)
			}
		}
		r.stop()
	})
}

// Results that arrive while a change is being reported are reported together,
// so that many changes at once cost few reports.
func TestChangesComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		gate := make(chan struct{})
		var sizes []int
		failing := CheckerFunc(func(context.Context, string) error { return errDown })
		m, err := NewMonitor(failing, Config{Interval: -1}, func(changes []Change) {
			sizes = append(sizes, len(changes))
			<-gate
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Set(numbered(n))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait() // all checks have ended; the first report waits
		close(gate)
		<-m.Checked()
		cancel()
		<-done
		if len(sizes) > 2 {
			t.Errorf("%d changes came in reports of %v, want at most two", n, sizes)
		}
	})
}

func TestNewMonitorRefuses(t *testing.T) {
	if _, err := NewMonitor(nil, Config{}, nil); err == nil {
		t.Error("NewMonitor without a Checker succeeded")
	}
	bad := Config{Interval: 1, UnhealthyInterval: -1, ConsecutiveSuccess: -1, ConsecutiveFailure: -2, Jitter: 0.6}
	_, err := NewMonitor(newNetwork(), bad, nil)
	if err == nil {
		t.Fatal("NewMonitor with a bad Config succeeded")
	}
	for _, field := range []string{"Interval is 1ns", "UnhealthyInterval is -1ns", "ConsecutiveSuccess is -1", "ConsecutiveFailure is -2", "Jitter is 0.6"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error %q does not mention %q", err, field)
		}
	}
	edge := Config{Interval: minInterval, UnhealthyInterval: minInterval, Jitter: maxJitter}
	if err := edge.Validate(); err != nil {
		t.Errorf("Validate at the limits = %v, want nil", err)
	}
}

func TestNilOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := NewMonitor(CheckerFunc(func(context.Context, string) error { return errors.New("no") }), Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Set([]string{"a", "a"})
		ctx, cancel := context.WithCancel(t.Context())
		go m.Run(ctx)
		<-m.Checked()
		if m.Healthy("a") {
			t.Error("a is healthy, want unhealthy")
		}
		cancel()
	})
}

// numbered returns n addresses.
func numbered(n int) []string {
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = fmt.Sprintf("10.0.0.%d:80", i)
	}
	return addrs
}

// of returns the checks of addr.
func of(checks []string, addr string) []string {
	return slices.DeleteFunc(checks, func(s string) bool { return !strings.HasPrefix(s, addr+"@") })
}
