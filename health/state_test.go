// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestStateOutlastsUpgrade checks that a Monitor goes on from what another one
// knows: what is down stays down until checks say otherwise, and half-counted
// streaks go on.
func TestStateOutlastsUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Interval: time.Second, Jitter: -1, ConsecutiveFailure: 3, ConsecutiveSuccess: 2}
		n := newNetwork()
		run := func(m *Monitor) (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- m.Run(ctx) }()
			return func() {
				cancel()
				<-done
			}
		}
		old, err := NewMonitor(n, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		old.Set([]string{"up", "down", "late"})
		n.setDown("down", true)
		stop := run(old)
		time.Sleep(2500 * time.Millisecond) // 3 checks
		n.setDown("late", true)
		time.Sleep(2 * time.Second) // 2 more, of which "late" has failed both
		stop()
		old.Set([]string{"up", "down", "late", "unchecked"})
		list := old.Save()
		if len(list) != 3 {
			t.Errorf("saved %+v, want what has been checked", list)
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}

		var rec recorder
		next, err := NewMonitor(n, cfg, rec.record)
		if err != nil {
			t.Fatal(err)
		}
		next.Set([]string{"up", "down"})
		next.Restore(append(list, Memory{Addr: "gone"}))
		next.Set([]string{"up", "down", "late"}) // one that joins later
		before, _ := old.Status("down")
		after, ok := next.Status("down")
		if !ok || after.Healthy || !after.Since.Equal(before.Since) || after.Err == nil || after.Err.Error() != "down" || !after.Checked.IsZero() {
			t.Errorf("status %+v, was %+v", after, before)
		}
		if !next.Healthy("up") || !next.Healthy("late") || !next.Healthy("new") {
			t.Error("an address is down that was not")
		}
		defer run(next)()
		synctest.Wait()
		// The third failure in a row, of which the old Monitor has seen two.
		if got := rec.take(); !slices.Equal(got, []string{"late down"}) {
			t.Errorf("changes %q, want late down", got)
		}
		<-next.Checked()
		n.setDown("down", false)
		time.Sleep(2500 * time.Millisecond)
		if got := rec.take(); !slices.Equal(got, []string{"down up"}) {
			t.Errorf("changes %q, want down up", got)
		}

		time.Sleep(memoryTime) // after that the past is forgotten
		next.Set([]string{"up", "gone"})
		if !next.Healthy("gone") {
			t.Error("an old memory counts")
		}
	})
}
