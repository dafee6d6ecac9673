// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// A Peer says where and how one attempt connects. The zero value of every
// field but Addr is the usual choice. A Peer must not be modified once it has
// been given to a Connector: make one per backend and share it between
// requests.
type Peer struct {
	// Addr is "host:port", with an IP address or a name that is resolved on
	// each dial, or "unix:" and the path of a Unix socket.
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

	// ALPN chooses the protocols to offer.
	ALPN ALPN

	// ConnectTimeout bounds the dial: TCP, and TLS again. Zero means the
	// Connector's; negative means no limit.
	ConnectTimeout time.Duration

	// TotalConnectTimeout bounds the dial as a whole: name lookup, TCP and
	// TLS. Zero and negative mean no limit beyond ConnectTimeout.
	TotalConnectTimeout time.Duration

	// ReadTimeout bounds each wait for the peer to send something: the
	// response head and every further piece. Zero means the Connector's;
	// negative means no limit.
	ReadTimeout time.Duration

	// WriteTimeout bounds each wait for the peer to accept something. Zero
	// means the Connector's; negative means no limit.
	WriteTimeout time.Duration

	// IdleTimeout is how long an unused connection stays in the pool. Zero
	// means the Connector's; negative disables reuse.
	IdleTimeout time.Duration

	// BindTo is the local address to connect from. A zero port means any. An
	// invalid (zero) AddrPort means that the Connector's choice applies.
	BindTo netip.AddrPort

	// BindPortMax, if not 0, makes the local port come from the range
	// BindTo.Port() to BindPortMax (Linux 6.3 and later).
	BindPortMax uint16

	// BindFallback lets the dial use any port if the range has none left.
	BindFallback bool

	// KeepAlive configures TCP keep-alive probes. The zero value turns them
	// on with the system's times; Idle < 0 turns them off.
	KeepAlive KeepAlive

	// RecvBuffer and SendBuffer are the sizes of the socket buffers in
	// bytes. Zero means the system's.
	RecvBuffer, SendBuffer int

	// DSCP is the differentiated services code point, 0 to 63, of packets to
	// the peer.
	DSCP int

	// FastOpen sends the first bytes with the SYN where the system can.
	FastOpen bool

	// AllowInvalidContentLength treats a response with an unusable
	// Content-Length as ended by the close of the connection instead of
	// failing the attempt. For origins that cannot be mended.
	AllowInvalidContentLength bool

	// Proxy connects through an HTTP CONNECT proxy. Nil means directly.
	Proxy *ConnectProxy

	// Dial replaces the network dial, for virtual and tunnelled transports.
	// Peers with a Dial function share connections only if they are the same
	// Peer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Control runs on the raw socket before it connects, for options that
	// have no field here.
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

// KeepAlive are the times of TCP keep-alive. Zero fields mean the system's.
type KeepAlive struct {
	Idle        time.Duration // before the first probe; negative turns probes off
	Interval    time.Duration // between probes
	Count       int           // probes without answer that end the connection
	UserTimeout time.Duration // how long sent data may stay unacknowledged (Linux)
}

// ConnectProxy is an HTTP proxy that tunnels to the peer (RFC 9110 section
// 9.3.6).
type ConnectProxy struct {
	// Addr is the proxy's "host:port", or "unix:" and a path.
	Addr string
	// Header is sent with the CONNECT request, name and value in turn:
	// credentials, for example.
	Header []string
}

// A Tracer is told of the life of upstream connections. Its methods must not
// block.
type Tracer interface {
	Connected(p *Peer, took time.Duration)
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

// Validate returns every problem with p, joined, or nil.
func (p *Peer) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("upstream: "+format, args...)) }
	switch nw, addr := network(p.Addr); nw {
	case "unix":
		if addr == "" {
			bad("Peer.Addr %q has no path", p.Addr)
		}
	default:
		if _, port, err := net.SplitHostPort(addr); err != nil {
			bad("Peer.Addr %q: want host:port or unix:/path", p.Addr)
		} else if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
			bad("Peer.Addr %q: invalid port", p.Addr)
		}
	}
	if p.DSCP < 0 || p.DSCP > 63 {
		bad("Peer.DSCP is %d, want 0 to 63", p.DSCP)
	}
	if p.RecvBuffer < 0 || p.SendBuffer < 0 {
		bad("Peer.RecvBuffer and SendBuffer are %d and %d, want at least 0", p.RecvBuffer, p.SendBuffer)
	}
	if p.BindPortMax != 0 && p.BindPortMax < p.BindTo.Port() {
		bad("Peer.BindPortMax is %d, less than the port of BindTo %v", p.BindPortMax, p.BindTo)
	}
	if p.Proxy != nil && len(p.Proxy.Header)%2 != 0 {
		bad("Peer.Proxy.Header has a name without a value")
	}
	return errors.Join(errs...)
}
