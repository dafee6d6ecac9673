// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/proxytest"
)

// However handshakes end, nothing of them is left.
func TestTLSLeaks(t *testing.T) {
	proxytest.CheckLeaks(t)
	ca := testcert.NewCA(t, "root")
	h, _ := newTLS(t, TLSConfig{
		Certificates:     newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}})),
		TLSPolicy:        TLSPolicy{ClientAuth: ClientAuthRequired, ClientCAs: newCAs(t, ca)},
		HandshakeTimeout: 200 * time.Millisecond,
	})
	addr := serveTLS(t, h)
	good := ca.Issue(t, testcert.Spec{Client: true})
	for range 20 {
		for _, send := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\x16\x03\x01\x40\x01"} {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, send); err != nil {
				t.Fatal(err)
			}
		}
		for _, certs := range [][]tls.Certificate{nil, {good}} {
			_, _, err := talk(addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "a", Certificates: certs}, "hi")
			if (err == nil) != (certs != nil) {
				t.Errorf("with %d certificates: %v", len(certs), err)
			}
		}
	}
}
