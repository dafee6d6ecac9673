// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/proxyerr"
)

// dial connects to p. Its error is a *proxyerr.Error.
func (c *Connector) dial(ctx context.Context, p *Peer) (net.Conn, error) {
	if p.TLS {
		return nil, &proxyerr.Error{Source: proxyerr.Internal, Addr: p.Addr, Op: "dial", Kind: proxyerr.Unsupported,
			Err: errors.New("TLS to peers is not available in this version")}
	}
	if limit := p.TotalConnectTimeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if limit := cmp.Or(p.ConnectTimeout, c.cfg.ConnectTimeout); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	nc, err := c.dialAddr(ctx, p)
	if err == nil && p.Proxy != nil {
		nc, err = connectThrough(ctx, nc, p)
	}
	if err != nil {
		return nil, dialError(ctx, p, err)
	}
	return nc, nil
}

// dialAddr makes the transport connection: to p, or to its proxy.
func (c *Connector) dialAddr(ctx context.Context, p *Peer) (net.Conn, error) {
	addr := p.Addr
	if p.Proxy != nil {
		addr = p.Proxy.Addr
	}
	nw, addr := network(addr)
	if f := cmp2(p.Dial, c.cfg.Dial); f != nil {
		return f(ctx, nw, addr)
	}
	if nw == "unix" {
		return new(net.Dialer).DialContext(ctx, nw, addr)
	}
	return c.dialTCP(ctx, p, nw, addr)
}

// cmp2 returns the first of two functions that is not nil.
func cmp2(a, b func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if a != nil {
		return a
	}
	return b
}

func (c *Connector) dialTCP(ctx context.Context, p *Peer, nw, addr string) (net.Conn, error) {
	local := c.localAddr(p, isIPv6(addr))
	if p.BindPortMax == 0 {
		return c.dialFrom(ctx, p, nw, addr, local)
	}
	nc, err := c.dialRange(ctx, p, nw, addr, local)
	if err != nil && p.BindFallback && errors.Is(err, syscall.EADDRNOTAVAIL) {
		return c.dialFrom(ctx, p, nw, addr, netip.AddrPortFrom(local.Addr(), 0))
	}
	return nc, err
}

func isIPv6(addr string) bool { return strings.HasPrefix(addr, "[") }

// dialFrom dials from a local address.
func (c *Connector) dialFrom(ctx context.Context, p *Peer, nw, addr string, local netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAliveConfig(p.KeepAlive), Control: p.control(local, 0)}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	return d.DialContext(ctx, nw, addr)
}

// dialRange dials from a port of p's range, chosen by the kernel at connect.
func (c *Connector) dialRange(ctx context.Context, p *Peer, nw, addr string, local netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: keepAliveConfig(p.KeepAlive),
		Control:         p.control(local, p.BindPortMax),
		LocalAddr:       net.TCPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0)),
	}
	return d.DialContext(ctx, nw, addr)
}

func keepAliveConfig(k KeepAlive) net.KeepAliveConfig {
	return net.KeepAliveConfig{
		Enable:   k.Idle >= 0,
		Idle:     k.Idle,
		Interval: k.Interval,
		Count:    k.Count,
	}
}

// control returns the function that sets p's socket options before connect.
// portMax, if not 0, restricts the local port to local.Port() to portMax.
func (p *Peer) control(local netip.AddrPort, portMax uint16) func(network, address string, rc syscall.RawConn) error {
	return func(network, address string, rc syscall.RawConn) error {
		var err error
		cerr := rc.Control(func(fd uintptr) {
			err = setSocketOptions(int(fd), strings.HasSuffix(network, "6"), p, local, portMax)
		})
		if err := cmp.Or(cerr, err); err != nil {
			return fmt.Errorf("socket option: %w", err)
		}
		if p.Control != nil {
			return p.Control(network, address, rc)
		}
		return nil
	}
}

// dialError classifies the failure of a dial. Nothing has been sent, so every
// kind permits another attempt but those that would fail in the same way.
func dialError(ctx context.Context, p *Peer, err error) error {
	e := &proxyerr.Error{Source: proxyerr.Upstream, Addr: p.Addr, Op: "dial", Kind: proxyerr.ConnectFailed,
		Retry: proxyerr.RetryAlways, Err: err}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, errProxyRefused):
		e.Kind = proxyerr.ConnectProxy
	case errors.Is(ctx.Err(), context.Canceled):
		e.Kind, e.Retry = proxyerr.Canceled, proxyerr.RetryNever
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT),
		isDNS && dns.IsTimeout:
		e.Kind = proxyerr.ConnectTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Kind = proxyerr.ConnectRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		e.Kind = proxyerr.ConnectNoRoute
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		// Our own addresses or ports are used up: not the peer's fault.
		e.Source, e.Kind = proxyerr.Internal, proxyerr.BindFailed
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		e.Source, e.Kind = proxyerr.Internal, proxyerr.SocketFailed
	}
	return e
}

// errProxyRefused is the cause of a CONNECT that was not answered with 2xx.
var errProxyRefused = errors.New("proxy did not answer 2xx")

// maxProxyHead limits the answer to CONNECT, in bytes.
const maxProxyHead = 16 << 10

// connectThrough asks the proxy at the other end of nc for a tunnel to p. It
// closes nc if it fails.
func connectThrough(ctx context.Context, nc net.Conn, p *Peer) (_ net.Conn, err error) {
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			nc.Close()
		}
	}()
	b := []byte("CONNECT " + p.Addr + " HTTP/1.1\r\nHost: " + p.Addr + "\r\n")
	for i := 0; i+1 < len(p.Proxy.Header); i += 2 {
		if strings.ContainsAny(p.Proxy.Header[i]+p.Proxy.Header[i+1], "\r\n\x00") {
			return nil, fmt.Errorf("invalid Proxy.Header %q", p.Proxy.Header[i])
		}
		b = append(b, p.Proxy.Header[i]+": "+p.Proxy.Header[i+1]+"\r\n"...)
	}
	if _, err := nc.Write(append(b, "\r\n"...)); err != nil {
		return nil, fmt.Errorf("ask proxy: %w", err)
	}
	if err := readProxyAnswer(nc); err != nil {
		return nil, fmt.Errorf("read answer of proxy: %w", err)
	}
	return nc, nil
}

// readProxyAnswer reads the head of the answer byte by byte, so as not to
// take anything of what the peer says first.
func readProxyAnswer(nc net.Conn) error {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var c [1]byte
		if _, err := io.ReadFull(nc, c[:]); err != nil {
			return err
		}
		if head = append(head, c[0]); len(head) > maxProxyHead {
			return fmt.Errorf("%w: head of more than %d bytes", errProxyRefused, maxProxyHead)
		}
	}
	line, _, _ := strings.Cut(string(head), "\r\n")
	if len(line) < len("HTTP/1.1 200") || !strings.HasPrefix(line, "HTTP/1.") || line[8] != ' ' || line[9] != '2' {
		return fmt.Errorf("%w: %q", errProxyRefused, line)
	}
	return nil
}
