// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package soak holds tests that run a proxy for a while under a load of
// everything at once: all kinds of requests, clients that leave at any point,
// origins that fail at any point. They check every answer byte by byte, and
// that nothing is left behind in the end.
//
//	go test ./soak -run NoLeaks -requests 1000000 -seed 7
package soak
