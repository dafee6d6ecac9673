// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// TestMisdirected checks that a client that was let in without a certificate,
// by the name of a host that demands none, cannot send requests for one that
// does, in either version of HTTP; and what hooks see of its TLS.
func TestMisdirected(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	store, err := cert.New(cert.Config{Certificates: []tls.Certificate{ca.Issue(t, testcert.Spec{Names: []string{"open.example", "secret.example"}})}})
	if err != nil {
		t.Fatal(err)
	}
	cas, err := cert.NewCAs(cert.CAConfig{Files: []string{caFile(t, ca)}})
	if err != nil {
		t.Fatal(err)
	}
	origin := proxytest.NewOrigin(t, proxytest.Body("secret"))
	digests := make(chan *proxy.TLSDigest, 100)
	p, err := proxy.New(proxy.Config{}, proxy.Hooks[struct{}]{
		UpstreamPeer: func(s *proxy.Session, _ *struct{}) (*upstream.Peer, error) {
			return &upstream.Peer{Addr: origin.Addr()}, nil
		},
		Log: func(s *proxy.Session, _ *struct{}, _ error) { digests <- s.TLSDigest() },
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := listener.NewTLS(listener.TLSConfig{Certificates: store, Hosts: []listener.TLSHost{{
		Names:     []string{"secret.example"},
		TLSPolicy: listener.TLSPolicy{ClientAuth: listener.ClientAuthRequired, ClientCAs: cas},
	}}}, p)
	if err != nil {
		t.Fatal(err)
	}
	addr := proxytest.Listen(t, h)
	client := ca.Issue(t, testcert.Spec{Client: true})
	tests := []struct {
		sni, host string
		cert      bool
		want      int // 0: no connection
	}{
		{"open.example", "open.example", false, 200},
		{"open.example", "secret.example", false, 421},
		{"open.example", "Secret.Example.:443", false, 421},
		{"open.example", "secret.example", true, 421},
		{"secret.example", "secret.example", true, 200},
		{"secret.example", "open.example", true, 421},
		{"secret.example", "secret.example", false, 0},
	}
	for _, tt := range tests {
		for _, http2 := range []bool{false, true} {
			cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: tt.sni}
			if tt.cert {
				cfg.Certificates = []tls.Certificate{client}
			}
			status, err := request(addr, cfg, tt.host, http2)
			if status != tt.want || (err == nil) != (tt.want != 0) {
				t.Errorf("SNI %s, Host %s, certificate %v, HTTP/2 %v: %d, %v, want %d", tt.sni, tt.host, tt.cert, http2, status, err, tt.want)
			}
			if tt.want == 0 {
				continue
			}
			d := <-digests
			alpn := map[bool]string{false: "", true: "h2"}[http2] // the client offers nothing else
			hasCert := tt.cert && tt.sni == "secret.example"      // the other host does not ask for it
			if d == nil || d.ServerName != tt.sni || d.ALPN != alpn || d.Version != tls.VersionTLS13 || len(d.JA4) != 36 || (d.ClientCertSHA256 != "") != hasCert {
				t.Errorf("SNI %s: digest is %+v", tt.sni, d)
			}
		}
	}
	for _, req := range origin.Requests() {
		if got := req.Fields.Get("X-Forwarded-Proto"); got != "https" {
			t.Errorf("origin received X-Forwarded-Proto %q, want https", got)
		}
	}
}

// caFile writes the certificate of an authority.
func caFile(t *testing.T, ca *testcert.CA) string {
	name := t.TempDir() + "/ca.pem"
	testcert.Replace(t, name, ca.PEM())
	return name
}

// request sends a GET request over a new connection and returns the status.
func request(addr string, cfg *tls.Config, host string, http2 bool) (int, error) {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	tr := &http.Transport{TLSClientConfig: cfg, Protocols: &protocols}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(context.Background(), "GET", "https://"+addr+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Host = host
	res, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// A plain connection has no digest, and serves every host.
func TestNoTLSDigest(t *testing.T) {
	if d := proxy.DigestTLS(&net.TCPConn{}); d != nil {
		t.Errorf("digest of a plain connection is %+v", d)
	}
	p, err := proxy.New(proxy.Config{}, proxy.Hooks[struct{}]{
		RequestFilter: func(s *proxy.Session, _ *struct{}) (bool, error) {
			if s.TLSDigest() != nil || s.TLS() != nil {
				t.Error("a plain connection has a digest")
			}
			return true, s.Respond(204, "")
		},
		UpstreamPeer: func(*proxy.Session, *struct{}) (*upstream.Peer, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", proxytest.Listen(t, p))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: any.example\r\n\r\n")
	line, err := bufio.NewReader(c).ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 204") {
		t.Errorf("answer is %q, %v, want 204", line, err)
	}
	if got := strings.Join(p.ALPN(), " "); got != "h2 http/1.1" {
		t.Errorf("ALPN = %q, want h2 http/1.1", got)
	}
}
