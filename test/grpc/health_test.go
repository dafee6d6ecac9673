// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/proxytest"
)

// GRPCChecker understands grpc-go's health service, directly and through the
// proxy.
func TestHealth(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := grpchealth.NewServer()
	direct := serveGRPC(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, server) })
	server.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
	server.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	tests := []struct{ service, want string }{
		{"", ""},
		{"up", ""},
		{"down", "server is NOT_SERVING"},
		{"none", "gRPC status NOT_FOUND"},
	}
	for _, addr := range []string{direct, serveProxy(t, direct)} {
		for _, tt := range tests {
			checkHealth(t, health.GRPCChecker{Service: tt.service}, addr, tt.want)
		}
	}
	server.Shutdown()
	checkHealth(t, health.GRPCChecker{}, direct, "server is NOT_SERVING")
	bare := serveGRPC(t, func(*grpc.Server) {})
	checkHealth(t, health.GRPCChecker{}, bare, "gRPC status UNIMPLEMENTED")
}

// checkHealth checks the error of a check: that it contains want, or that
// there is none if want is empty.
func checkHealth(t *testing.T, c health.GRPCChecker, addr, want string) {
	t.Helper()
	err := c.Check(patient(t), addr)
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("service %q: Check = %v, want %q", c.Service, err, want)
	}
}

// A server that does not answer in time is unhealthy, and learns that nobody
// waits any more.
func TestHealthTimeout(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := &hangingHealth{ended: make(chan struct{})}
	addr := serveGRPC(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, server) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server.asked = cancel
	if err := (&health.GRPCChecker{}).Check(ctx, addr); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("Check = %v, want context canceled", err)
	}
	receive(t, "end at the server", server.ended)
}

// hangingHealth never answers.
type hangingHealth struct {
	healthpb.UnimplementedHealthServer
	asked func()
	ended chan struct{}
}

func (h *hangingHealth) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	h.asked()
	<-ctx.Done()
	close(h.ended)
	return nil, ctx.Err()
}
