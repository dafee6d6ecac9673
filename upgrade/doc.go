// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package upgrade hands the listening sockets of a process over to the process
// that replaces it, so that no connection is refused or lost in between.
//
// The new process calls [TakeOver] once it has loaded all that it needs. It
// binds a Unix socket, the upgrade socket, and waits there. The old process
// calls [HandOver], for example on a signal, and looks for that socket. Either
// may come first; each waits a few seconds for the other. Then
//
//	new                                 old
//	          ── hello ──▶
//	          ◀── hello ──
//	          ◀── sockets ── …          with the descriptors, in pieces
//	          ◀── state ── …            what is worth keeping, in pieces
//	          ◀── end ──
//	starts, could accept connections
//	          ── ready ──▶              which sockets it has taken
//	          ◀── yours ──
//	tells the system who it is now
//	          ── mine ──▶
//	                                    closes the connection
//	accepts connections                 stops accepting, drains
//
// Both have the same sockets, and so one queue. The old process accepts until it
// knows that it has been replaced, the new one from when it knows that the old
// one does: what it accepted before would be lost if it failed. In between, for a
// moment, connections wait in the queue, or both accept. If anything fails before
// that, the old process goes on as if nothing had happened: "ready" is the word
// of the new process that it can accept, "yours" is the decision, and "mine" its receipt. Instead of
// any message either side may send "fail" with a reason. If the old process
// dies after it has handed over everything, the new one goes on alone. The new
// one reads on after "mine" until the connection ends: if the receipt came too
// late, it finds the "fail" of the old one, which serves on.
//
// Each side checks with the system which user the other runs as, before it
// says anything. See [Config.Users].
//
// # Format
//
// A message is one byte that says what it is, four bytes of length, big-endian,
// and so many bytes, at most MaxMessage. "hello" has a magic text and the
// version of the protocol; the lower one of both counts. Descriptors
// (SCM_RIGHTS) come with the first byte of a "sockets" message and are as many
// as the names in it. All sizes are bounded: see the Max constants.
package upgrade
