// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package modes has the pairs of protocols that a proxy can have on its two
// sides, HTTP/1.1 and HTTP/2, each with and without TLS, and what it takes to
// speak them. Servers have the certificate of package pki.
//
//	modes.Each(t, func(t *testing.T, m modes.Mode) {
//		addr := m.Down.Listen(t, newProxy(m.Up.PeerAt(t, origin)))
//		nc := m.Down.Dial(t, addr)
//		…
//	})
package modes

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/test/internal/pki"
	"github.com/belay-proxy/belay/upstream"
)

// A Protocol is what is spoken on one side of a proxy.
type Protocol struct {
	H2, TLS bool
}

// String returns h1, h2c, h1s or h2: the s is for TLS, without which HTTP/2
// is called h2c.
func (p Protocol) String() string {
	switch {
	case p.H2 && p.TLS:
		return "h2"
	case p.H2:
		return "h2c"
	case p.TLS:
		return "h1s"
	}
	return "h1"
}

// A Mode is a pair of protocols: what the client speaks to the proxy, and the
// proxy to the origin.
type Mode struct {
	Down, Up Protocol
}

// String returns, for example, h1s-to-h2c.
func (m Mode) String() string { return m.Down.String() + "-to-" + m.Up.String() }

// Each runs test once for each of the 16 modes, as a subtest named for it.
// With -short it takes those of Few.
func Each(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	for _, m := range all() {
		if !testing.Short() || m.Down.TLS == m.Up.TLS {
			t.Run(m.String(), func(t *testing.T) { test(t, m) })
		}
	}
}

// Few is Each for tests that take long: the 8 modes with TLS on both sides or
// on none.
func Few(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	for _, m := range all() {
		if m.Down.TLS == m.Up.TLS {
			t.Run(m.String(), func(t *testing.T) { test(t, m) })
		}
	}
}

func all() (modes []Mode) {
	protocols := []Protocol{{}, {H2: true}, {TLS: true}, {H2: true, TLS: true}}
	for _, down := range protocols {
		for _, up := range protocols {
			modes = append(modes, Mode{down, up})
		}
	}
	return modes
}

// Scheme returns the scheme of URLs.
func (p Protocol) Scheme() string {
	if p.TLS {
		return "https"
	}
	return "http"
}

// HTTP returns p as net/http has it.
func (p Protocol) HTTP() *http.Protocols {
	var ps http.Protocols
	ps.SetHTTP1(!p.H2)
	ps.SetHTTP2(p.H2 && p.TLS)
	ps.SetUnencryptedHTTP2(p.H2 && !p.TLS)
	return &ps
}

// alpn returns the name that TLS has for p.
func (p Protocol) alpn() string {
	if p.H2 {
		return "h2"
	}
	return "http/1.1"
}

// PeerAt returns a peer at addr that is spoken to in p.
func (p Protocol) PeerAt(t testing.TB, addr string) *upstream.Peer {
	t.Helper()
	peer := &upstream.Peer{Addr: addr}
	if p.H2 {
		peer.ALPN = upstream.ALPNH2
	}
	if p.TLS {
		peer.TLS, peer.ServerName, peer.RootCAs = true, "origin.test", pki.Roots(t)
	}
	return peer
}

// Server returns the server's side of a connection on which p is spoken.
func (p Protocol) Server(t testing.TB, nc net.Conn) net.Conn {
	if !p.TLS {
		return nc
	}
	return tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{pki.Server(t)}, NextProtos: []string{p.alpn()}})
}

// Client returns the client's side of a connection on which p is spoken.
func (p Protocol) Client(t testing.TB, nc net.Conn) net.Conn {
	if !p.TLS {
		return nc
	}
	return tls.Client(nc, &tls.Config{ServerName: "origin.test", RootCAs: pki.Roots(t), NextProtos: []string{p.alpn()}})
}

// Dial connects as a client that speaks p. The connection is closed when t
// ends.
func (p Protocol) Dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return p.Client(t, nc)
}

// Listen serves h, in p, on a free port until t ends and returns the address.
func (p Protocol) Listen(t testing.TB, h proxytest.Handler) (addr string) {
	t.Helper()
	if p.TLS {
		h = pki.Secure(t, h)
	}
	return proxytest.Listen(t, h)
}
