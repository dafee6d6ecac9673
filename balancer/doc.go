// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package balancer chooses a backend for each request.
//
// A [Balancer] owns a set of backends. Which backends there are comes from the
// program or from a discovery; which of them work comes from health checks; a
// [Policy] says how to choose among those that are ready.
//
//	lb, err := balancer.New(balancer.Config{Checker: &health.TCPChecker{}},
//		balancer.Backend{Addr: "10.0.0.1:8080"},
//		balancer.Backend{Addr: "10.0.0.2:8080", Weight: 2})
//	go lb.Run(ctx) // discovery and checks, until ctx ends
//
// A proxy's hook then reads, with a [Tried] in the state of the request so
// that each attempt goes to another backend:
//
//	func (g *gateway) upstreamPeer(s *proxy.Session, st *state) (*upstream.Peer, error) {
//		return g.lb.Next(nil, &st.tried)
//	}
//
// Requests read an immutable view of the set: choosing takes no lock and
// allocates nothing, however slow a discovery or a rebuild may be.
//
// Files: balancer.go has the set and how it changes, pick.go the request path,
// run.go the background service, policy.go and schedule.go the rotation.
package balancer
