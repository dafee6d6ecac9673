// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
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

var quiet = slog.New(slog.DiscardHandler)

// write issues a certificate and writes it to dir.
func write(t *testing.T, ca *testcert.CA, dir, name string, spec testcert.Spec) cert.Pair {
	t.Helper()
	c, k := testcert.Write(t, dir, name, ca.Issue(t, spec))
	return cert.Pair{Cert: c, Key: k}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	ca, dir, now := testcert.NewCA(t, "root"), t.TempDir(), time.Now()
	good := write(t, ca, dir, "good", testcert.Spec{Names: []string{"a"}})
	other := write(t, ca, dir, "other", testcert.Spec{Names: []string{"a"}})
	expired := write(t, ca, dir, "expired", testcert.Spec{NotBefore: now.Add(-3 * time.Hour), NotAfter: now.Add(-time.Hour)})
	future := write(t, ca, dir, "future", testcert.Spec{NotBefore: now.Add(time.Hour)})
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := ca.Issue(t, testcert.Spec{NotBefore: now.Add(-3 * time.Hour), NotAfter: now.Add(-time.Hour)})
	tests := []struct {
		name string
		cfg  cert.Config
		want []string // parts of the lines of the error
	}{
		{"good", cert.Config{Pairs: []cert.Pair{good}}, nil},
		{"nothing", cert.Config{}, []string{"there are no certificates"}},
		{"missing", cert.Config{Pairs: []cert.Pair{{Cert: dir + "/none.crt", Key: good.Key}}}, []string{"none.crt: no such file"}},
		{"missing key", cert.Config{Pairs: []cert.Pair{{Cert: good.Cert, Key: dir + "/none.key"}}}, []string{"none.key: no such file"}},
		{"empty", cert.Config{Pairs: []cert.Pair{{Cert: empty, Key: good.Key}}}, []string{"empty: it has no PEM block"}},
		{"other key", cert.Config{Pairs: []cert.Pair{{Cert: good.Cert, Key: other.Key}}}, []string{"private key does not match"}},
		{"wrong order", cert.Config{Pairs: []cert.Pair{{Cert: good.Key, Key: good.Cert}}}, []string{"good.key"}},
		{"expired", cert.Config{Pairs: []cert.Pair{expired}}, []string{"expired.crt: it expired at 20"}},
		{"not yet valid", cert.Config{Pairs: []cert.Pair{future}}, []string{"future.crt: it is not valid before 20"}},
		{"all problems", cert.Config{Pairs: []cert.Pair{expired, good, future}, Certificates: []tls.Certificate{{}, old}},
			[]string{"expired.crt", "future.crt", "without certificate or key", "it expired at"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Logger = quiet
			_, err := cert.New(tt.cfg)
			if tt.want == nil {
				if err != nil {
					t.Fatalf("New: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("New succeeded")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("New: %d problems, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("problem %d is %q, want it to contain %q", i, lines[i], want)
				}
			}
		})
	}
}

// hello is what a client with the given name and the usual abilities sends.
func hello(name string, schemes ...tls.SignatureScheme) *tls.ClientHelloInfo {
	if schemes == nil {
		schemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}
	}
	return &tls.ClientHelloInfo{
		ServerName:        name,
		SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes:  schemes,
		SupportedCurves:   []tls.CurveID{tls.X25519},
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	ca, dir := testcert.NewCA(t, "root"), t.TempDir()
	pair := func(name string, isRSA bool, names ...string) cert.Pair {
		return write(t, ca, dir, name, testcert.Spec{Names: append(names, name+".id"), RSA: isRSA})
	}
	static := ca.Issue(t, testcert.Spec{Names: []string{"static.example", "static.id"}})
	static.Leaf = nil
	s, err := cert.New(cert.Config{Logger: quiet, Certificates: []tls.Certificate{static}, Pairs: []cert.Pair{
		pair("default-rsa", true, "Example.com", "www.example.com"),
		pair("default-ecdsa", false, "example.com"),
		pair("wild", false, "*.example.org"),
		pair("exact", true, "one.example.org"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	rsaOnly, ecdsaOnly := []tls.SignatureScheme{tls.PSSWithSHA256}, []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
	tests := []struct {
		name    string
		schemes []tls.SignatureScheme
		want    string
	}{
		{"example.com", nil, "default-ecdsa"},
		{"EXAMPLE.Com", nil, "default-ecdsa"},
		{"example.com", rsaOnly, "default-rsa"},
		{"example.com", ecdsaOnly, "default-ecdsa"},
		{"www.example.com", ecdsaOnly, "default-rsa"}, // the handshake will fail
		{"", nil, "default-ecdsa"},
		{"", rsaOnly, "default-rsa"},
		{"unknown.test", nil, "default-ecdsa"},
		{"unknown.test", rsaOnly, "default-rsa"},
		{"two.example.org", nil, "wild"},
		{"TWO.example.ORG", nil, "wild"},
		{"one.example.org", nil, "exact"},
		{"one.example.org", ecdsaOnly, "wild"},
		{"a.two.example.org", nil, "default-ecdsa"}, // a wildcard is one label
		{"example.org", nil, "default-ecdsa"},
		{"*.example.org", nil, "wild"},
		{"static.example", nil, "static"},
	}
	for _, tt := range tests {
		c, err := s.Get(hello(tt.name, tt.schemes...))
		if err != nil {
			t.Errorf("Get(%q): %v", tt.name, err)
			continue
		}
		names := c.Leaf.DNSNames
		if got := strings.TrimSuffix(names[len(names)-1], ".id"); got != tt.want {
			t.Errorf("Get(%q, %v) = %s, want %s", tt.name, tt.schemes, got, tt.want)
		}
	}
	if want := "[*.example.org default-ecdsa.id"; !strings.HasPrefix(s.String(), want) {
		t.Errorf("String = %s, want %s…", s, want)
	}
}

// serial returns the serial number of the certificate that s gives out.
func serial(t *testing.T, s *cert.Store) string {
	t.Helper()
	c, err := s.Get(hello(""))
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

func TestReload(t *testing.T) {
	t.Parallel()
	ca, dir := testcert.NewCA(t, "root"), t.TempDir()
	spec := testcert.Spec{Names: []string{"a"}}
	pair := write(t, ca, dir, "a", spec)
	s, err := cert.New(cert.Config{Pairs: []cert.Pair{pair}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	first := serial(t, s)

	next := ca.Issue(t, spec)
	nextCert, nextKey := testcert.PEM(t, next)
	expired := ca.Issue(t, testcert.Spec{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	expiredCert, expiredKey := testcert.PEM(t, expired)
	oldCert, oldKey, err := readPair(pair)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name      string
		cert, key []byte // nil for no file
		want      string // serial number in use after it
		err       string // part of the error, "" for none
	}{
		{"nothing new", oldCert, oldKey, first, ""},
		{"key missing", oldCert, nil, first, "no such file"},
		{"old key", nextCert, oldKey, first, "does not match"},
		{"expired", expiredCert, expiredKey, first, "expired"},
		{"cut off", nextCert[:len(nextCert)/2], nextKey, first, "failed to find"},
		{"new", nextCert, nextKey, next.Leaf.SerialNumber.String(), ""},
		{"old again", oldCert, oldKey, first, ""},
	}
	var failures, reloads int64
	for _, st := range steps {
		replaceOrRemove(t, pair.Cert, st.cert)
		replaceOrRemove(t, pair.Key, st.key)
		err := s.Reload()
		if st.err == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), st.err) {
			t.Errorf("%s: Reload = %v, want %q", st.name, err, st.err)
		}
		if got := serial(t, s); got != st.want {
			t.Errorf("%s: serial number is %s, want %s", st.name, got, st.want)
		}
		if st.err != "" {
			failures++
		}
	}
	reloads = 2
	if got := s.Stats(); got.Failures != failures || got.Reloads != reloads || got.Expires.Before(time.Now()) {
		t.Errorf("Stats = %+v, want %d failures and %d reloads", got, failures, reloads)
	}
}

func readPair(p cert.Pair) (c, k []byte, err error) {
	if c, err = os.ReadFile(p.Cert); err != nil {
		return nil, nil, err
	}
	k, err = os.ReadFile(p.Key)
	return c, k, err
}

func replaceOrRemove(t *testing.T, name string, content []byte) {
	t.Helper()
	if content != nil {
		testcert.Replace(t, name, content)
	} else if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// Run takes over changed files within a second, and complains about bad ones
// once, after it has given them a second chance.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		ca := testcert.NewCA(t, "root")
		spec := testcert.Spec{Names: []string{"a"}}
		pair := write(t, ca, dir, "a", spec)
		s, err := cert.New(cert.Config{Pairs: []cert.Pair{pair}, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		pause := func() { time.Sleep(time.Second); synctest.Wait() }
		pause()

		first := serial(t, s)
		next := ca.Issue(t, spec)
		nextCert, nextKey := testcert.PEM(t, next)
		testcert.Replace(t, pair.Cert, nextCert) // half of it
		pause()
		if got := serial(t, s); got != first || out.count("not reloaded") != 0 {
			t.Errorf("after half a change: serial number %s, want %s, and %d complaints, want 0", got, first, out.count("not reloaded"))
		}
		testcert.Replace(t, pair.Key, nextKey)
		pause()
		if got, want := serial(t, s), next.Leaf.SerialNumber.String(); got != want {
			t.Errorf("after the change: serial number %s, want %s", got, want)
		}

		testcert.Replace(t, pair.Key, []byte("nonsense"))
		for range 10 {
			pause()
		}
		if got := out.count("not reloaded"); got != 1 {
			t.Errorf("%d complaints about a bad key, want 1", got)
		}
		if err := os.Remove(pair.Key); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			pause()
		}
		if got := out.count("not reloaded"); got != 2 {
			t.Errorf("%d complaints after the key has gone, too, want 2", got)
		}
		if got := s.Stats(); got.Failures != 2 || got.Reloads != 1 {
			t.Errorf("Stats = %+v, want 2 failures and 1 reload", got)
		}
		testcert.Replace(t, pair.Key, nextKey)
		pause()
		if got := out.count("not reloaded"); got != 2 {
			t.Errorf("%d complaints when all is well again, want 2", got)
		}
		cancel()
		done.Wait()
	})
}

// A directory that is exchanged by a symbolic link, as Kubernetes does.
func TestRunSymlink(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := testcert.NewCA(t, "root")
		spec := testcert.Spec{Names: []string{"a"}}
		for _, version := range []string{"v1", "v2"} {
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, ca, filepath.Join(dir, version), "a", spec)
		}
		link := func(version string) {
			if err := os.Symlink(version, dir+"/new"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir+"/new", dir+"/current"); err != nil {
				t.Fatal(err)
			}
		}
		link("v1")
		s, err := cert.New(cert.Config{Logger: quiet, PollInterval: time.Minute,
			Pairs: []cert.Pair{{Cert: dir + "/current/a.crt", Key: dir + "/current/a.key"}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = s.Run(ctx) })
		first := serial(t, s)
		link("v2")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := serial(t, s); got == first {
			t.Errorf("serial number is %s still", got)
		}
		cancel()
		done.Wait()
	})
}

func TestRunNever(t *testing.T) {
	c, err := cert.SelfSigned("a")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := cert.New(cert.Config{Certificates: []tls.Certificate{c}, PollInterval: -1, Logger: quiet, WarnBefore: -1})
		if err == nil {
			t.Fatalf("New took a certificate of the future: %v", s)
		}
		now, err := cert.SelfSigned("a")
		if err != nil {
			t.Fatal(err)
		}
		s, err = cert.New(cert.Config{Certificates: []tls.Certificate{now}, PollInterval: -1, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// The end of a certificate is announced once.
func TestWarnBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		ca := testcert.NewCA(t, "root")
		c := ca.Issue(t, testcert.Spec{Names: []string{"a"}, NotAfter: time.Now().Add(10 * 24 * time.Hour)})
		s, err := cert.New(cert.Config{Certificates: []tls.Certificate{c}, PollInterval: time.Hour, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*24*time.Hour)
		defer cancel()
		if got := out.count("expires soon"); got != 0 {
			t.Errorf("%d warnings ten days before, want 0", got)
		}
		_ = s.Run(ctx)
		if got := out.count("expires soon"); got != 1 {
			t.Errorf("%d warnings in the last week, want 1", got)
		}
	})
}

func TestSelfSigned(t *testing.T) {
	t.Parallel()
	c, err := cert.SelfSigned("localhost", "*.test", "127.0.0.1", "::1")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	for _, name := range []string{"localhost", "a.test", "127.0.0.1", "[::1]"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("Verify(%s): %v", name, err)
		}
	}
	if _, err := cert.SelfSigned(); err == nil {
		t.Error("SelfSigned without a name succeeded")
	}
}

func BenchmarkGet(b *testing.B) {
	c, err := cert.SelfSigned("example.com")
	if err != nil {
		b.Fatal(err)
	}
	s, err := cert.New(cert.Config{Certificates: []tls.Certificate{c}, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	h := hello("example.com")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Get(h)
	}
}
