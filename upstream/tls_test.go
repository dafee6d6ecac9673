// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/proxyerr"
)

// listenTLS lets o serve TLS on a free port. It returns the address.
func (o *origin) listenTLS(t testing.TB, cfg *tls.Config) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go o.serve(nc)
		}
	}()
	return ln.Addr().String()
}

// serverConfig returns the configuration of a server with certificates.
func serverConfig(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: certs, NextProtos: []string{"http/1.1"}}
}

func TestTLSExchange(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			ca := testcert.NewCA(t, "root")
			cfg := serverConfig(ca.Intermediate(t, "middle").Issue(t, testcert.Spec{Names: []string{"example.com"}}))
			cfg.MaxVersion = version
			o := &origin{answer: ok}
			var keys bytes.Buffer
			c := newConnector(t, Config{RootCAs: ca.Pool(), KeyLog: &keys})
			p := &Peer{Addr: o.listenTLS(t, cfg), TLS: true, ServerName: "example.com"}
			for i := range 3 {
				conn := get(t, c, p)
				check(t, "Reused", conn.Reused(), i > 0)
				check(t, "Version", conn.TLS().Version, version)
				check(t, "ALPN", conn.TLS().NegotiatedProtocol, "http/1.1")
				check(t, "SNI", conn.TLS().ServerName, "example.com")
				conn.Release(time.Now())
			}
			check(t, "Stats", c.Stats(), Stats{Dialed: 1, Reused: 2, Idle: 1})
			if !strings.Contains(keys.String(), "CLIENT_") {
				t.Errorf("key log is %q", keys.String())
			}
		})
	}
}

func TestTLSVerification(t *testing.T) {
	ca, other := testcert.NewCA(t, "root"), testcert.NewCA(t, "other")
	now := time.Now()
	spec := func(names ...string) testcert.Spec { return testcert.Spec{Names: names} }
	tests := []struct {
		name string
		cert tls.Certificate
		peer Peer
		want string // in the error, "" for none
	}{
		{"name", ca.Issue(t, spec("example.com")), Peer{ServerName: "example.com"}, ""},
		{"wildcard", ca.Issue(t, spec("*.example.com")), Peer{ServerName: "a.example.com"}, ""},
		{"RSA", ca.Issue(t, testcert.Spec{Names: []string{"example.com"}, RSA: true}), Peer{ServerName: "example.com"}, ""},
		{"address", ca.Issue(t, spec("127.0.0.1")), Peer{}, ""},
		{"no name is the address", ca.Issue(t, spec("example.com")), Peer{}, "127.0.0.1"},
		{"wrong name", ca.Issue(t, spec("example.org")), Peer{ServerName: "example.com"}, "example.com"},
		{"alternative", ca.Issue(t, spec("example.org")), Peer{ServerName: "example.com", AlternativeName: "example.org"}, ""},
		{"first of two", ca.Issue(t, spec("example.com")), Peer{ServerName: "example.com", AlternativeName: "example.org"}, ""},
		{"neither of two", ca.Issue(t, spec("example.net")), Peer{ServerName: "example.com", AlternativeName: "example.org"}, "none of"},
		{"underscore", ca.Issue(t, spec("my-app.example.com")), Peer{ServerName: "my_app.example.com"}, ""},
		{"underscore, wildcard", ca.Issue(t, spec("*.example.com")), Peer{ServerName: "my_app.example.com"}, ""},
		{"underscore, not in a subdomain", ca.Issue(t, spec("my-app.com")), Peer{ServerName: "my_app.com"}, "my_app.com"},
		{"underscore, alternative", ca.Issue(t, spec("my-app.example.com")), Peer{ServerName: "x.org", AlternativeName: "my_app.example.com"}, ""},
		{"unknown root", other.Issue(t, spec("example.com")), Peer{ServerName: "example.com"}, "unknown authority"},
		{"unknown root, alternative", other.Issue(t, spec("example.org")), Peer{ServerName: "example.com", AlternativeName: "example.org"}, "unknown authority"},
		{"roots of the peer", other.Issue(t, spec("example.com")), Peer{ServerName: "example.com", RootCAs: other.Pool()}, ""},
		{"expired", ca.Issue(t, testcert.Spec{Names: []string{"example.com"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Hour)}),
			Peer{ServerName: "example.com"}, "expired"},
		{"expired, alternative", ca.Issue(t, testcert.Spec{Names: []string{"example.org"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Hour)}),
			Peer{ServerName: "example.com", AlternativeName: "example.org"}, "expired"},
		{"not yet valid", ca.Issue(t, testcert.Spec{Names: []string{"example.com"}, NotBefore: now.Add(time.Hour)}), Peer{ServerName: "example.com"}, "not yet valid"},
		{"certificate of a client", ca.Issue(t, testcert.Spec{Names: []string{"example.com"}, Client: true}), Peer{ServerName: "example.com"}, "incompatible key usage"},
		{"unverified", other.Issue(t, spec("example.org")), Peer{ServerName: "example.com", InsecureSkipVerify: true}, ""},
		{"unverified, alternative", other.Issue(t, spec("x.net")), Peer{ServerName: "example.com", AlternativeName: "y.net", InsecureSkipVerify: true}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newConnector(t, Config{RootCAs: ca.Pool()})
			p := &tt.peer
			p.Addr, p.TLS = (&origin{answer: ok}).listenTLS(t, serverConfig(tt.cert)), true
			checkAsRequests(t, c, p, tt.want)
			for range 2 { // the second is a resumed session, if the first succeeds
				conn, err := c.Dial(t.Context(), p, nil)
				if tt.want == "" {
					if err != nil {
						t.Fatalf("Dial: %v", err)
					}
					exchange(t, conn)
					conn.Discard()
					continue
				}
				if err == nil {
					t.Fatal("Dial succeeded")
				}
				checkTLSError(t, err, proxyerr.InvalidCert, proxyerr.RetryAlways)
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error = %v, want it to mention %q", err, tt.want)
				}
			}
		})
	}
}

// checkAsRequests makes sure that TLSConfig verifies what Dial does.
func checkAsRequests(t *testing.T, c *Connector, p *Peer, want string) {
	t.Helper()
	tc, err := tls.Dial("tcp", p.Addr, c.TLSConfig(p))
	switch {
	case err == nil && want != "":
		t.Error("with TLSConfig, the handshake succeeded")
	case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
		t.Errorf("with TLSConfig, the handshake failed with %v, want %q", err, want)
	}
	if err == nil {
		tc.Close()
	}
}

func checkTLSError(t *testing.T, err error, kind proxyerr.Kind, retry proxyerr.Retry) {
	t.Helper()
	e, ok := errors.AsType[*proxyerr.Error](err)
	if !ok {
		t.Fatalf("error = %v (%T), want a *proxyerr.Error", err, err)
	}
	if e.Source != proxyerr.Upstream || e.Kind != kind || e.Retry != retry || e.Op != "TLS handshake" {
		t.Errorf("error is %s, %s, %s, retry %d, want upstream, TLS handshake, %s, %d: %v", e.Source, e.Op, e.Kind, e.Retry, kind, retry, e)
	}
}

// A session is never resumed with other roots, another certificate of ours,
// another name, or at another address.
func TestTLSResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			ca := testcert.NewCA(t, "root")
			cfg := serverConfig(ca.Issue(t, testcert.Spec{Names: []string{"example.com", "example.org"}}))
			cfg.MaxVersion = version
			cfg.ClientAuth = tls.RequestClientCert
			o := &origin{answer: ok}
			addr := o.listenTLS(t, cfg)
			base := Peer{Addr: addr, TLS: true, ServerName: "example.com", RootCAs: ca.Pool()}
			own := ca.Issue(t, testcert.Spec{Client: true})
			both := testcert.NewCA(t, "third").Pool()
			both.AddCert(ca.Cert)
			tests := []struct {
				name   string
				change func(*Peer)
				want   bool
			}{
				{"same", func(*Peer) {}, true},
				{"other group", func(p *Peer) { p.Group = 1 }, true},
				{"other name", func(p *Peer) { p.ServerName = "example.org" }, false},
				{"other roots", func(p *Peer) { p.RootCAs = both }, false},
				{"alternative name", func(p *Peer) { p.AlternativeName = "example.net" }, false},
				{"certificate of ours", func(p *Peer) { p.ClientCert = &own }, false},
				{"unverified", func(p *Peer) { p.InsecureSkipVerify = true }, false},
				{"other address", func(p *Peer) { p.Addr = o.listenTLS(t, cfg) }, false},
			}
			for _, tt := range tests {
				c := newConnector(t, Config{})
				p := base
				tt.change(&p)
				var resumed []bool
				for _, peer := range []*Peer{&base, &p, &p} {
					conn, err := c.Dial(t.Context(), peer, nil)
					if err != nil {
						t.Fatalf("%s: Dial: %v", tt.name, err)
					}
					exchange(t, conn)
					resumed = append(resumed, conn.TLS().DidResume)
					conn.Discard()
				}
				if got, want := fmt.Sprint(resumed), fmt.Sprint([]bool{false, tt.want, true}); got != want {
					t.Errorf("%s: resumed = %v, want %v", tt.name, got, want)
				}
			}
		})
	}
}

func TestTLSClientCertificate(t *testing.T) {
	ca, other := testcert.NewCA(t, "root"), testcert.NewCA(t, "other")
	cfg := serverConfig(ca.Issue(t, testcert.Spec{Names: []string{"example.com"}}))
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	cfg.MaxVersion = tls.VersionTLS12 // with 1.3 the refusal comes after the handshake
	addr := (&origin{answer: ok}).listenTLS(t, cfg)
	good := ca.Intermediate(t, "team").Issue(t, testcert.Spec{Client: true})
	bad := other.Issue(t, testcert.Spec{Client: true})
	for name, tt := range map[string]struct {
		cert *tls.Certificate
		ok   bool
	}{"good": {&good, true}, "bad": {&bad, false}, "none": {nil, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newConnector(t, Config{RootCAs: ca.Pool()})
			conn, err := c.Dial(t.Context(), &Peer{Addr: addr, TLS: true, ServerName: "example.com", ClientCert: tt.cert}, nil)
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				exchange(t, conn)
				conn.Discard()
				return
			}
			checkTLSError(t, err, proxyerr.TLSHandshake, proxyerr.RetryAlways)
		})
	}
}

func TestALPN(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	tests := []struct {
		alpn  ALPN
		peer  []string // what the peer knows
		proto string   // "" for an error
	}{
		{ALPNHTTP1, []string{"h2", "http/1.1"}, "http/1.1"},
		{ALPNHTTP1, []string{"h2"}, "http/1.1"}, // crypto/tls leaves it open
		{ALPNHTTP1, nil, "http/1.1"},
		{ALPNH2HTTP1, []string{"h2", "http/1.1"}, "h2"},
		{ALPNH2HTTP1, []string{"http/1.1"}, "http/1.1"},
		{ALPNH2HTTP1, nil, "http/1.1"},
		{ALPNH2HTTP1, []string{"spdy/1"}, ""},
		{ALPNH2, []string{"h2", "http/1.1"}, "h2"},
		{ALPNH2, []string{"http/1.1"}, ""},
		{ALPNH2, nil, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.alpn, tt.peer), func(t *testing.T) {
			t.Parallel()
			cfg := serverConfig(ca.Issue(t, testcert.Spec{Names: []string{"127.0.0.1"}}))
			cfg.NextProtos = tt.peer
			p := &Peer{Addr: (&origin{answer: ok}).listenTLS(t, cfg), TLS: true, ALPN: tt.alpn}
			c := newConnector(t, Config{RootCAs: ca.Pool()})
			tc, proto, err := c.dialTLS(t.Context(), p)
			if err == nil {
				tc.Close()
			} else {
				checkTLSError(t, err, proxyerr.TLSHandshake, proxyerr.RetryAlways)
			}
			check(t, "protocol", proto, tt.proto)
		})
	}
}

// The TLS handshake has ConnectTimeout of its own, within TotalConnectTimeout.
func TestTLSTimeout(t *testing.T) {
	tests := []struct {
		name           string
		connect, total time.Duration
		want           time.Duration
	}{
		{"default", 0, 0, 5 * time.Second},
		{"connect", time.Second, 0, time.Second},
		{"total", time.Second, 600 * time.Millisecond, 600 * time.Millisecond},
		{"only total", -1, time.Minute, time.Minute},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			silent := func(ctx context.Context, _, _ string) (net.Conn, error) {
				time.Sleep(500 * time.Millisecond)
				near, far := net.Pipe()
				t.Cleanup(func() { far.Close() })
				return near, nil
			}
			c := newConnector(t, Config{Dial: silent})
			start := time.Now()
			_, err := c.Dial(t.Context(), &Peer{Addr: "a:1", TLS: true, ConnectTimeout: tt.connect, TotalConnectTimeout: tt.total}, nil)
			checkTLSError(t, err, proxyerr.TLSTimeout, proxyerr.RetryAlways)
			want := tt.want
			if tt.total == 0 {
				want += 500 * time.Millisecond // of the dial, which has a limit of its own
			}
			check(t, tt.name+": time", time.Since(start), want)
		})
	}
}

func TestTLSCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := newConnector(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := c.Dial(ctx, &Peer{Addr: "a:1", TLS: true}, nil)
		checkTLSError(t, err, proxyerr.Canceled, proxyerr.RetryNever)
		if _, err := near.Write(nil); err == nil {
			t.Error("the connection is still open")
		}
	})
}

func TestTLSNotSpoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() {
			far.Read(make([]byte, 16<<10)) // all of the first message
			far.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			far.Close()
		}()
		c := newConnector(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
		_, err := c.Dial(t.Context(), &Peer{Addr: "a:1", TLS: true}, nil)
		checkTLSError(t, err, proxyerr.TLSHandshake, proxyerr.RetryAlways)
	})
}

func TestWithoutUnderscore(t *testing.T) {
	tests := map[string]string{
		"":                      "",
		"localhost":             "",
		"my_host":               "",
		"my_app.com":            "",
		"app.example.com":       "",
		"my_app.example.com":    "my-app.example.com",
		"_my__app_.example.com": "-my--app-.example.com",
		"app.my_site.com":       "",
		"a_b.my_site.example":   "a-b.my_site.example",
		"10.0.0.1":              "",
	}
	for name, want := range tests {
		check(t, name, withoutUnderscore(name), want)
	}
}

// What is remembered of peers has a bound.
func TestTLSClientsBound(t *testing.T) {
	c := newConnector(t, Config{})
	for i := range maxTLSClients + 10 {
		p := &Peer{Addr: fmt.Sprintf("10.0.0.1:%d", i+1), TLS: true}
		a, b := c.tls.client(&c.cfg, p, p.protocols()), c.tls.client(&c.cfg, p, p.protocols())
		if a != b {
			t.Fatal("forgotten at once")
		}
	}
	check(t, "entries", len(c.tls.byKey), maxTLSClients)
}

func TestTLSPeerValidate(t *testing.T) {
	tests := []struct {
		peer Peer
		want string
	}{
		{Peer{Addr: "unix:/run/a.sock", TLS: true}, "ServerName is empty"},
		{Peer{Addr: "unix:/run/a.sock", TLS: true, ServerName: "a"}, ""},
		{Peer{Addr: "unix:/run/a.sock", TLS: true, InsecureSkipVerify: true}, ""},
		{Peer{Addr: "unix:/run/a.sock"}, ""},
		{Peer{Addr: "a:1", TLS: true}, ""},
		{Peer{Addr: "a:1", TLS: true, ClientCert: &tls.Certificate{}}, "ClientCert"},
	}
	for _, tt := range tests {
		err := tt.peer.Validate()
		if tt.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Validate(%+v) = %v, want %q", tt.peer, err, tt.want)
		}
	}
}

// verify must not take a chain that it has not been shown.
func TestVerifyNothing(t *testing.T) {
	err := verify(tls.ConnectionState{}, x509.NewCertPool(), []string{"a"})
	if err == nil {
		t.Error("no certificate is good enough")
	}
}
