// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package health finds out whether backends work by probing them (active
// health checks).
//
// A [Checker] probes one address once: [TCPChecker] by connecting, [GRPCChecker]
// by asking gRPC's health service. A [Monitor] runs a Checker against a set of addresses at an interval and applies thresholds, so
// that a single lost packet need not take a backend out:
//
//	m, err := health.NewMonitor(&health.TCPChecker{}, health.Config{}, func(changes []health.Change) {
//		…
//	})
//	m.Set([]string{"10.0.0.1:8080", "10.0.0.2:8080"})
//	err = m.Run(ctx) // until ctx ends
//
// Package balancer does this for its backends; a program only chooses the
// Checker.
package health
