// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/tls"
	"testing"

	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// A connection serves the names of the policy that it was made with.
func TestServes(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	store := newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))
	cas := newCAs(t, ca)
	strict := TLSPolicy{ClientAuth: ClientAuthOptional, ClientCAs: cas}
	h, _ := newTLS(t, TLSConfig{Certificates: store, Hosts: []TLSHost{
		{Names: []string{"secret.example", "*.secret.example"}, TLSPolicy: strict},
		{Names: []string{"open.secret.example"}},
	}})
	single, _ := newTLS(t, TLSConfig{Certificates: store, TLSPolicy: strict})
	addr, singleAddr := serveTLS(t, h), serveTLS(t, single)
	tests := []struct {
		sni, host string
		want      bool
	}{
		{"public.example", "public.example", true},
		{"public.example", "other.example:8443", true},
		{"public.example", "secret.example", false},
		{"public.example", "SECRET.example", false},
		{"public.example", "secret.example.", false},
		{"public.example", "secret.example:443", false},
		{"public.example", "secret.example.:443", false},
		{"public.example", "a.secret.example", false},
		{"public.example", "a.b.secret.example", true},
		{"public.example", "open.secret.example", false}, // a policy of its own, though an equal one
		{"public.example", "[::1]:443", true},
		{"public.example", "[::1]", true},
		{"", "public.example", true},
		{"", "secret.example", false},
		{"secret.example", "secret.example", true},
		{"Secret.Example", "a.secret.example", true},
		{"secret.example", "public.example", false},
		{"open.secret.example", "a.secret.example", false},
	}
	for _, tt := range tests {
		cfg := &tls.Config{InsecureSkipVerify: true, ServerName: tt.sni}
		got, _, err := talk(addr, cfg, "serves "+tt.host)
		if err != nil || (got == "true\n") != tt.want {
			t.Errorf("connection for %q serves %q: %q, %v, want %v", tt.sni, tt.host, got, err, tt.want)
		}
		if got, _, err := talk(singleAddr, cfg, "serves "+tt.host); err != nil || got != "true\n" {
			t.Errorf("with one policy, connection for %q serves %q: %q, %v, want true", tt.sni, tt.host, got, err)
		}
	}
}
