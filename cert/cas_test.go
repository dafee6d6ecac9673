// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert_test

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// vouches reports whether the authorities of now accept a certificate.
func vouches(a *cert.CAs, c *x509.Certificate) bool {
	_, err := c.Verify(x509.VerifyOptions{Roots: a.Current().Pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

func TestCAs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		one, two, three := testcert.NewCA(t, "one"), testcert.NewCA(t, "two"), testcert.NewCA(t, "three")
		file := filepath.Join(dir, "ca.pem")
		testcert.Replace(t, file, one.PEM())
		a, err := cert.NewCAs(cert.CAConfig{Files: []string{file}, Certificates: []*x509.Certificate{three.Cert}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = a.Run(ctx) })
		client := testcert.Spec{Client: true}
		leaves := []*x509.Certificate{one.Issue(t, client).Leaf, two.Issue(t, client).Leaf, three.Issue(t, client).Leaf}
		checkAll := func(when string, want ...bool) {
			t.Helper()
			for i, leaf := range leaves {
				if got := vouches(a, leaf); got != want[i] {
					t.Errorf("%s: client %d is accepted: %v, want %v", when, i+1, got, want[i])
				}
			}
		}
		checkAll("at first", true, false, true)
		before := a.Current()
		testcert.Replace(t, file, append(one.PEM(), two.PEM()...))
		time.Sleep(time.Second)
		synctest.Wait()
		checkAll("after a change", true, true, true)
		if a.Current().ID == before.ID {
			t.Error("two sets of authorities have the same ID")
		}
		testcert.Replace(t, file, []byte("nothing\n"))
		if err := a.Reload(); err == nil || !strings.Contains(err.Error(), "no certificate") {
			t.Errorf("Reload = %v, want an error", err)
		}
		checkAll("after a bad file", true, true, true)
		testcert.Replace(t, file, two.PEM())
		if err := a.Reload(); err != nil {
			t.Errorf("Reload: %v", err)
		}
		checkAll("after Reload", false, true, true)
		testcert.Replace(t, file, one.PEM())
		if err := a.Reload(); err != nil {
			t.Errorf("Reload: %v", err)
		}
		if a.Current().ID != before.ID {
			t.Error("the same authorities have another ID")
		}
		if got := a.Stats(); got.Reloads != 3 || got.Failures != 1 {
			t.Errorf("Stats = %+v, want 3 reloads and 1 failure", got)
		}
		cancel()
		done.Wait()
	})
}

func TestNewCAsErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		files []string
		want  string
	}{
		{nil, "there are no"},
		{[]string{dir + "/none"}, "no such file"},
		{[]string{empty}, "has no certificate"},
		{[]string{broken}, "broken: x509"},
	}
	for _, tt := range tests {
		if _, err := cert.NewCAs(cert.CAConfig{Files: tt.files, Logger: quiet}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewCAs(%v) = %v, want %q", tt.files, err, tt.want)
		}
	}
}
