// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"

	"github.com/belay-proxy/belay/proxyerr"
)

// ALPN returns the protocols for a TLS listener to agree on, the preferred one
// first.
func (p *Proxy) ALPN() []string { return []string{"h2", "http/1.1"} }

// ALPN is as for a Proxy.
func (s *Switch) ALPN() []string { return []string{"h2", "http/1.1"} }

// A TLSDigest has facts about the TLS of a client's connection, for logs and
// metrics.
type TLSDigest struct {
	Version     uint16 // tls.VersionTLS13, …; tls.VersionName has its name
	CipherSuite uint16 // tls.CipherSuiteName has its name
	ALPN        string // the protocol agreed on, "" if none
	ServerName  string // that the client asked for, "" if none
	Resumed     bool   // an earlier session goes on

	// ClientCertSHA256 is the digest of the client's certificate in
	// hexadecimal, or "" if it has shown none. Listeners let in only clients
	// whose certificate is valid.
	ClientCertSHA256 string

	// JA4 is the fingerprint of what the client offered, "" if the listener
	// does not know it.
	JA4 string
}

// DigestTLS returns facts about the TLS of a connection, or nil if it has none.
func DigestTLS(c net.Conn) *TLSDigest {
	tc, ok := c.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	cs := tc.ConnectionState()
	return newTLSDigest(c, &cs)
}

func newTLSDigest(c net.Conn, cs *tls.ConnectionState) *TLSDigest {
	d := &TLSDigest{
		Version:     cs.Version,
		CipherSuite: cs.CipherSuite,
		ALPN:        cs.NegotiatedProtocol,
		ServerName:  cs.ServerName,
		Resumed:     cs.DidResume,
	}
	if len(cs.PeerCertificates) > 0 {
		sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
		d.ClientCertSHA256 = hex.EncodeToString(sum[:])
	}
	if l, ok := below(c).(interface{ JA4() string }); ok {
		d.JA4 = l.JA4()
	}
	return d
}

// below returns the connection under one of TLS, or nil.
func below(c net.Conn) net.Conn {
	if tc, ok := c.(interface{ NetConn() net.Conn }); ok {
		return tc.NetConn()
	}
	return nil
}

// TLSDigest returns facts about the TLS of the client's connection, or nil if
// it has none.
func (s *Session) TLSDigest() *TLSDigest {
	c := s.x.conn
	if c.tls == nil {
		return nil
	}
	return newTLSDigest(c.nc, c.tls)
}

// serves reports whether requests for host may be answered on the connection.
// A listener with several TLS policies lets a client in by the name that it
// asks for; the name in its requests must not be one under another policy, or a
// client without certificate could reach a host that demands one.
func (c *conn) serves(host string) bool {
	if c.tls == nil {
		return true
	}
	l, ok := below(c.nc).(interface{ Serves(host string) bool })
	return !ok || l.Serves(host)
}

// errMisdirected is the answer to a request on a connection that does not serve
// its host. The client may try another one (RFC 9110 section 15.5.20).
var errMisdirected = &proxyerr.Error{Source: proxyerr.Downstream, Op: "check host", Kind: proxyerr.HTTPStatus, Status: 421,
	Err: errors.New("TLS was agreed on for a name with another policy")}
