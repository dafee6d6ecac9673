// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package pki gives the tests of this module what TLS on both sides of a proxy
// takes: one certificate for all servers, roots that trust it, and a proxy
// behind it.
package pki

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/listener"
)

var (
	once  sync.Once
	leaf  tls.Certificate
	roots *x509.CertPool
)

// issue makes the certificate, once in a process.
func issue(t testing.TB) {
	t.Helper()
	once.Do(func() {
		ca := testcert.NewCA(t, "root")
		leaf = ca.Issue(t, testcert.Spec{Names: []string{"origin.test", "localhost", "127.0.0.1"}})
		roots = ca.Pool()
	})
}

// Server returns the certificate of all servers: for 127.0.0.1, localhost and
// origin.test.
func Server(t testing.TB) tls.Certificate {
	t.Helper()
	issue(t)
	return leaf
}

// Roots returns the authorities that vouch for Server. The pool is shared: a
// peer that has it is the same peer for every test.
func Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	issue(t)
	return roots
}

// Secure puts h behind TLS with the defaults of the listener.
func Secure(t testing.TB, h listener.Handler) *listener.TLS {
	t.Helper()
	discard := slog.New(slog.DiscardHandler)
	store, err := cert.New(cert.Config{Certificates: []tls.Certificate{Server(t)}, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	secure, err := listener.NewTLS(listener.TLSConfig{Certificates: store, Logger: discard}, h)
	if err != nil {
		t.Fatal(err)
	}
	return secure
}
