// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/proxyerr"
)

// The protocols of ALPN (RFC 9113 section 3.1, RFC 7301 section 6).
const (
	protoH2    = "h2"
	protoHTTP1 = "http/1.1"
)

// protocols returns what to offer to p by ALPN, the preferred one first.
func (p *Peer) protocols() []string {
	switch p.ALPN {
	case ALPNH2HTTP1:
		return []string{protoH2, protoHTTP1}
	case ALPNH2:
		return []string{protoH2}
	}
	return []string{protoHTTP1}
}

// serverName returns the name that p's certificate must have.
func (p *Peer) serverName() string { return cmp.Or(p.ServerName, p.Host()) }

// tlsKey is everything that makes a handshake with one peer different from one
// with another. Sessions are resumed only within it, so never under another
// set of roots or with another certificate of ours.
type tlsKey struct {
	addr       string
	serverName string
	altName    string
	insecure   bool
	rootCAs    *x509.CertPool
	clientCert *tls.Certificate
	offer      string
}

// tlsClients keeps what is worth remembering of handshakes with peers.
type tlsClients struct {
	mu    sync.RWMutex
	byKey map[tlsKey]*tlsClient // guarded by mu
}

// maxTLSClients bounds tlsClients: a program may make a Peer for each request.
// What is forgotten costs a full handshake.
const maxTLSClients = 4096

// tlsClient is what we know of the TLS of one peer.
type tlsClient struct {
	config  *tls.Config
	session atomic.Pointer[tls.ClientSessionState]
}

// client returns the tlsClient for a handshake with p.
func (t *tlsClients) client(cfg *Config, p *Peer, offer []string) *tlsClient {
	key := tlsKey{
		addr: p.Addr, serverName: p.ServerName, altName: p.AlternativeName, insecure: p.InsecureSkipVerify,
		rootCAs: p.RootCAs, clientCert: p.ClientCert, offer: strings.Join(offer, ","),
	}
	t.mu.RLock()
	tc := t.byKey[key]
	t.mu.RUnlock()
	if tc != nil {
		return tc
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if tc := t.byKey[key]; tc != nil {
		return tc
	}
	if t.byKey == nil {
		t.byKey = make(map[tlsKey]*tlsClient)
	}
	for k := range t.byKey { // any will do
		if len(t.byKey) < maxTLSClients {
			break
		}
		delete(t.byKey, k)
	}
	tc = newTLSClient(cfg, p, offer)
	t.byKey[key] = tc
	return tc
}

func newTLSClient(cfg *Config, p *Peer, offer []string) *tlsClient {
	tc := new(tlsClient)
	c := &tls.Config{
		ServerName:         p.serverName(),
		RootCAs:            cmp.Or(p.RootCAs, cfg.RootCAs),
		NextProtos:         offer,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: p.InsecureSkipVerify,
		ClientSessionCache: tc,
		KeyLogWriter:       cfg.KeyLog,
	}
	if own := p.ClientCert; own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	if names := certNames(c.ServerName, p.AlternativeName); len(names) > 1 && !p.InsecureSkipVerify {
		// crypto/tls knows only one name, so the whole verification is ours.
		// Unlike VerifyPeerCertificate this runs for resumed sessions, too.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(cs tls.ConnectionState) error { return verify(cs, c.RootCAs, names) }
	}
	tc.config = c
	return tc
}

// TLSConfig returns how the Connector shakes hands with p, for a health check
// that is to do it as requests do. Sessions are not resumed with it. The caller
// owns it.
func (c *Connector) TLSConfig(p *Peer) *tls.Config {
	config := newTLSClient(&c.cfg, p, p.protocols()).config
	config.ClientSessionCache = nil
	return config
}

// Get implements tls.ClientSessionCache. There is one peer, so one session.
func (t *tlsClient) Get(string) (*tls.ClientSessionState, bool) {
	s := t.session.Load()
	return s, s != nil
}

// Put implements tls.ClientSessionCache.
func (t *tlsClient) Put(_ string, s *tls.ClientSessionState) { t.session.Store(s) }

// certNames returns the names that a certificate may have, one of which it
// must: each of those given and not empty, and its form without underscores.
func certNames(given ...string) []string {
	var names []string
	for _, name := range given {
		for _, n := range []string{name, withoutUnderscore(name)} {
			if n != "" && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// withoutUnderscore returns name with hyphens for the underscores of its first
// label, if at least two labels follow: "my_app.example.com" cannot be in a
// public certificate, but "my-app.example.com" or "*.example.com" can. Otherwise
// it returns "".
func withoutUnderscore(name string) string {
	label, rest, _ := strings.Cut(name, ".")
	if !strings.Contains(label, "_") || !strings.Contains(rest, ".") {
		return ""
	}
	return strings.ReplaceAll(label, "_", "-") + "." + rest
}

// verify checks the certificate of a connection: whether roots vouch for it,
// and whether it has one of names.
func verify(cs tls.ConnectionState, roots *x509.CertPool, names []string) error {
	if len(cs.PeerCertificates) == 0 {
		return &tls.CertificateVerificationError{Err: errors.New("no certificate")}
	}
	leaf := cs.PeerCertificates[0]
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	if err == nil {
		for _, name := range names {
			if err = leaf.VerifyHostname(name); err == nil {
				return nil
			}
		}
		err = fmt.Errorf("none of %q: %w", names, err)
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
}

// dialTLS connects to p, shakes hands, and offers the protocols of p.ALPN. It
// returns the one that is to be spoken, "h2" or "http/1.1". A peer that does
// not know ALPN speaks HTTP/1.1. Its error is a *proxyerr.Error.
func (c *Connector) dialTLS(ctx context.Context, p *Peer) (*tls.Conn, string, error) {
	return c.dialOffer(ctx, p, p.protocols())
}

// dialOffer is dialTLS with other protocols.
func (c *Connector) dialOffer(ctx context.Context, p *Peer, offer []string) (*tls.Conn, string, error) {
	ctx, cancel := withLimit(ctx, p.TotalConnectTimeout)
	defer cancel()
	nc, err := c.dialTransport(ctx, p)
	if err != nil {
		return nil, "", err
	}
	client := c.tls.client(&c.cfg, p, offer)
	tc := tls.Client(newTLSLower(nc), client.config)
	ctx, cancel = withLimit(ctx, cmp.Or(p.ConnectTimeout, c.cfg.ConnectTimeout))
	defer cancel()
	err = tc.HandshakeContext(ctx)
	proto := cmp.Or(tc.ConnectionState().NegotiatedProtocol, protoHTTP1)
	switch {
	case err == nil && !slices.Contains(offer, proto):
		err = fmt.Errorf("the peer does not speak %s", offer[0])
	case err != nil && strings.HasSuffix(err.Error(), noProtocol):
		err = fmt.Errorf("the peer does not speak %s: %w", strings.Join(offer, " or "), err)
	}
	if err != nil {
		nc.Close()
		return nil, "", tlsError(ctx, p, err)
	}
	return tc, proto, nil
}

// noProtocol is what crypto/tls makes of the alert by which a peer refuses all
// protocols that were offered (RFC 7301 section 3.2). It has no type for it.
const noProtocol = "tls: no application protocol"

// tlsError classifies the failure of a handshake. Nothing has been sent, so
// another attempt may follow: other peers may do better.
func tlsError(ctx context.Context, p *Peer, err error) error {
	e := &proxyerr.Error{Source: proxyerr.Upstream, Addr: p.Addr, Op: "TLS handshake", Kind: proxyerr.TLSHandshake,
		Retry: proxyerr.RetryAlways, Err: err}
	var invalid *tls.CertificateVerificationError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Kind, e.Retry = proxyerr.Canceled, proxyerr.RetryNever
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.Kind = proxyerr.TLSTimeout
	case errors.As(err, &invalid):
		e.Kind = proxyerr.InvalidCert
	}
	return e
}

// withLimit is context.WithTimeout for which zero and negative mean no limit.
func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// TLS returns the state of the connection's TLS, or nil if it has none.
func (c *Conn) TLS() *tls.ConnectionState {
	tc, ok := c.NetConn().(*tls.Conn)
	if !ok {
		return nil
	}
	cs := tc.ConnectionState()
	return &cs
}

var _ net.Conn = (*tlsLower)(nil)
