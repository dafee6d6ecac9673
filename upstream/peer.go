// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// A Peer says where and how one attempt connects. The zero value of every
// field but Addr is the usual choice. A Peer must not be modified once it has
// been given to a Connector: make one per backend and share it between
// requests. A copy may be changed and is a Peer of its own.
type Peer struct {
	// Addr is "host:port", with an IP address or a name that is resolved on
	// each dial, or "unix:" and the path of a Unix socket. With a Dial
	// function it is what that understands.
	Addr string

	// Group keeps connections apart: peers that differ only in Group do not
	// share idle connections.
	Group uint64

	// TLS makes the connection use TLS; the fields after it say how.
	TLS bool

	// ServerName is the name sent as SNI and the name that the certificate
	// must have. Empty means the host of Addr. It may be set on a plain
	// peer, where it has no effect.
	ServerName string

	// AlternativeName is a second name that the certificate may have.
	AlternativeName string

	// InsecureSkipVerify accepts any certificate. It is the only way to turn
	// verification off.
	InsecureSkipVerify bool

	// RootCAs verify the peer's certificate. Nil means the Connector's.
	RootCAs *x509.CertPool

	// ClientCert is presented when the peer asks for a certificate.
	ClientCert *tls.Certificate

	// ALPN chooses the protocols to offer. Without TLS only ALPNH2 matters,
	// which then is HTTP/2 by prior knowledge.
	ALPN ALPN

	// ConnectTimeout bounds the dial, name lookup and Proxy included, and
	// then again the TLS handshake. Zero means the Connector's; negative
	// means no limit.
	ConnectTimeout time.Duration

	// TotalConnectTimeout bounds the dial and the TLS handshake together.
	// Zero and negative mean no limit beyond ConnectTimeout.
	TotalConnectTimeout time.Duration

	// ReadTimeout bounds each wait for the peer to send something: the
	// response head and every further piece. Zero means the Connector's;
	// negative means no limit.
	ReadTimeout time.Duration

	// WriteTimeout bounds each wait for the peer to accept something. Zero
	// means the Connector's; negative means no limit.
	WriteTimeout time.Duration

	// IdleTimeout is how long an unused connection is kept. Zero means the
	// Connector's; negative makes a connection for each request.
	IdleTimeout time.Duration

	// BindTo is the local address to connect from. A zero port means any. An
	// invalid (zero) AddrPort means that the Connector's choice applies. Of
	// the addresses of a host name, only those of its family are tried.
	BindTo netip.AddrPort

	// BindPortMax, if not 0, makes the local port come from the range
	// BindTo.Port() to BindPortMax. It needs Linux 6.3, and the range must
	// be part of the system's (net.ipv4.ip_local_port_range).
	BindPortMax uint16

	// BindFallback lets the dial use any port if that of BindTo is taken, or
	// if none of the range can be had.
	BindFallback bool

	// KeepAlive configures TCP keep-alive probes.
	KeepAlive KeepAlive

	// RecvBuffer and SendBuffer are the sizes of the socket buffers in
	// bytes. Zero leaves them to the system, which adapts them; that is
	// better in most cases. Linux only.
	RecvBuffer, SendBuffer int

	// DSCP is the differentiated services code point, 0 to 63, of packets to
	// the peer. Linux only.
	DSCP int

	// FastOpen sends the first bytes with the SYN where the system can. A
	// peer that does not answer then shows only when its response is read.
	FastOpen bool

	// AllowInvalidContentLength treats a response with an unusable
	// Content-Length as ended by the close of the connection instead of
	// failing the attempt. For origins that cannot be mended.
	AllowInvalidContentLength bool

	// Proxy connects through an HTTP CONNECT proxy. Nil means directly.
	Proxy *ConnectProxy

	// Dial replaces the network dial, for virtual and tunnelled transports;
	// network is "tcp" or "unix". It must return once ctx ends, and sees to
	// socket options itself. Peers with a function (Dial, Control, Tracer)
	// share connections only if they are the same Peer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Control runs on the raw socket before it connects, after the options
	// above have been set, for those that have no field here.
	Control func(network, address string, c syscall.RawConn) error

	// Tracer is told of connections made and ended.
	Tracer Tracer
}

// ALPN says which HTTP versions to offer to a TLS peer.
type ALPN uint8

// The choices.
const (
	ALPNHTTP1   ALPN = iota // HTTP/1.1 only
	ALPNH2HTTP1             // prefer HTTP/2
	ALPNH2                  // HTTP/2 only
)

// KeepAlive are the times of TCP keep-alive. With the zero KeepAlive, a
// connection to a machine that has silently gone ends within 15 seconds if
// nothing is being sent on it.
type KeepAlive struct {
	// Idle is how long a connection must be silent before the first probe,
	// in whole seconds. Zero means 5 seconds; negative turns probes off.
	Idle time.Duration

	// Interval is the time between probes, in whole seconds. Zero means 5
	// seconds.
	Interval time.Duration

	// Count is how many probes without answer end the connection. Zero
	// means 2.
	Count int

	// UserTimeout is how long sent data may stay unacknowledged before the
	// connection is ended. Zero leaves it to the system. Linux only.
	UserTimeout time.Duration
}

// ConnectProxy is an HTTP proxy that tunnels to the peer (RFC 9110 section
// 9.3.6). Peers share connections only if they share the ConnectProxy. It must
// not be modified once it is in use.
type ConnectProxy struct {
	// Addr is the proxy's "host:port", or "unix:" and a path. BindTo and the
	// other options of the socket apply to the connection to the proxy.
	Addr string

	// Header is sent with the CONNECT request, name and value in turn:
	// credentials, for example. Host is there already.
	Header []string
}

// A Tracer is told of the life of upstream connections. Its methods must not
// block, and may be called from several goroutines. If one panics, that is
// logged by slog.Default.
type Tracer interface {
	// Connected is called when a connection has been made.
	Connected(p *Peer, took time.Duration)

	// Disconnected is called once for each connection made, when it is
	// closed.
	Disconnected(p *Peer)
}

// network returns the network and address to dial.
func network(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	return "tcp", addr
}

// Host returns the host of p.Addr without the port: the default for
// ServerName. It is empty for a Unix socket.
func (p *Peer) Host() string {
	if nw, _ := network(p.Addr); nw == "unix" {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return ""
	}
	return host
}

// Authority returns the value of a Host field that names p itself. A Unix
// socket has no name; by custom it is "localhost".
func (p *Peer) Authority() string {
	if p.Host() == "" {
		return "localhost"
	}
	return p.Addr
}
