// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import "time"

// guardWindow is the time over which a guard counts.
const guardWindow = 10 * time.Second

// A guard counts what a peer does that costs more than it is worth. Only the
// reader uses it.
type guard struct {
	cfg      *Config
	start    time.Time
	streams  int // opened in the window
	resets   int
	glitches int
}

// roll starts a new window when the old one is over.
func (g *guard) roll(now time.Time) {
	if now.Sub(g.start) >= guardWindow {
		*g = guard{cfg: g.cfg, start: now}
	}
}

// stream counts a stream that the peer has opened.
func (g *guard) stream(now time.Time) {
	g.roll(now)
	g.streams++
}

// reset counts a stream that ended by RST_STREAM, either way: a peer can as
// well make us send them (CVE-2023-44487, CVE-2025-8671). A busy connection may
// have any number of them, as long as they are the smaller part of what it does.
func (g *guard) reset(now time.Time) error {
	g.roll(now)
	g.resets++
	if g.resets > max(g.cfg.MaxResets, g.streams/2) {
		return &connError{EnhanceYourCalm, "too many resets"}
	}
	return nil
}

// glitch counts a frame that is allowed and useless.
func (g *guard) glitch(now time.Time) error {
	g.roll(now)
	if g.glitches++; g.glitches > g.cfg.MaxGlitches {
		return &connError{EnhanceYourCalm, "too many useless frames"}
	}
	return nil
}
