// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package http1 speaks HTTP/1.0 and HTTP/1.1 (RFC 9112) on both sides of a
// proxy.
//
// [ServerConn] reads requests from a client, one after the other, and hands
// each to a function as a [ServerStream]. [ClientConn] sends requests to an
// origin and reads the responses. Both work on any net.Conn and are fastest on
// a plain TCP or Unix connection.
//
//	c := http1.NewServerConn(nc, &cfg, func(s *http1.ServerStream) {
//		s.WriteHead(&header.Response{Status: 200, Length: 2}, false)
//		s.WriteBody([]byte("ok"), true)
//	})
//	c.Serve()
//
// The parsers are strict. A message that two recipients could frame in
// different ways is refused, never repaired (RFC 9112 sections 6.3 and 11.2):
// a Content-Length beside a Transfer-Encoding, two Content-Lengths, any
// transfer coding but a single chunked, a line that ends in a bare LF, folded
// lines, white space before a colon. The framing of what is sent is made anew
// from the Length of the head and from nothing else.
//
// The files: parse.go, request.go and response.go turn bytes into heads and
// back; chunk.go is the chunked coding; input.go and body.go receive;
// output.go sends; server.go and stream.go are the server side, client.go is
// the client side.
package http1
