// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upstream"
)

// lookupTimeout bounds the look-up of one host name.
const lookupTimeout = 10 * time.Second

// ParseBackend reads "host:port" or "unix:/path", optionally followed by "="
// and a weight from 1 to balancer.MaxWeight.
func ParseBackend(s string) (balancer.Backend, error) {
	addr, weight, err := cutWeight(s)
	if err != nil {
		return balancer.Backend{}, fmt.Errorf("backend %q: %w", s, err)
	}
	if err := checkAddr(addr); err != nil {
		return balancer.Backend{}, fmt.Errorf("backend %q: %w", s, err)
	}
	if err := (&upstream.Peer{Addr: addr}).Validate(); err != nil {
		return balancer.Backend{}, fmt.Errorf("backend %q: %w", s, err)
	}
	return balancer.Backend{Addr: addr, Weight: weight}, nil
}

// cutWeight cuts "=3" off the end of s. Without it the weight is 0, the
// default. A path may contain "=": what follows the last one is a weight only
// if there is no "/" in it.
func cutWeight(s string) (addr string, weight int, err error) {
	i := strings.LastIndexByte(s, '=')
	if i < 0 || strings.Contains(s[i:], "/") {
		return s, 0, nil
	}
	weight, err = strconv.Atoi(s[i+1:])
	if err != nil || weight < 1 || weight > balancer.MaxWeight {
		return "", 0, fmt.Errorf("weight is %q, want a number from 1 to %d", s[i+1:], balancer.MaxWeight)
	}
	return s[:i], weight, nil
}

// CheckListen reports what is wrong with an address to listen on: "host:port",
// where host may be empty and port 0, or "unix:/path".
func CheckListen(addr string) error {
	if strings.Contains(addr, "://") {
		return fmt.Errorf("address %q: want host:port or unix:/path, not a URL", addr)
	}
	if err := (listener.Config{Addr: addr}).Validate(); err != nil {
		return fmt.Errorf("address %q: want host:port or unix:/path", addr)
	}
	return nil
}

// checkAddr finds what is often mistaken for "host:port", so as to say more
// about it than that.
func checkAddr(addr string) error {
	if strings.HasPrefix(addr, "unix:") {
		return nil
	}
	if strings.Contains(addr, "://") {
		return errors.New("want host:port or unix:/path, not a URL")
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return errors.New("want host:port or unix:/path")
	case host == "":
		return errors.New("there is no host before the port")
	case port == "" || port == "0":
		return errors.New("there is no port")
	}
	return nil
}

// resolveAll checks that the hosts of all backends have an address. The error
// names every one that has none. The names are kept: each connection looks up
// its own, so that a change in the DNS is followed.
func resolveAll(ctx context.Context, backends []balancer.Backend) error {
	hosts := make(map[string]bool)
	for _, b := range backends {
		if host := (&upstream.Peer{Addr: b.Addr}).Host(); host != "" {
			if _, err := netip.ParseAddr(host); err != nil {
				hosts[host] = true
			}
		}
	}
	errs := make(chan error)
	for host := range hosts {
		go func() { errs <- resolve(ctx, host) }()
	}
	var failed []error
	for range hosts {
		if err := <-errs; err != nil {
			failed = append(failed, err)
		}
	}
	slices.SortFunc(failed, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(failed...)
}

func resolve(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("backend host %q cannot be resolved: %s", host, dns.Err)
	} else if err != nil {
		return fmt.Errorf("backend host %q cannot be resolved: %w", host, err)
	}
	return nil
}
