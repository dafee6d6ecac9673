// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/health"
)

// downChecker fails for some addresses.
type downChecker map[string]bool

func (c downChecker) Check(_ context.Context, addr string) error {
	if c[addr] {
		return errors.New("down")
	}
	return nil
}

func (c downChecker) String() string { return "test" }

var _ health.Checker = downChecker{}

// wantChosen fails t unless exactly the backends named are chosen.
func wantChosen(t *testing.T, b *Balancer, want string) {
	t.Helper()
	names := strings.Fields(picks(b, 12))
	slices.Sort(names)
	if got := strings.Join(slices.Compact(names), " "); got != want {
		t.Errorf("chosen are %s, want %s", got, want)
	}
}

// TestStateOutlastsUpgrade checks that a new Balancer sends nothing to backends
// that the old one knows to be down, before its own first check.
func TestStateOutlastsUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Checker: downChecker{"b:1": true}}
		old := newTest(t, cfg, "a b c d")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- old.Run(ctx) }()
		time.Sleep(time.Second / 2)
		old.SetEnabled("c:1", false)
		state, err := old.SaveState()
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done

		next := newTest(t, cfg, "a b c d")
		if err := next.RestoreState(state); err != nil {
			t.Fatal(err)
		}
		wantChosen(t, next, "a d")
		next.SetEnabled("c:1", true)
		wantChosen(t, next, "a c d")

		plain := newTest(t, Config{}, "a b c")
		if err := plain.RestoreState(state); err != nil {
			t.Error(err)
		}
		wantChosen(t, plain, "a b") // without checks every backend is healthy
		if _, err := plain.SaveState(); err != nil {
			t.Error(err)
		}
		if err := plain.RestoreState([]byte("x")); err == nil {
			t.Error("RestoreState accepts nonsense")
		}
	})
}
