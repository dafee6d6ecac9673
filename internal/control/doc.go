// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package control is how one process asks a running one how it is, and tells it
// to reload or to stop: HTTP over a Unix socket that only root and the user of
// the process can reach.
//
//	c, err := control.Find(control.Target{Program: "belay"})
//	if errors.Is(err, control.ErrNotRunning) {
//		…
//	}
//	st, err := c.Status(ctx)
//
// The other side is in package server. Its paths are
//
//	GET  /status   Status
//	POST /stop     ends the process; with ?now=1 without waiting for exchanges.
//	               Progress comes line by line, each in JSON, until the process
//	               has gone and with it the connection
//	POST /reload   Reload, or Failure with status 409 or 422
package control
