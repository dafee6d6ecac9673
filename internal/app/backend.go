// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/health"
)

// A HealthCheck is how backends are checked.
type HealthCheck uint8

// The choices.
const (
	CheckTCP  HealthCheck = iota // a backend is up that accepts a connection
	CheckGRPC                    // one that answers SERVING by grpc.health.v1
	CheckNone                    // every backend gets requests, whether it answers or not
)

// ParseHealthCheck reads "tcp", "grpc", or a boolean: true for tcp and false
// for none.
func ParseHealthCheck(s string) (HealthCheck, error) {
	switch strings.ToLower(s) {
	case "tcp":
		return CheckTCP, nil
	case "grpc":
		return CheckGRPC, nil
	}
	on, err := strconv.ParseBool(s)
	switch {
	case err != nil:
		return CheckNone, fmt.Errorf("health check is %q, want tcp, grpc or false", s)
	case on:
		return CheckTCP, nil
	}
	return CheckNone, nil
}

// String returns, for example, "TCP health check".
func (h HealthCheck) String() string {
	return [...]string{"TCP health check", "gRPC health check", "no health check"}[h]
}

// withUpstreamTLS returns the backends of cfg with what it says about their
// TLS.
func withUpstreamTLS(cfg ProxyConfig) []balancer.Backend {
	var list []balancer.Backend
	for _, b := range cfg.Backends {
		if b.Peer != nil && b.Peer.TLS {
			peer := *b.Peer
			peer.ServerName = cfg.UpstreamServerName
			peer.InsecureSkipVerify = cfg.UpstreamInsecureSkipVerify
			b.Peer = &peer
		}
		list = append(list, b)
	}
	return list
}

// checker returns what checks the backends, nil for nothing.
func (p *Proxy) checker() health.Checker {
	switch p.cfg.HealthCheck {
	case CheckNone:
		return nil
	case CheckTCP:
		return &health.TCPChecker{}
	}
	// Backends with TLS are asked as requests would be.
	connector := p.server.ProxyConfig().Connector
	byAddr := make(map[string]*health.GRPCChecker)
	for _, b := range p.cfg.Backends {
		c := &health.GRPCChecker{Authority: p.cfg.Host}
		if b.Peer != nil && b.Peer.TLS {
			c.TLS = connector.TLSConfig(b.Peer)
		}
		byAddr[b.Addr] = c
	}
	return health.CheckerFunc(func(ctx context.Context, addr string) error { return byAddr[addr].Check(ctx, addr) })
}
