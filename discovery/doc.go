// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package discovery finds the backends of a balanced set.
//
// A [Discoverer] returns the set as it is now; package balancer asks it again
// and again and applies what has changed. [Static] is a set that the program
// itself keeps, with host names resolved:
//
//	set, err := discovery.NewStatic(ctx, nil,
//		discovery.Target{Addr: "10.0.0.1:8080"},
//		discovery.Target{Addr: "app.internal:8080", Weight: 2})
//
// DNS, a file or a service catalogue are other Discoverers: one method each.
package discovery
