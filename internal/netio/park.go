// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import "time"

// Park has a connection that is idle watched without a goroutine. It returns
// false if that is not possible; the caller is to wait in Loop then. After true
// the caller must not touch c any more: wake is called, once and on a new
// goroutine, when there is something to read, the stream has ended, until has
// come, within a second or two, or Interrupt or Kill has been called. Zero for
// until means never. Park must not be called inside Loop, and only if nothing is
// left to receive: Recv has returned ErrAgain, or More is false.
func (c *Conn) Park(until time.Time, wake func()) bool {
	return c.raw != nil && theLot.park(c, until, wake)
}

// stackRoom is what serving a request takes of the stack, in bytes, within a
// kibibyte or two.
const stackRoom = 6 << 10

// GrowStack makes room for a request on the stack of the calling goroutine at
// once. Without it the stack grows twice in the middle of the first request,
// where there is much on it to be moved: a tenth of the cost of a short
// connection. While the connection is idle, the collector takes back what is
// not in use.
//
//go:noinline
func GrowStack() {
	var room [stackRoom]byte
	touch(&room)
}

// touch keeps room from being optimised away.
//
//go:noinline
func touch(room *[stackRoom]byte) { room[0] = 0 }
