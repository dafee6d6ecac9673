// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// connected tells p's Tracer, if it has one, of a connection.
func (p *Peer) connected(took time.Duration) {
	if p.Tracer != nil {
		defer tracerPanicked()
		p.Tracer.Connected(p, took)
	}
}

// disconnected tells p's Tracer of the end of a connection.
func (p *Peer) disconnected() {
	if p.Tracer != nil {
		defer tracerPanicked()
		p.Tracer.Disconnected(p)
	}
}

// tracerPanicked keeps a bug in a Tracer from ending the process: connections
// also end on timers, where nobody else would recover.
func tracerPanicked() {
	if v := recover(); v != nil {
		slog.Error("panic in a Tracer", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	}
}
