// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"testing"

	"github.com/belay-proxy/belay/upstream"
)

// A Protocol is a version of HTTP on one side of a proxy. The origins and
// clients of the kit speak [H1]; tests bring others for [H2].
type Protocol string

// The protocols.
const (
	H1 Protocol = "h1" // HTTP/1.1 in clear text
	H2 Protocol = "h2" // HTTP/2 in clear text, with prior knowledge
)

// A Mode is a pair of protocols: what the client speaks to the proxy, and the
// proxy to the origin.
type Mode struct {
	Downstream, Upstream Protocol
}

// String returns, for example, "h1-to-h1".
func (m Mode) String() string { return string(m.Downstream) + "-to-" + string(m.Upstream) }

// Modes returns every pair of protocols that the origins and clients of the
// kit speak.
func Modes() []Mode { return pairs(H1) }

// AllModes returns every pair of protocols that a proxy can have on its two
// sides.
func AllModes() []Mode { return pairs(H1, H2) }

func pairs(protocols ...Protocol) []Mode {
	var modes []Mode
	for _, down := range protocols {
		for _, up := range protocols {
			modes = append(modes, Mode{down, up})
		}
	}
	return modes
}

// Run runs test once per mode, each as a subtest named for it.
//
//	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
//		origin := proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Trailer("Checksum", "1f"))
//		p := newProxy(t, proxytest.To(origin))
//		client := proxytest.NewClient(t, proxytest.Listen(t, p), proxytest.As(m.Downstream))
//		res := client.Get("/file", "TE", "trailers")
//		…
//	})
func Run(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	for _, m := range Modes() {
		t.Run(m.String(), func(t *testing.T) { test(t, m) })
	}
}

// RunAll runs test once for each of [AllModes], as a subtest named for it. The
// test brings its own clients and origins for [H2], and [PeerAt] for the way to
// them.
func RunAll(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	for _, m := range AllModes() {
		t.Run(m.String(), func(t *testing.T) { test(t, m) })
	}
}

// PeerAt returns a peer at addr that speaks p.
func PeerAt(addr string, p Protocol) *upstream.Peer {
	peer := &upstream.Peer{Addr: addr}
	if p == H2 {
		peer.ALPN = upstream.ALPNH2
	}
	return peer
}

// To returns a peer that reaches o with the protocol o speaks. Each call
// returns another Peer, with default timeouts, which the caller may set before
// its first use.
func To(o *Origin) *upstream.Peer {
	return &upstream.Peer{Addr: o.Addr()}
}
