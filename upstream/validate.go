// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/belay-proxy/belay/header"
)

// Validate returns every problem with p, joined, or nil. Connector.Dial calls
// it.
func (p *Peer) Validate() error { return p.validate(p.Dial != nil) }

// The largest values that Linux takes.
const (
	maxKeepAlive      = 32767 * time.Second
	maxKeepAliveCount = 127
)

// validate is Validate. ownDial says that Addr is for a Dial function.
func (p *Peer) validate(ownDial bool) error {
	v := validator{ownDial: ownDial || p.Dial != nil}
	if p.Proxy == nil {
		v.checkAddr("Peer.Addr", p.Addr)
	} else {
		v.checkAddr("Peer.Proxy.Addr", p.Proxy.Addr)
		v.checkTunnel(p)
	}
	v.check(p.ALPN <= ALPNH2, "Peer.ALPN is %d, want ALPNHTTP1, ALPNH2HTTP1 or ALPNH2", p.ALPN)
	v.check(p.DSCP >= 0 && p.DSCP <= 63, "Peer.DSCP is %d, want 0 to 63", p.DSCP)
	for _, n := range []int{p.RecvBuffer, p.SendBuffer} {
		v.check(n >= 0 && n <= math.MaxInt32/2, "Peer.RecvBuffer or SendBuffer is %d, want 0 to %d", n, math.MaxInt32/2)
	}
	k := p.KeepAlive
	v.check(k.Idle <= maxKeepAlive, "Peer.KeepAlive.Idle is %v, want at most %v", k.Idle, maxKeepAlive)
	v.check(k.Interval >= 0 && k.Interval <= maxKeepAlive, "Peer.KeepAlive.Interval is %v, want 0 to %v", k.Interval, maxKeepAlive)
	v.check(k.Count >= 0 && k.Count <= maxKeepAliveCount, "Peer.KeepAlive.Count is %d, want 0 to %d", k.Count, maxKeepAliveCount)
	v.check(k.UserTimeout >= 0, "Peer.KeepAlive.UserTimeout is %v, want at least 0", k.UserTimeout)
	v.checkBind(p)
	v.checkTLS(p)
	return errors.Join(v.errs...)
}

// validator gathers what is wrong with a Peer.
type validator struct {
	ownDial bool
	errs    []error
}

func (v *validator) check(ok bool, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf("upstream: "+format, args...))
	}
}

// checkAddr checks an address to connect to.
func (v *validator) checkAddr(field, addr string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		v.check(path != "", "%s is %q, which has no path", field, addr)
		return
	}
	if v.ownDial {
		v.check(addr != "", "%s is empty", field)
		return
	}
	v.checkHostPort(field, addr)
}

func (v *validator) checkHostPort(field, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		v.check(false, "%s is %q, want host:port or unix:/path", field, addr)
		return
	}
	n, err := net.LookupPort("tcp", port)
	v.check(err == nil && n != 0, "%s is %q, which has an invalid port", field, addr)
}

// checkBind checks the local address and whether it fits the first hop.
func (v *validator) checkBind(p *Peer) {
	if p.BindPortMax != 0 {
		v.check(p.BindTo.Port() != 0 && p.BindPortMax >= p.BindTo.Port(),
			"Peer.BindPortMax is %d, want at least the port of BindTo %v, and that not 0", p.BindPortMax, p.BindTo)
	}
	host, _, _ := net.SplitHostPort(p.firstHop())
	to, err := netip.ParseAddr(host)
	from := p.BindTo.Addr()
	if err != nil || !from.IsValid() || from.IsUnspecified() {
		return
	}
	v.check(from.Unmap().Is4() == to.Unmap().Is4(),
		"Peer.BindTo %v and the address to connect to, %v, are not both IPv4 or both IPv6", p.BindTo, to)
}

// checkTLS checks what a TLS handshake needs.
func (v *validator) checkTLS(p *Peer) {
	if !p.TLS {
		return
	}
	v.check(p.serverName() != "" || p.InsecureSkipVerify,
		"Peer.ServerName is empty, and Addr %q has no name that the certificate could have", p.Addr)
	v.check(p.ClientCert == nil || len(p.ClientCert.Certificate) > 0 && p.ClientCert.PrivateKey != nil,
		"Peer.ClientCert has no certificate or no key")
}

// checkTunnel checks what a CONNECT request is made of.
func (v *validator) checkTunnel(p *Peer) {
	v.checkHostPort("Peer.Addr, with Proxy,", p.Addr)
	h := p.Proxy.Header
	v.check(len(h)%2 == 0, "Peer.Proxy.Header has a name without a value")
	for i := 0; i+1 < len(h); i += 2 {
		v.check(header.ValidName(h[i]) && header.ValidValue(h[i+1]), "Peer.Proxy.Header: field %q is malformed", h[i])
		for _, own := range []string{"Host", "Content-Length", "Transfer-Encoding"} {
			v.check(!header.EqualName(h[i], own), "Peer.Proxy.Header must not have %s", own)
		}
	}
}
