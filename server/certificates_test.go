// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// A reload takes over a certificate, without a configuration file, too.
func TestCertificates(t *testing.T) {
	dir, ca := t.TempDir(), testcert.NewCA(t, "root")
	spec := testcert.Spec{Names: []string{"example.com"}}
	certFile, keyFile := testcert.Write(t, dir, "a", ca.Issue(t, spec))
	signals := make(chan os.Signal, 1)
	s := newServer(t, Config{Signals: signals, Logger: testLogger(t)})
	store, err := s.Certificates("certificates", cert.Config{Pairs: []cert.Pair{{Cert: certFile, Key: keyFile}}, PollInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		c, _ := store.Get(&tls.ClientHelloInfo{ServerName: "example.com"})
		return c.Leaf.SerialNumber.String()
	}
	s.Listen("echo", newEcho(), local)
	r := start(t, s, signals)
	r.waitReady(t)
	before := serial()
	next := ca.Issue(t, spec)
	testcert.Write(t, dir, "a", next)
	if got := serial(); got != before {
		t.Errorf("serial number is %s before the reload, want %s", got, before)
	}
	signals <- syscall.SIGHUP
	eventually(t, "the new certificate is in use", func() bool { return serial() == next.Leaf.SerialNumber.String() })
	signals <- syscall.SIGTERM
	r.wait(t, "")
}

func TestCertificatesErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{Logger: testLogger(t)})
	missing := filepath.Join(t.TempDir(), "none.crt")
	_, err := s.Certificates("certificates", cert.Config{Pairs: []cert.Pair{{Cert: missing, Key: missing}}})
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("Certificates = %v, want an error that names %s", err, missing)
	}
}

// SIGUSR1 reaches all who write to files, whether one of them fails or not.
func TestOnReopen(t *testing.T) {
	signals := make(chan os.Signal, 1)
	s := newServer(t, Config{Signals: signals, Logger: testLogger(t)})
	var calls atomic.Int32
	s.OnReopen("first", func() error { calls.Add(1); return errors.New("no") })
	s.OnReopen("second", func() error { calls.Add(1); return nil })
	s.Listen("echo", newEcho(), local)
	r := start(t, s, signals)
	r.waitReady(t)
	signals <- syscall.SIGUSR1
	eventually(t, "both are called", func() bool { return calls.Load() == 2 })
	signals <- syscall.SIGTERM
	r.wait(t, "")
}
