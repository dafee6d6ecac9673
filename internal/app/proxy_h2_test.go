// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"crypto/tls"
	"testing"

	"github.com/belay-proxy/belay/internal/app"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// TestProxyUpstreamH2 is TestProxyUpstreamSchemes for HTTP/2 over TLS.
func TestProxyUpstreamH2(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	h2, https := startUpstream(t, http2, upstreamTLS(t, ca)), startUpstream(t, http1, upstreamTLS(t, ca))
	checkUpstreams(t, ca, []upstreamTest{
		{"name", "h2://" + onLocalhost(h2), nil, "HTTP/2.0 localhost"},
		{"server name", "h2://" + h2, func(c *app.ProxyConfig) { c.UpstreamServerName = "other.example" }, "HTTP/2.0 other.example"},
		{"wrong server name", "h2://" + h2, func(c *app.ProxyConfig) { c.UpstreamServerName = "wrong.example" }, ""},
		{"not verified", "h2://" + h2, func(c *app.ProxyConfig) { c.UpstreamCA, c.UpstreamInsecureSkipVerify = "", true }, "HTTP/2.0 "},
		{"no HTTP/2 there", "h2://" + https, nil, ""},
	})
}

func TestProxyGRPCHealthCheckOverTLS(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	secure := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, testcert.Spec{Names: []string{"127.0.0.1"}})}}
	checkGRPCHealth(t, ca, "h2://"+startGRPC(t, secure, 1), 200)
	checkGRPCHealth(t, ca, "h2://"+startGRPC(t, secure, 2), 503)
}
