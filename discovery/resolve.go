// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// A Resolver looks up the addresses of a host. *net.Resolver is one.
type Resolver interface {
	// LookupNetIP returns the addresses of host. network is "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

var _ Resolver = (*net.Resolver)(nil)

// resolve returns t once for each address of its host, in the order of the
// resolver. A target with an IP address or a Unix socket is returned as it is.
func resolve(ctx context.Context, r Resolver, t Target) ([]Target, error) {
	if strings.HasPrefix(t.Addr, "unix:") {
		return []Target{t}, nil
	}
	host, port, err := net.SplitHostPort(t.Addr)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("discovery: target %q: want host:port or unix:/path", t.Addr)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []Target{t}, nil
	}
	ips, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("discovery: resolve host %q: %w", host, err)
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("discovery: resolve host %q: no addresses", host)
	}
	targets := make([]Target, len(ips))
	for i, ip := range ips {
		targets[i] = t
		targets[i].Addr = net.JoinHostPort(ip.Unmap().String(), port)
	}
	return targets, nil
}

// resolveAll resolves each target by itself. Its error names every target that
// could not be resolved.
func resolveAll(ctx context.Context, r Resolver, targets []Target) ([]entry, error) {
	entries := make([]entry, 0, len(targets))
	var errs []error
	for _, t := range targets {
		resolved, err := resolve(ctx, r, t)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		entries = append(entries, entry{given: t.Addr, resolved: resolved})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return entries, nil
}
