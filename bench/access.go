// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// An access is how clients reach a proxy. The zero access is HTTP/1.1 over
// plain TCP.
type access struct {
	TLS bool `json:"tls"`
	H2  bool `json:"h2"` // with TLS chosen by ALPN, without it by prior knowledge

	Resume bool `json:"resume"` // TLS handshakes resume a session

	source   netip.Addr             // to connect from; the zero address means any
	sessions tls.ClientSessionCache // to resume from
}

// scheme returns the scheme of URLs.
func (a access) scheme() string {
	if a.TLS {
		return "https"
	}
	return "http"
}

// alpn returns what clients and proxies offer.
func (a access) alpn() []string {
	if a.H2 {
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}

// clientTLS is how our clients do TLS: 1.3 with X25519 and AES-128-GCM, and
// no resumption but from a.sessions. They do not ask who signed the certificate, but check
// that the proxy has its key.
func (a access) clientTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{tls.X25519},
		NextProtos:             a.alpn(),
		ServerName:             hostSent,
		InsecureSkipVerify:     true, // the certificate is made anew for each run and lives on this machine
		SessionTicketsDisabled: a.sessions == nil,
		ClientSessionCache:     a.sessions,
	}
}

// checkTLS returns an error unless a connection does the same work as those
// to other proxies.
func (a access) checkTLS(state tls.ConnectionState) error {
	switch {
	case state.Version != tls.VersionTLS13:
		return fmt.Errorf("TLS version is %s, want 1.3", tls.VersionName(state.Version))
	case state.CipherSuite != tls.TLS_AES_128_GCM_SHA256:
		return fmt.Errorf("cipher suite is %s, want TLS_AES_128_GCM_SHA256", tls.CipherSuiteName(state.CipherSuite))
	case state.CurveID != tls.X25519:
		return fmt.Errorf("key exchange is %v, want X25519", state.CurveID)
	case state.DidResume:
		return errors.New("TLS session was resumed")
	case a.H2 && state.NegotiatedProtocol != "h2":
		return fmt.Errorf("ALPN chose %q, want h2", state.NegotiatedProtocol)
	}
	key, ok := state.PeerCertificates[0].PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return errors.New("the certificate's key is not of ECDSA P-256")
	}
	return nil
}

// dial connects, with TLS if a says so.
func (a access) dial(addr string) (*client, error) {
	dialer := net.Dialer{Timeout: patience}
	if a.source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.source, 0))
	}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, tcp: conn.(*net.TCPConn)}
	if !a.TLS {
		return c, nil
	}
	secure := tls.Client(conn, a.clientTLS())
	c.Conn = secure
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := secure.Handshake(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return c, conn.SetDeadline(time.Time{})
}

// A client is a connection to a proxy.
type client struct {
	net.Conn // tcp, or TLS on it
	tcp      *net.TCPConn
}

// reset closes the connection so that its local port does not stay in
// TIME_WAIT.
func (c *client) reset() {
	_ = c.tcp.SetLinger(0)
	_ = c.tcp.Close()
}

// converse is readEach for a client: without TLS by the cheaper way.
func (c *client) converse(start func() error, space func() []byte, take func(n int) (done bool, err error)) error {
	if c.Conn == net.Conn(c.tcp) {
		return readEach(c.tcp, start, space, take)
	}
	if err := start(); err != nil {
		return err
	}
	for {
		n, err := c.Read(space())
		if err != nil {
			return err
		}
		if done, err := take(n); done || err != nil {
			return err
		}
	}
}

// certificates are the files of one self-signed ECDSA P-256 certificate.
type certificates struct {
	cert, key string
	both      string // cert and key in one file
}

// newCertificates writes a certificate for hostSent, valid for a day, into dir.
func newCertificates(dir string) (c certificates, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: hostSent},
		DNSNames:     []string{hostSent},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return c, fmt.Errorf("make certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	c = certificates{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "both.pem")}
	return c, errors.Join(
		os.WriteFile(c.cert, certPEM, 0o600),
		os.WriteFile(c.key, keyPEM, 0o600),
		os.WriteFile(c.both, slices.Concat(certPEM, keyPEM), 0o600))
}

// exchanger returns a function that does an exchange with the echo of an
// origin, always on the same connection, and one that closes it.
func (a access) exchanger(addr string) (exchange func() (*http.Response, error), done func(), err error) {
	if a.H2 {
		exchange, done = a.h2Exchanger(addr)
		return exchange, done, nil
	}
	conn, err := a.dial(addr)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(conn)
	exchange = func() (*http.Response, error) {
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return nil, err
		}
		if secure, ok := conn.Conn.(*tls.Conn); ok {
			if err := a.checkTLS(secure.ConnectionState()); err != nil {
				return nil, err
			}
		}
		if _, err := conn.Write(buildRequest(echoTarget, "keep-alive", 0)); err != nil {
			return nil, err
		}
		return http.ReadResponse(in, nil)
	}
	return exchange, func() { _ = conn.Close() }, nil
}

// httpClient returns a client of package net/http for a, and a function that
// closes its connections.
func (a access) httpClient() (c *http.Client, done func()) {
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: a.clientTLS(), DisableCompression: true}
	transport.Protocols.SetHTTP1(!a.H2)
	transport.Protocols.SetHTTP2(a.H2 && a.TLS)
	transport.Protocols.SetUnencryptedHTTP2(a.H2 && !a.TLS)
	return &http.Client{Transport: transport, Timeout: patience}, transport.CloseIdleConnections
}

func (a access) h2Exchanger(addr string) (exchange func() (*http.Response, error), done func()) {
	c, done := a.httpClient()
	exchange = func() (*http.Response, error) {
		req, err := http.NewRequest("GET", a.scheme()+"://"+addr+echoTarget, nil)
		if err != nil {
			return nil, err
		}
		req.Host, req.Header = hostSent, echoFields()
		res, err := c.Do(req)
		if err != nil {
			return nil, err
		}
		if res.TLS != nil {
			err = a.checkTLS(*res.TLS)
		}
		if res.ProtoMajor != 2 {
			err = fmt.Errorf("response is of %s, want HTTP/2", res.Proto)
		}
		if err != nil {
			return nil, errors.Join(err, res.Body.Close())
		}
		return res, nil
	}
	return exchange, done
}
