// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// certificate returns a server's TLS configuration, for 127.0.0.1 and
// example.com, and the roots that trust it.
func certificate(t *testing.T) (server *tls.Config, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}}, roots
}

// overTLS serves a proxy over TLS.
type overTLS struct {
	*proxy.Proxy
	cfg *tls.Config
}

func (h overTLS) ServeConn(c net.Conn) {
	tc := tls.Server(c, h.cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if tc.HandshakeContext(ctx) != nil {
		c.Close()
		return
	}
	h.Proxy.ServeConn(tc)
}

// The cases pass for a client that uses TLS, and over TLS to the server.
func TestInteropTLS(t *testing.T) {
	for name, tt := range map[string]struct {
		tls  bool
		alpn upstream.ALPN
	}{
		"to h2c":                   {false, upstream.ALPNH2},
		"to h2":                    {true, upstream.ALPNH2},
		"to h2, if it speaks that": {true, upstream.ALPNH2HTTP1},
	} {
		t.Run(name, func(t *testing.T) { testInteropTLS(t, tt.tls, tt.alpn) })
	}
}

func testInteropTLS(t *testing.T, toTLS bool, alpn upstream.ALPN) {
	proxytest.CheckLeaks(t)
	cfg, roots := certificate(t)
	peer := &upstream.Peer{ALPN: alpn}
	if toTLS {
		peer.TLS, peer.RootCAs = true, roots
		peer.Addr = serveInterop(t, grpc.Creds(credentials.NewTLS(cfg)))
	} else {
		peer.Addr = serveInterop(t)
	}
	p := newProxy(t, peer)
	cc := dialWith(t, proxytest.Listen(t, overTLS{p, cfg}), credentials.NewTLS(&tls.Config{RootCAs: roots}))
	for _, c := range interopCases {
		runCase(t, c, cc)
	}
}
