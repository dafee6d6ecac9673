// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"testing"

	"github.com/belay-proxy/belay/upstream"
)

// A Protocol is a version of HTTP that origins and clients of the kit speak.
type Protocol string

// The protocols.
const (
	H1 Protocol = "h1" // HTTP/1.1 in clear text
)

// A Mode is a pair of protocols: what the client speaks to the proxy, and the
// proxy to the origin.
type Mode struct {
	Downstream, Upstream Protocol
}

// String returns, for example, "h1-to-h1".
func (m Mode) String() string { return string(m.Downstream) + "-to-" + string(m.Upstream) }

// Modes returns every pair of protocols that the kit speaks.
func Modes() []Mode {
	protocols := []Protocol{H1}
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

// To returns a peer that reaches o with the protocol o speaks. Each call
// returns another Peer, with default timeouts, which the caller may set before
// its first use.
func To(o *Origin) *upstream.Peer {
	return &upstream.Peer{Addr: o.Addr()}
}
