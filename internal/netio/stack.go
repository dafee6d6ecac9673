// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

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
