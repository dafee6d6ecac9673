// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import "time"

// restInterval is how often a connection looks for goroutines that it has not
// needed since the last time, and ends them.
const restInterval = time.Second

// A worker is a goroutine that handles streams, one after the other. A new one
// for each stream would have to grow its stack each time: 8 % of the CPU of a
// small request.
type worker struct {
	next chan *ServerStream // has room for one; nil ends the worker
}

// workers are those of a connection that wait for a stream.
type workers struct {
	idle   []*worker // the one used last comes last
	fewest int       // that were idle since the last rest
}

// startLocked has a stream handled by a worker that waits, or by a new one.
func (c *ServerConn) startLocked(st *ServerStream) {
	c.running++
	c.held += st.size
	c.handled.Add(1)
	ws := &c.workers
	if n := len(ws.idle) - 1; n >= 0 {
		w := ws.idle[n]
		ws.idle[n] = nil
		ws.idle = ws.idle[:n]
		ws.fewest = min(ws.fewest, n)
		w.next <- st
		return
	}
	w := &worker{next: make(chan *ServerStream, 1)}
	go c.work(w, st) // ends when restLocked or Serve sends it nil
}

// work handles streams, the first of which is st.
func (c *ServerConn) work(w *worker, st *ServerStream) {
	growStack(int(st.id))
	for ; st != nil; st = <-w.next {
		c.run(st, w)
	}
}

// growStack makes the stack of a new goroutine as large as a request will
// need, while there is next to nothing on it to move. It is not netio.GrowStack,
// with which h2c was dearer in six of seven rounds, and an idle connection took
// 2 KiB more.
//
//go:noinline
func growStack(i int) byte {
	var frame [7 << 10]byte
	frame[i&1023] = 1 // keeps the compiler from leaving it out
	return frame[i&511]
}

// waitLocked notes that a worker waits for a stream.
func (ws *workers) waitLocked(w *worker) { ws.idle = append(ws.idle, w) }

// dismissLocked ends the n workers that have been idle longest.
func (ws *workers) dismissLocked(n int) {
	for _, w := range ws.idle[:n] {
		w.next <- nil
	}
	left := copy(ws.idle, ws.idle[n:])
	clear(ws.idle[left:])
	ws.idle = ws.idle[:left]
	if left == 0 {
		ws.idle = nil
	}
}

// restLocked ends the workers that were not needed since the last time.
func (ws *workers) restLocked() {
	ws.dismissLocked(min(ws.fewest, len(ws.idle)))
	ws.fewest = len(ws.idle)
}

// busyLocked reports whether there are workers.
func (c *ServerConn) busyLocked() bool { return c.running > 0 || len(c.workers.idle) > 0 }
