// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	cfg := &Config{MaxResets: 3, MaxGlitches: 2}
	start := time.Now()
	tests := []struct {
		name    string
		streams int
		act     func(g *guard, now time.Time) error
		allowed int
	}{
		{"glitches", 0, (*guard).glitch, 2},
		{"resets of few streams", 0, (*guard).reset, 3},
		{"resets of most streams", 9, (*guard).reset, 4}, // up to half of them
		{"resets of half of many streams", 100, (*guard).reset, 50},
	}
	for _, tt := range tests {
		g := guard{cfg: cfg}
		for range 2 { // the second time in a new window
			for range tt.streams {
				g.stream(start)
			}
			for i := range tt.allowed + 1 {
				if err := tt.act(&g, start); (err == nil) != (i < tt.allowed) {
					t.Errorf("%s: number %d: %v, want %d to be allowed", tt.name, i+1, err, tt.allowed)
				}
			}
			if err := tt.act(&g, start.Add(guardWindow-1)); err == nil {
				t.Errorf("%s: allowed again too early", tt.name)
			}
			start = start.Add(guardWindow)
		}
	}
}
