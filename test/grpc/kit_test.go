// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/orca"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// patience bounds every wait of these tests. Nothing takes as long.
const patience = time.Minute

type (
	none  = struct{}
	hooks = proxy.Hooks[none]
)

// serveGRPC serves on a free loopback port until t ends what register adds to
// a server, and returns the address.
func serveGRPC(t testing.TB, register func(*grpc.Server), opts ...grpc.ServerOption) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(opts...)
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("gRPC server ended with %v", err)
		}
	})
	return l.Addr().String()
}

// serveInterop serves the test service of the interoperability cases.
func serveInterop(t testing.TB, opts ...grpc.ServerOption) (addr string) {
	t.Helper()
	return serveGRPC(t, func(s *grpc.Server) {
		testpb.RegisterTestServiceServer(s, interop.NewTestServer())
	}, append(opts, orca.CallMetricsServerOption(nil))...)
}

// serveProxy serves until t ends a proxy in front of the server at addr, with
// HTTP/2 without TLS on both sides and filters before its own hooks.
func serveProxy(t testing.TB, addr string, filters ...hooks) (proxyAddr string) {
	t.Helper()
	return proxytest.Listen(t, newProxy(t, &upstream.Peer{Addr: addr, ALPN: upstream.ALPNH2}, filters...))
}

// newProxy returns a proxy that sends everything to peer.
func newProxy(t testing.TB, peer *upstream.Peer, filters ...hooks) *proxy.Proxy {
	t.Helper()
	own := hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return peer, nil }}
	p, err := proxy.New(
		proxy.Config{Downstream: proxy.Downstream{H2C: true}, Logger: slog.New(slog.DiscardHandler)},
		proxy.Chain(append(filters, own)...),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Connector().Close)
	return p
}

// dial returns a client connection without TLS that ends with t.
func dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	return dialWith(t, addr, insecure.NewCredentials())
}

func dialWith(t testing.TB, addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(creds),
		// The policy through which orca_per_rpc sees the reports.
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() }) // the test may have done so
	return cc
}

// patient returns a context that ends with t or when patience does.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
