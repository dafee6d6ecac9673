// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package bytebuf

import "sync/atomic"

var outstanding counter

type counter struct{ n atomic.Int64 }

func (c *counter) add(d int64) { c.n.Add(d) }
func (c *counter) load() int64 { return c.n.Load() }

// poison overwrites the whole capacity of b.
func poison(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = 0xdb
	}
}
