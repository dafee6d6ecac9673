// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"
	"time"
)

// maxApps bounds the apps that are counted one by one. Those beyond it share
// one count: whoever makes up names gains nothing and cannot fill the memory.
const maxApps = 10_000

// A counter counts the requests of each app in the present second. The zero
// counter is ready to use. It is safe for concurrent use.
type counter struct {
	mu     sync.Mutex     // held for a few instructions, or a clear of counts
	second int64          // that counts is about; guarded by mu
	counts map[string]int // guarded by mu
	others int            // of the apps that are not in counts; guarded by mu
}

// add counts a request and returns how many its app has sent in this second.
func (c *counter) add(app string, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if second := now.Unix(); c.counts == nil || second != c.second {
		c.second, c.others = second, 0
		c.counts = make(map[string]int, min(len(c.counts), maxApps))
	}
	if _, known := c.counts[app]; !known && len(c.counts) >= maxApps {
		c.others++
		return c.others
	}
	c.counts[app]++
	return c.counts[app]
}
