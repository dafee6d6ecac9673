// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"

	"github.com/belay-proxy/belay/cert"
)

func ExampleNew() {
	c, err := cert.SelfSigned("example.com", "*.example.org")
	if err != nil {
		log.Fatal(err)
	}
	// Usually: cert.Config{Pairs: []cert.Pair{{Cert: "example.com.crt", Key: "example.com.key"}}}
	store, err := cert.New(cert.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store)
	// Output: [*.example.org example.com]
}

func ExampleNewCAs() {
	c, err := cert.SelfSigned("staff")
	if err != nil {
		log.Fatal(err)
	}
	// Usually: cert.CAConfig{Files: []string{"clients-ca.pem"}}
	cas, err := cert.NewCAs(cert.CAConfig{Certificates: []*x509.Certificate{c.Leaf}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Leaf.Verify(x509.VerifyOptions{Roots: cas.Current().Pool})
	fmt.Println(err)
	// Output: <nil>
}
