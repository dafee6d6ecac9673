// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/proxyerr"
)

// dial connects to p, for HTTP/1.1 if it uses TLS. Its error is a
// *proxyerr.Error.
func (c *Connector) dial(ctx context.Context, p *Peer) (net.Conn, error) {
	if p.TLS {
		if p.ALPN == ALPNH2 {
			return nil, &proxyerr.Error{Source: proxyerr.Internal, Addr: p.Addr, Op: "dial", Kind: proxyerr.Unsupported,
				Err: errors.New("Peer.ALPN is ALPNH2, but this connection is for HTTP/1.1")}
		}
		tc, _, err := c.dialOffer(ctx, p, []string{protoHTTP1})
		if err != nil {
			return nil, err
		}
		return tc, nil
	}
	ctx, cancel := withLimit(ctx, p.TotalConnectTimeout)
	defer cancel()
	return c.dialTransport(ctx, p)
}

// dialTransport makes the connection that p is spoken to on, without TLS. Its
// error is a *proxyerr.Error.
func (c *Connector) dialTransport(ctx context.Context, p *Peer) (net.Conn, error) {
	if err := p.validate(c.cfg.Dial != nil); err != nil {
		return nil, &proxyerr.Error{Source: proxyerr.Internal, Addr: p.Addr, Op: "dial", Kind: proxyerr.InternalFailure, Err: err}
	}
	ctx, cancel := withLimit(ctx, cmp.Or(p.ConnectTimeout, c.cfg.ConnectTimeout))
	defer cancel()
	nc, err := c.dialAddr(ctx, p)
	if err == nil && p.Proxy != nil {
		nc, err = connectThrough(ctx, nc, p)
	}
	if err != nil {
		return nil, dialError(ctx, p, err)
	}
	return nc, nil
}

// firstHop returns the address that is dialed for p: its own or its proxy's.
func (p *Peer) firstHop() string {
	if p.Proxy != nil {
		return p.Proxy.Addr
	}
	return p.Addr
}

// dialAddr makes the transport connection.
func (c *Connector) dialAddr(ctx context.Context, p *Peer) (net.Conn, error) {
	nw, addr := network(p.firstHop())
	dial := p.Dial
	if dial == nil {
		dial = c.cfg.Dial
	}
	if dial == nil {
		return c.dialSocket(ctx, p, nw, addr)
	}
	nc, err := dial(ctx, nw, addr)
	if err == nil && nc == nil {
		err = errNoConn
	}
	return nc, err
}

// dialSocket connects a socket with p's options.
func (c *Connector) dialSocket(ctx context.Context, p *Peer, nw, addr string) (net.Conn, error) {
	if nw == "unix" || !p.BindTo.IsValid() {
		return c.dialFrom(ctx, p, nw, addr, netip.AddrPort{}, 0)
	}
	nc, err := c.dialFrom(ctx, p, nw, addr, p.BindTo, p.BindPortMax)
	if p.BindFallback && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)) {
		return c.dialFrom(ctx, p, nw, addr, netip.AddrPortFrom(p.BindTo.Addr(), 0), 0)
	}
	return nc, err
}

// dialFrom connects from a local address; the zero AddrPort leaves it to the
// Connector's Config. portMax, if not 0, makes the kernel choose the port, from
// local.Port() to portMax, when it connects.
func (c *Connector) dialFrom(ctx context.Context, p *Peer, nw, addr string, local netip.AddrPort, portMax uint16) (net.Conn, error) {
	d := net.Dialer{
		KeepAlive:       -1, // off, if KeepAliveConfig does not turn it on
		KeepAliveConfig: p.KeepAlive.config(),
		Control: func(network, address string, rc syscall.RawConn) error {
			return c.control(p, network, address, rc, local, portMax)
		},
	}
	if local.IsValid() {
		from := local
		if portMax != 0 {
			from = netip.AddrPortFrom(local.Addr(), 0)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	nc, err := d.DialContext(ctx, nw, addr)
	if err != nil || portMax == 0 {
		return nc, err
	}
	// A kernel that does not know the option, or to which the range is not
	// part of its own, ignores it.
	if port := nc.LocalAddr().(*net.TCPAddr).AddrPort().Port(); port < local.Port() || port > portMax {
		nc.Close()
		return nil, fmt.Errorf("local port %d is not from %d to %d: %w", port, local.Port(), portMax, syscall.EADDRNOTAVAIL)
	}
	return nc, nil
}

// control sets the options of a socket before it connects.
func (c *Connector) control(p *Peer, network, address string, rc syscall.RawConn, local netip.AddrPort, portMax uint16) error {
	var err error
	cerr := rc.Control(func(fd uintptr) {
		if err = setSocketOptions(int(fd), network, p); err != nil || network == "unix" {
			return
		}
		if portMax != 0 || local.IsValid() && local.Port() == 0 {
			err = setLatePort(int(fd), local.Port(), portMax)
		}
		if from := c.localAddr(network); err == nil && !local.IsValid() && from.IsValid() {
			// Here, and not by LocalAddr, because only now it is known to
			// which address of a host name this connection goes.
			err = bindLatePort(int(fd), from)
		}
	})
	if err := cmp.Or(cerr, err); err != nil {
		return fmt.Errorf("%w: %w", errSocketOption, err)
	}
	if p.Control == nil {
		return nil
	}
	if err := p.Control(network, address, rc); err != nil {
		return fmt.Errorf("%w: Peer.Control: %w", errSocketOption, err)
	}
	return nil
}

// localAddr chooses one of the Connector's addresses to connect from, the
// zero Addr if the system shall.
func (c *Connector) localAddr(network string) netip.Addr {
	from := c.cfg.BindIPv4
	if network == "tcp6" {
		from = c.cfg.BindIPv6
	}
	if len(from) == 0 {
		return netip.Addr{}
	}
	return from[rand.IntN(len(from))]
}

// config returns k as package net wants it, with the defaults that make a
// silent loss of the peer's machine known within 15 seconds.
func (k KeepAlive) config() net.KeepAliveConfig {
	return net.KeepAliveConfig{
		Enable:   k.Idle >= 0,
		Idle:     cmp.Or(k.Idle, 5*time.Second),
		Interval: cmp.Or(k.Interval, 5*time.Second),
		Count:    cmp.Or(k.Count, 2),
	}
}

// The causes of failures that are not the peer's fault.
var (
	errNoConn       = errors.New("Dial returned neither connection nor error")
	errSocketOption = errors.New("set up socket")
)

// dialError classifies the failure of a dial. Nothing has been sent, so every
// kind permits another attempt but those that would fail in the same way.
func dialError(ctx context.Context, p *Peer, err error) error {
	e := &proxyerr.Error{Source: proxyerr.Upstream, Addr: p.Addr, Op: "dial", Kind: proxyerr.ConnectFailed,
		Retry: proxyerr.RetryAlways, Err: err}
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Kind, e.Retry = proxyerr.Canceled, proxyerr.RetryNever
	case ctx.Err() != nil, isDNS && dns.IsTimeout,
		is(context.DeadlineExceeded, os.ErrDeadlineExceeded, syscall.ETIMEDOUT):
		e.Kind = proxyerr.ConnectTimeout
	case is(errProxyRefused):
		e.Kind = proxyerr.ConnectProxy
	case is(errNoConn):
		e.Source, e.Kind = proxyerr.Internal, proxyerr.InternalFailure
	case is(syscall.EADDRNOTAVAIL, syscall.EADDRINUSE):
		// Our own addresses or ports are used up: not the peer's fault.
		e.Source, e.Kind = proxyerr.Internal, proxyerr.BindFailed
	case is(errSocketOption, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EACCES):
		e.Source, e.Kind = proxyerr.Internal, proxyerr.SocketFailed
	case is(syscall.ECONNREFUSED):
		e.Kind = proxyerr.ConnectRefused
	case is(syscall.ENETUNREACH, syscall.EHOSTUNREACH):
		e.Kind = proxyerr.ConnectNoRoute
	}
	return e
}
