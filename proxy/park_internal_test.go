// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// A connection that panics when it is woken ends, and nothing else does.
func TestWakePanics(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := new(front)
	f.init(Downstream{}, slog.New(slog.NewTextHandler(&log, nil)), nil)
	near, far := net.Pipe()
	ended := 0
	c := &conn{front: f, nc: far, ended: func() { ended++ }} // without h1
	f.conns[c] = struct{}{}
	c.wake()
	if ended != 1 || f.stats().Connections != 0 {
		t.Errorf("ended was called %d times, and there are %d connections, want 1 and 0", ended, f.stats().Connections)
	}
	if _, err := near.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client got %v, want EOF", err)
	}
	if !strings.Contains(log.String(), "connection panicked") {
		t.Errorf("logged %q", log.String())
	}
}
