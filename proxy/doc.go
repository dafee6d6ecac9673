// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package proxy is a programmable HTTP proxy. A program fills in [Hooks] and
// gets, for each request, one exchange that calls them at fixed points:
//
//	p, err := proxy.New(proxy.Config{}, proxy.Hooks[struct{}]{
//		UpstreamPeer: func(s *proxy.Session, _ *struct{}) (*upstream.Peer, error) {
//			return peer, nil
//		},
//	})
//	…
//	p.ServeConn(conn) // or hand p to a server.Service
//
// # The way of a request
//
//	head read ──────────── malformed: 400 and close, no hook runs
//	  EarlyRequestFilter
//	  RequestFilter ─────── answered ───────────────────────────┐
//	  ProxyUpstreamFilter ─ answered ───────────────────────────┤
//	┌▶UpstreamPeer                                              │
//	│   connect ─────────── FailToConnect ──┐                   │
//	│ ConnectedToUpstream                   │                   │
//	│ UpstreamRequestFilter                 │                   │
//	│   send head and body                  │                   │
//	│     RequestBodyFilter, each chunk     │                   │
//	│   response head, 1xx heads first ─────┤ failed:           │
//	│   │                                   │ ErrorWhileProxy   │
//	└───│────────── may be retried ─────────┤                   │
//	    ▼                                   │                   │
//	  UpstreamResponseFilter                │                   │
//	  ResponseFilter                        │                   │
//	    head sent                           ▼                   │
//	  UpstreamResponseBodyFilter ┐  FailToProxy: answers, if    │
//	  ResponseBodyFilter, chunks ┘  no head has been sent       │
//	  UpstreamResponseTrailerFilter         │                   │
//	  ResponseTrailerFilter                 │                   │
//	    │                                   │                   │
//	    ▼                                   ▼                   ▼
//	  Log, exactly once
//
// Start reading at exchange.go. The other files, in the order of the request:
// conn.go takes connections, request.go makes the head for the peer, relay.go
// moves the bodies, tunnel.go takes over after an upgrade, retry.go decides
// about another attempt, fail.go answers when there is none.
package proxy
