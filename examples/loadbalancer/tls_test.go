// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/app/apptest"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/proxytest"
)

// fetch sends a request with TLS and returns the protocol and the body of the
// response.
func fetch(addr string, cfg *tls.Config, http2 bool) (proto, body string, err error) {
	var p http.Protocols
	p.SetHTTP1(!http2)
	p.SetHTTP2(http2)
	t := &http.Transport{TLSClientConfig: cfg, Protocols: &p, TLSHandshakeTimeout: 20 * time.Second}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t, Timeout: 20 * time.Second}).Get("https://" + addr + "/")
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.Proto, string(b), err
}

func TestTLS(t *testing.T) {
	t.Parallel()
	o := proxytest.NewOrigin(t, proxytest.Body("hello"))
	dir, ca := t.TempDir(), testcert.NewCA(t, "root")
	spec := testcert.Spec{Names: []string{"example.com"}}
	certFile, keyFile := testcert.Write(t, dir, "example.com", ca.Issue(t, spec))
	p := apptest.Start(t, "loadbalancer", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--cert", certFile, "--key", keyFile, "--backend", o.Addr())
	addr := p.Find(`msg=listening .*service="load balancer with TLS" addr=(\S+)`)
	for _, http2 := range []bool{false, true} {
		proto, body, err := fetch(addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "example.com"}, http2)
		if err != nil || body != "hello" || (proto == "HTTP/2.0") != http2 {
			t.Errorf("response is %s %q, %v, want hello with HTTP/2: %v", proto, body, err, http2)
		}
	}
	for _, req := range o.Requests() {
		if got := req.Fields.Get("X-Forwarded-Proto"); got != "https" {
			t.Errorf("origin received X-Forwarded-Proto %q, want https", got)
		}
	}
	next := testcert.NewCA(t, "next") // the client trusts only this
	testcert.Write(t, dir, "example.com", next.Issue(t, spec))
	p.Find(`msg="certificate reloaded"`)
	if _, _, err := fetch(addr, &tls.Config{RootCAs: next.Pool(), ServerName: "example.com"}, false); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
}

func TestTLSWithoutCertificate(t *testing.T) {
	t.Parallel()
	o := proxytest.NewOrigin(t, proxytest.Body("hello"))
	p := apptest.Start(t, "loadbalancer", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--backend", o.Addr())
	addr := p.Find(`msg=listening .*service="load balancer with TLS" addr=(\S+)`)
	p.Find(`level=WARN msg="there is no certificate`)
	if _, _, err := fetch(addr, &tls.Config{RootCAs: x509.NewCertPool()}, false); err == nil {
		t.Error("a client trusts the certificate made at the start")
	}
	var served *x509.Certificate
	cfg := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error {
		served = cs.PeerCertificates[0]
		return nil
	}}
	if _, body, err := fetch(addr, cfg, true); err != nil || body != "hello" {
		t.Errorf("response is %q, %v", body, err)
	}
	for _, name := range []string{"localhost", "example.com", "127.0.0.1"} {
		if err := served.VerifyHostname(name); err != nil {
			t.Errorf("the certificate is not for %s: %v", name, err)
		}
	}
}

// The program listens as that of the quick start does: with TLS and without,
// certificate or not. Whoever names a port without TLS and has no certificate
// gets no more than that.
func TestListenDefaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		args        []string
		http, https string
	}{
		{"nothing", nil, "0.0.0.0:80", "0.0.0.0:443"},
		{"without TLS", []string{"--http", ":1"}, ":1", ""},
		{"with TLS", []string{"--https", ":2"}, "0.0.0.0:80", ":2"},
		{"both", []string{"--http", ":1", "--https", ":2"}, ":1", ":2"},
		{"certificate", []string{"--http", ":1", "--cert", "c", "--key", "k"}, ":1", "0.0.0.0:443"},
	}
	for _, tt := range tests {
		var f flags
		fs := flag.NewFlagSet("loadbalancer", flag.ContinueOnError)
		f.add(fs)
		if err := errors.Join(fs.Parse(tt.args), f.complete()); err != nil || f.http != tt.http || f.https != tt.https {
			t.Errorf("%s: listens on %q and %q, %v, want %q and %q", tt.name, f.http, f.https, err, tt.http, tt.https)
		}
	}
}

func TestTLSErrors(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), testcert.NewCA(t, "root")
	spec := testcert.Spec{Names: []string{"example.com"}}
	certFile, keyFile := testcert.Write(t, dir, "good", ca.Issue(t, spec))
	otherCert, _ := testcert.Write(t, dir, "other", ca.Issue(t, spec))
	spec.NotBefore, spec.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expiredCert, expiredKey := testcert.Write(t, dir, "expired", ca.Issue(t, spec))
	tests := []struct {
		name, cert, key, want string
	}{
		{"good", certFile, keyFile, "configuration test passed"},
		{"missing", dir + "/none.crt", keyFile, "none.crt: no such file"},
		{"not a pair", otherCert, keyFile, "private key does not match"},
		{"expired", expiredCert, expiredKey, "expired.crt: it expired at"},
		{"no key", certFile, "", "--cert and --key go together"},
	}
	for _, tt := range tests {
		for _, test := range []string{"-t", ""} {
			if tt.name == "good" && test == "" {
				continue // it would go on running
			}
			args := []string{"--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--cert", tt.cert, "--key", tt.key}
			if test != "" {
				args = append(args, test)
			}
			p, code := apptest.Run(t, "loadbalancer", args...)
			if want := map[bool]int{true: 0, false: 1}[tt.name == "good"]; code != want || !strings.Contains(p.Output(), tt.want) {
				t.Errorf("%s %s: exit code %d, output %q, want %d and %q", tt.name, test, code, p.Output(), want, tt.want)
			}
		}
	}
}
