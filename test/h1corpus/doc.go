// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package h1corpus has HTTP/1 messages, byte by byte, on which proxies have
// disagreed, with what a proxy must make of each.
//
// [Requests] are sent to the proxy, each in one write, in single bytes, and
// broken after every CR and LF: where a message ends must not depend on how
// it arrives. [Responses] are sent by a scripted origin. Behind every case
// follows an innocent request, the sentinel, on the same connection where it
// is still open and on a new one: what is left over from the case would spoil
// its answer. An origin that reads strictly tells what it received.
//
// The policy: a request that two readers could frame in different ways is
// refused and its connection closed, and the origin sees nothing of it. What
// only shows in the middle of a body ends the exchange so that the origin
// never has a whole request. A response that is cut never looks whole.
//
// The limits are the defaults of package http1. The runner knows its proxy by
// address only, so other proxies can be measured with it; where one differs,
// the Class of a case says which rule is at stake.
package h1corpus
