// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"strings"
)

// An index finds certificates by name. Names are lower case; one that starts
// with "*." stands for exactly one label in its place (RFC 9525 section 6.3).
type index struct {
	byName   map[string][]*tls.Certificate
	fallback []*tls.Certificate // for all other names
}

func newIndex(certs []*tls.Certificate) *index {
	x := &index{byName: make(map[string][]*tls.Certificate)}
	for _, c := range certs {
		for _, name := range certNames(c) {
			if list := x.byName[name]; !slices.Contains(list, c) {
				x.byName[name] = append(list, c)
			}
		}
	}
	for _, list := range x.byName {
		slices.SortStableFunc(list, func(a, b *tls.Certificate) int { return cost(a) - cost(b) })
	}
	x.fallback = certs[:1:1]
	if names := certNames(certs[0]); len(names) > 0 {
		x.fallback = x.byName[names[0]]
	}
	return x
}

// certNames returns the names and addresses that a certificate is for.
func certNames(c *tls.Certificate) []string {
	var names []string
	for _, n := range c.Leaf.DNSNames {
		names = append(names, strings.ToLower(n))
	}
	for _, ip := range c.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// cost orders certificates by what a signature with them costs us.
func cost(c *tls.Certificate) int {
	switch c.Leaf.PublicKey.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return 0
	}
	return 1
}

// choose returns the certificate for a client.
func (x *index) choose(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.ToLower(hello.ServerName)
	if name == "" {
		name = localIP(hello.Conn)
	}
	exact := x.byName[name]
	var wild []*tls.Certificate
	if _, parent, ok := strings.Cut(name, "."); ok {
		wild = x.byName["*."+parent]
	}
	if len(exact) == 0 && len(wild) == 0 {
		exact = x.fallback
	}
	if len(exact)+len(wild) > 1 {
		// The names fit already, and those of the default need not.
		anyName := *hello
		anyName.ServerName = ""
		for _, list := range [][]*tls.Certificate{exact, wild} {
			for _, c := range list {
				if anyName.SupportsCertificate(c) == nil {
					return c
				}
			}
		}
	}
	if len(exact) > 0 {
		return exact[0]
	}
	return wild[0]
}

// localIP returns the address that a client has connected to, as a name.
// Clients that connect to an address cannot name it (RFC 6066 section 3).
func localIP(c net.Conn) string {
	if c == nil {
		return ""
	}
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return a.IP.String()
	}
	return ""
}

func (x *index) names() []string { return slices.Sorted(maps.Keys(x.byName)) }
