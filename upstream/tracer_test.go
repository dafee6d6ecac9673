// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

// buggyTracer counts its calls and panics in each.
type buggyTracer struct{ connected, disconnected int }

func (b *buggyTracer) Connected(*Peer, time.Duration) { b.connected++; panic("bug in Connected") }
func (b *buggyTracer) Disconnected(*Peer)             { b.disconnected++; panic("bug in Disconnected") }

// A Tracer that panics harms nobody: not the request that dials, and not the
// process when the timer of the pool closes a connection.
func TestTracerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial, IdleTimeout: time.Second})
		tracer := new(buggyTracer)
		conn := get(t, c, &Peer{Addr: "a:1", Tracer: tracer})
		conn.Release(time.Now())
		check(t, "idle", c.Stats().Idle, 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		check(t, "idle after a while", c.Stats().Idle, 0)
		check(t, "tracer", *tracer, buggyTracer{1, 1})
	})
}
