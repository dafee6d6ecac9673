// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"strconv"
)

// An originSet is a running origin program.
type originSet struct {
	*helper
	originReady
}

// newOriginSet starts the origin program with count origins for HTTP/1.1 on
// cpus. Its owner calls close.
func newOriginSet(ctx context.Context, count int, cpus []int) (*originSet, error) {
	h, err := startHelper("run-origin", cpus, strconv.Itoa(count))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the origins do not start"))
	defer cancel()
	set := &originSet{helper: h}
	if err := h.ask(ctx, "", &set.originReady); err != nil {
		h.close()
		return nil, err
	}
	return set, nil
}

// stats returns what the origins have counted.
func (o *originSet) stats(ctx context.Context) (stats originStats, err error) {
	err = o.ask(ctx, "stats", &stats)
	return stats, err
}

// addresses returns the addresses of origins that speak what u says.
func (o *originSet) addresses(u upstream) []string {
	switch u {
	case toH2:
		return o.H2
	case toGRPC:
		return o.GRPC
	}
	return o.Addrs
}

// originsFor returns the origins of s. Many of them are a program of their own;
// one at a time is kept.
func (b *bench) originsFor(ctx context.Context, s *scenario) (*originSet, error) {
	if s.backends == 0 {
		return b.origin, nil
	}
	if b.many != nil && len(b.many.Addrs) != s.backends {
		b.many.close()
		b.many = nil
	}
	if b.many == nil {
		var err error
		if b.many, err = newOriginSet(ctx, s.backends, b.loadCPUs); err != nil {
			return nil, err
		}
	}
	return b.many, nil
}
