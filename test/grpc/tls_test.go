// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"context"
	"crypto/tls"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/status"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/test/internal/pki"
	"github.com/belay-proxy/belay/upstream"
)

// A link says on which sides of the proxy TLS is spoken: through listener.TLS
// with its defaults, and by a peer that verifies the server.
type link struct {
	name     string
	down, up bool
	alpn     upstream.ALPN
}

var (
	plainLink = link{"no TLS", false, false, upstream.ALPNH2}
	tlsLinks  = []link{
		{"client", true, false, upstream.ALPNH2},
		{"server", false, true, upstream.ALPNH2},
		{"both", true, true, upstream.ALPNH2},
		{"both, by choice", true, true, upstream.ALPNH2HTTP1},
	}
)

// start serves the test service of the interoperability cases, and a proxy in
// front of it, until t ends. It returns what makes connections to the proxy.
func (l link) start(t *testing.T) (dial func() *grpc.ClientConn) {
	t.Helper()
	var opts []grpc.ServerOption
	peer := &upstream.Peer{ALPN: l.alpn}
	if l.up {
		certificate := pki.Server(t)
		opts = append(opts, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
		peer.TLS, peer.ServerName, peer.RootCAs = true, "origin.test", pki.Roots(t)
	}
	peer.Addr = serveInterop(t, opts...)
	var handler proxytest.Handler = newProxy(t, peer)
	creds := insecure.NewCredentials()
	if l.down {
		handler = pki.Secure(t, handler)
		creds = credentials.NewTLS(&tls.Config{RootCAs: pki.Roots(t)})
	}
	addr := proxytest.Listen(t, handler)
	return func() *grpc.ClientConn { return dialWith(t, addr, creds) }
}

// The cases pass with TLS on either side and on both, each on a connection of
// its own.
func TestInteropTLS(t *testing.T) {
	for _, l := range tlsLinks {
		t.Run(l.name, func(t *testing.T) {
			proxytest.CheckLeaks(t)
			dial := l.start(t)
			for _, c := range interopCases {
				t.Run(c.name, func(t *testing.T) { runCase(t, c, dial()) })
			}
		})
	}
}

// The soak cases, as long as a test may take.
func TestSoak(t *testing.T) {
	for _, l := range append(tlsLinks, plainLink) {
		t.Run(l.name, func(t *testing.T) {
			proxytest.CheckLeaks(t)
			dial := l.start(t)
			one := dial()
			runCase(t, soakCase("rpc_soak", 200, func() (*grpc.ClientConn, func()) { return one, func() {} }), one)
			runCase(t, soakCase("channel_soak", 40, func() (*grpc.ClientConn, func()) {
				cc := dial()
				return cc, func() { _ = cc.Close() }
			}), one)
		})
	}
}

// soakCase is the case of the given name with so many iterations, each of which
// takes a connection from channel. None may fail.
func soakCase(name string, iterations int, channel func() (*grpc.ClientConn, func())) interopCase {
	return interopCase{name, func(ctx context.Context, _ *grpc.ClientConn) {
		interop.DoSoakTest(ctx, interop.SoakTestConfig{
			RequestSize:                      271828,
			ResponseSize:                     314159,
			PerIterationMaxAcceptableLatency: patience,
			MinTimeBetweenRPCs:               0,
			OverallTimeout:                   patience,
			ServerAddr:                       name,
			NumWorkers:                       4,
			Iterations:                       iterations,
			MaxFailures:                      0,
			ChannelForTest:                   channel,
		})
	}}
}

// A server whose certificate is not to be trusted gets no call.
func TestUntrustedServer(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := newWaitingServer()
	certificate := pki.Server(t)
	addr := serveGRPC(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, server) },
		grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	peer := &upstream.Peer{Addr: addr, ALPN: upstream.ALPNH2, TLS: true, ServerName: "another.test", RootCAs: pki.Roots(t)}
	client := testpb.NewTestServiceClient(dial(t, proxytest.Listen(t, newProxy(t, peer))))
	_, err := client.EmptyCall(patient(t), &testpb.Empty{})
	if got := status.Code(err); got != codes.Unavailable {
		t.Errorf("the call ended with %v, want Unavailable", err)
	}
	if len(server.began) > 0 {
		t.Error("the call reached the server")
	}
}
