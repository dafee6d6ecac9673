// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package belay is the map of this repository; it has no code.
//
// belay is a framework for programmable HTTP proxies, and a load balancer that
// is built on it. See the load balancer at work:
//
//	go run ./cmd/belay demo
//
// # Where to start reading
//
// First this page, then the chart of phases in proxy/doc.go, then
// proxy/exchange.go: the work for one request on one screen. To see a program
// that uses it all, read examples/loadbalancer/main.go.
//
// # The way of a request
//
//	listener ─ accept, TLS ─▶ server ─▶ http1 or http2 ─▶ proxy exchange ─▶ upstream.Connector ─▶ http1 or http2
//	                                    server side           │               pool, dial, TLS       client side
//	                                                          └─ hooks of the program, balancer.Balancer
//
// # Packages
//
// From the bottom up. Imports go down or sideways, never up; a test in
// internal/deptest checks it.
//
// Words and bytes:
//
//   - header: heads of messages: fields in order, and their grammar
//   - proxyerr: errors that say which side failed, at what, and whether the
//     request may be sent again
//   - config: the settings of a server as plain data, and their YAML
//   - internal/bytebuf: buffers on loan
//
// Protocols and motion:
//
//   - http1: HTTP/1.0 and HTTP/1.1, both sides
//   - http2: HTTP/2, both sides
//   - internal/netio: reads and writes on sockets, splice
//
// Policy parts:
//
//   - upstream: peers, connections to them, and the pool
//   - balancer: a set of backends, and which is next
//   - health: active health checks
//   - discovery: where a set of backends comes from
//
// The proxy:
//
//   - proxy: the exchange, its hooks, retries, tunnels
//
// Around the proxy:
//
//   - filter/…: ready-made hooks: accesslog, grpcweb
//   - cert: certificates from files that may change
//   - listener: bound sockets, accept loops, TLS
//   - upgrade: sockets and state on their way to a new process
//   - server: services in a process: command line, start, signals, drain
//
// Programs:
//
//   - examples/…: small programs, one idea each
//   - internal/app and cmd/belay (a module of its own): the load balancer
//
// Beside them stand proxytest, a public kit for testing proxies; test and
// bench, modules of their own for conformance and for benchmarks against other
// proxies; and docs, with the guide, the glossary and the decisions.
package belay
