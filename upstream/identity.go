// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"time"
)

// identity is everything that makes a connection to one peer different from
// one to another. The timeouts of an exchange and what to make of its response
// are part of it, because a connection keeps those it was dialed with. The
// time and manner of the dial itself are not: it is over.
type identity struct {
	addr              string
	group             uint64
	tls               bool
	serverName        string
	altName           string
	insecure          bool
	rootCAs           *x509.CertPool
	clientCert        *tls.Certificate
	alpn              ALPN
	bindTo            netip.AddrPort
	bindMax           uint16
	bindFallback      bool
	keepAlive         KeepAlive
	recvBuf, sendBuf  int
	dscp              int
	fastOpen          bool
	readTmo, writeTmo time.Duration
	idleTmo           time.Duration
	badLengthOK       bool
	proxy             *ConnectProxy
	owner             *Peer // set if functions, which have no equality, are
}

func (p *Peer) identity() identity {
	id := identity{
		addr: p.Addr, group: p.Group, tls: p.TLS,
		bindTo: p.BindTo, bindMax: p.BindPortMax, bindFallback: p.BindFallback, keepAlive: p.KeepAlive,
		recvBuf: p.RecvBuffer, sendBuf: p.SendBuffer, dscp: p.DSCP, fastOpen: p.FastOpen,
		readTmo: p.ReadTimeout, writeTmo: p.WriteTimeout, idleTmo: p.IdleTimeout,
		badLengthOK: p.AllowInvalidContentLength, proxy: p.Proxy,
	}
	if p.TLS {
		id.serverName, id.altName, id.insecure = p.ServerName, p.AlternativeName, p.InsecureSkipVerify
		id.rootCAs, id.clientCert, id.alpn = p.RootCAs, p.ClientCert, p.ALPN
	}
	if p.Dial != nil || p.Control != nil || p.Tracer != nil {
		id.owner = p
	}
	return id
}
