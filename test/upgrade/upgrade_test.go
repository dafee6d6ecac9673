// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"flag"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "100 upgrades and 2 million requests")

// TestUpgrades upgrades a server under load, in both orders by turns, and has it
// read its configuration again in between. No request may fail.
func TestUpgrades(t *testing.T) {
	upgrades, requests, limit := 12, int64(50_000), 3*time.Minute
	if *long {
		upgrades, requests, limit = 100, 2_000_000, time.Hour
	}
	b := newBelay(t, "")
	load := StartLoad(b.addrs, 5, b.admin)
	defer load.Stop()
	began := time.Now()
	var old []*Process
	var longest time.Duration
	for done := 0; done < upgrades || load.OK() < requests; {
		if time.Since(began) > limit {
			t.Fatalf("%d upgrades and %d requests after %v", done, load.OK(), limit)
		}
		time.Sleep(300 * time.Millisecond) // of load between upgrades
		if due := int64(done) * requests / int64(upgrades); done < upgrades && load.OK() >= due {
			at := time.Now()
			old = append(old, b.upgrade(done%2 == 0))
			longest = max(longest, time.Since(at))
			done++
			b.reload(done)
		}
		if load.Failed() > 0 {
			break
		}
	}
	load.Stop()
	checkTally(t, load)
	b.waitGone(patience, old...)
	b.checkServes()
	b.must(b.current.Signal(15))
	b.waitGone(patience, b.current)
	t.Logf("%d upgrades, %d requests, %d failed, %d sent again by HTTP/2 clients, slowest %v, longest upgrade %v, in %v\n%s",
		len(old), load.OK(), load.Failed(), load.Repeated(), load.Slowest().Round(time.Millisecond), longest.Round(time.Millisecond), time.Since(began).Round(time.Second),
		load.Clients())
}

// TestSessionsOutlastUpgrade checks that a TLS session can be resumed with the
// new process.
func TestSessionsOutlastUpgrade(t *testing.T) {
	b := newBelay(t, "")
	var tally Tally
	c := NewClient(1, b.addrs[2], &tally)
	for i, want := range []bool{false, true, true, true} {
		if err := c.get("/content/1/100", "Connection: close\r\n", 1, 100); err != nil {
			t.Fatal(err)
		}
		c.close()
		if c.Resumed != want {
			t.Errorf("connection %d: resumed %t, want %t", i, c.Resumed, want)
		}
		if i > 0 {
			b.waitGone(patience, b.upgrade(i%2 == 0))
		}
	}
}
