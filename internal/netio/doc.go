// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package netio reads and writes connections with as few system calls as the
// work needs. Nothing above it knows how.
//
// An ordinary net.Conn.Read that finds nothing costs two system calls: one
// that fails with EAGAIN before the wait and one that succeeds after it. A
// proxy pays that twice per request. [Conn.Loop] avoids it: inside it, Recv
// never blocks, and a caller that has just received a whole message returns
// false to wait for the next one without asking the kernel first.
//
// It works because syscall.RawConn.Read(f) resets the readiness of the
// descriptor once, at entry, and after each f that returns false waits for an
// edge that may already have come. There is one thing to know: if data and
// the end of the stream arrived as one edge, no further edge comes. So a
// caller must go on with Recv until ErrAgain unless what it has is a whole
// message, and must look again some time later (see http1's idle check). A
// caller that knows no messages asks for the end to show ([Conn.ShowEnd]).
//
// f holds the descriptor's read lock. From inside it, Close would wait for
// itself, and another Loop or a blocking Recv for ever; writes are fine.
// From outside, Close waits until f returns: use Interrupt first.
//
// A TLS connection has it too if crypto/tls reads from a [Transport]: a read
// there fails inside Loop as Recv does, and crypto/tls goes on after it.
//
// A connection on which nothing is expected for some time needs no goroutine to
// wait for it: [Conn.Park].
//
// On connections without a descriptor (in-memory, other systems) Loop calls f
// in a plain loop and Recv blocks. The results are the same.
//
// Deadlines are lazy. Setting one costs as much as a few hundred bytes of
// parsing, so a caller arms a coarse one now and then and, when it fires,
// compares the clock with what it really wanted.
package netio
