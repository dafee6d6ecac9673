// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package http2 speaks HTTP/2 (RFC 9113) on both sides of a proxy, with the
// header compression of golang.org/x/net/http2/hpack.
//
// [ServerConn] takes requests from a client and hands each, on a goroutine of
// its own, to a function as a [ServerStream]. [ClientConn] carries requests to
// an origin, many at a time, each as a [ClientStream]. Streams have the same
// methods as those of package http1, so that a proxy need not know which it
// has.
//
// # How a connection works
//
// One goroutine reads frames. It decodes heads, keeps received data in the
// buffers of its stream, and answers what the protocol wants answered. It
// never waits for a stream.
//
// Streams write by appending frames to one buffer, which a second goroutine,
// the flusher, sends. While it is in a system call frames gather, so that many
// small responses leave together. The buffer is bounded: a stream that finds
// it full, or has no flow-control window left, waits in line by its priority
// (RFC 9218).
//
// All state that the two goroutines and the streams share is guarded by one
// mutex per connection, which nobody holds while waiting.
//
// # Defences
//
// Everything a peer can make a connection hold or do is bounded: see Config.
// What has no limit of its own adds to a score of oddities (glitches); a
// connection that exceeds it is closed with ENHANCE_YOUR_CALM.
package http2
