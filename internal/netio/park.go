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
