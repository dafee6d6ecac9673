// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/test/internal/pki"
	"github.com/belay-proxy/belay/upstream"
)

// A protocol is what is spoken on one side of the proxy.
type protocol struct {
	h2, tls bool
}

// String returns h1, h2c, h1s or h2: the s is for TLS, without which HTTP/2
// is called h2c.
func (p protocol) String() string {
	switch {
	case p.h2 && p.tls:
		return "h2"
	case p.h2:
		return "h2c"
	case p.tls:
		return "h1s"
	}
	return "h1"
}

// scheme returns the scheme of URLs.
func (p protocol) scheme() string {
	if p.tls {
		return "https"
	}
	return "http"
}

// A mode is a pair of protocols.
type mode struct {
	down, up protocol
}

func (m mode) String() string { return m.down.String() + "-to-" + m.up.String() }

// each runs test once for each mode, as a subtest named for it. With -short it
// takes those of few.
func each(t *testing.T, test func(t *testing.T, m mode)) {
	t.Helper()
	if testing.Short() {
		few(t, test)
		return
	}
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) { test(t, m) })
	}
}

// few is each for tests that take long: with TLS on both sides or on none.
func few(t *testing.T, test func(t *testing.T, m mode)) {
	t.Helper()
	for _, m := range modes() {
		if m.down.tls == m.up.tls {
			t.Run(m.String(), func(t *testing.T) { test(t, m) })
		}
	}
}

func modes() (all []mode) {
	protocols := []protocol{{}, {h2: true}, {tls: true}, {h2: true, tls: true}}
	for _, down := range protocols {
		for _, up := range protocols {
			all = append(all, mode{down, up})
		}
	}
	return all
}

// http returns p as net/http has it.
func (p protocol) http() *http.Protocols {
	var ps http.Protocols
	ps.SetHTTP1(!p.h2)
	ps.SetHTTP2(p.h2 && p.tls)
	ps.SetUnencryptedHTTP2(p.h2 && !p.tls)
	return &ps
}

// alpn returns the name that TLS has for p.
func (p protocol) alpn() string {
	if p.h2 {
		return "h2"
	}
	return "http/1.1"
}

// peerAt returns a peer at addr that is spoken to in p.
func (p protocol) peerAt(t testing.TB, addr string) *upstream.Peer {
	t.Helper()
	peer := &upstream.Peer{Addr: addr}
	if p.h2 {
		peer.ALPN = upstream.ALPNH2
	}
	if p.tls {
		peer.TLS, peer.ServerName, peer.RootCAs = true, "origin.test", pki.Roots(t)
	}
	return peer
}

// server returns the server's side of a connection on which p is spoken.
func (p protocol) server(t testing.TB, nc net.Conn) net.Conn {
	if !p.tls {
		return nc
	}
	return tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{pki.Server(t)}, NextProtos: []string{p.alpn()}})
}

// dial connects as a client that speaks p.
func (p protocol) dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	must(t, err)
	if p.tls {
		nc = tls.Client(nc, &tls.Config{ServerName: "origin.test", RootCAs: pki.Roots(t), NextProtos: []string{p.alpn()}})
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

// listen serves h on a free port in p and returns the address.
func (p protocol) listen(t testing.TB, h proxytest.Handler) (addr string) {
	t.Helper()
	if p.tls {
		h = pki.Secure(t, h)
	}
	return proxytest.Listen(t, h)
}
