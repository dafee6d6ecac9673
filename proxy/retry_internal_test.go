// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// take counts how many retries b allows now.
func takeAll(b *retryBudget) (n int) {
	for b.take(time.Now()) {
		n++
	}
	return n
}

func TestRetryBudgetWindow(t *testing.T) {
	newBudget := func(percent, min int) *retryBudget {
		b := new(retryBudget)
		b.init(RetryBudget{Percent: percent, MinPerSecond: min})
		return b
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(-1, 2)
		if got := takeAll(b); got != 20 {
			t.Errorf("%d retries at first, want 2 a second for 10 seconds", got)
		}
		time.Sleep(budgetWindow/2 + time.Millisecond)
		if got := takeAll(b); got != 0 {
			t.Errorf("%d retries after half a window, want 0", got)
		}
		time.Sleep(budgetWindow/2 + time.Millisecond)
		if got := takeAll(b); got != 20 {
			t.Errorf("%d retries after a window, want 20", got)
		}
	})
	// A long time without retries must not save up for many.
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(20, -1)
		for range 3600 {
			for range 100 {
				b.request()
			}
			time.Sleep(time.Second)
		}
		next := newBudget(20, -1)
		next.goOnFrom(*b.used())
		for name, b := range map[string]*retryBudget{"the budget": b, "the one that goes on from it": next} {
			if got := takeAll(b); got != 100 { // 20 % of the 500 requests of 5 seconds
				t.Errorf("%s allows %d retries after an hour of 100 requests a second, want 100", name, got)
			}
		}
	})
}

// The state of a budget outlasts an upgrade, until its window is over.
func TestBudgetOutlastsUpgrade(t *testing.T) {
	var old, next retryBudget
	cfg := RetryBudget{Percent: 10, MinPerSecond: -1}
	old.init(cfg)
	next.init(cfg)
	for range 100 {
		old.request()
	}
	now := time.Now()
	for range 4 {
		old.take(now)
	}
	next.goOnFrom(*old.used())
	for i := range 7 {
		if got, want := next.take(now), i < 6; got != want {
			t.Errorf("retry %d: allowed %t, want %t", i, got, want)
		}
	}
	if later := now.Add(2 * budgetWindow); next.take(later) {
		t.Error("a retry is allowed for requests of long ago")
	}
}
