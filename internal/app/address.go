// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upstream"
)

// lookupTimeout bounds the look-up of one host name.
const lookupTimeout = 10 * time.Second

// backendSchemes says how each scheme of a backend connects, and its port if
// none is given, "" for none.
var backendSchemes = map[string]struct {
	tls  bool
	alpn upstream.ALPN
	port string
}{
	"http":  {port: "80"},
	"https": {tls: true, port: "443"},
	"h2c":   {alpn: upstream.ALPNH2},
	"h2":    {tls: true, alpn: upstream.ALPNH2, port: "443"},
}

// wantBackend is what a backend can look like.
const wantBackend = "want host:port, unix:/path, or http://, https://, h2c:// or h2:// and a host"

// ParseBackend reads "host:port" or "unix:/path" for HTTP/1.1, or
// "http://host", "https://host", "h2c://host:port" for HTTP/2 without TLS, or
// "h2://host" for HTTP/2 over TLS, in all four with ":port" if it is another
// than usual. "=" and a weight from 1 to balancer.MaxWeight may follow.
func ParseBackend(s string) (balancer.Backend, error) {
	addr, weight, err := cutWeight(s)
	if err != nil {
		return balancer.Backend{}, fmt.Errorf("backend %q: %w", s, err)
	}
	peer, err := parsePeer(addr)
	if err != nil {
		return balancer.Backend{}, fmt.Errorf("backend %q: %w", s, err)
	}
	return balancer.Backend{Addr: peer.Addr, Weight: weight, Peer: peer}, nil
}

// parsePeer is ParseBackend without the weight.
func parsePeer(s string) (*upstream.Peer, error) {
	peer := &upstream.Peer{Addr: s}
	if name, rest, isURL := strings.Cut(s, "://"); isURL {
		scheme, ok := backendSchemes[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("there is no scheme %q: %s", name, wantBackend)
		}
		if strings.ContainsAny(rest, "/?#@") {
			return nil, fmt.Errorf("it is more than scheme, host and port: %s", wantBackend)
		}
		if scheme.port != "" {
			rest = withPort(rest, scheme.port)
		}
		peer = &upstream.Peer{Addr: rest, TLS: scheme.tls, ALPN: scheme.alpn}
		if strings.HasPrefix(rest, "unix:") {
			return nil, errors.New("a Unix socket has no scheme: want unix:/path")
		}
	}
	if err := checkAddr(peer.Addr); err != nil {
		return nil, err
	}
	return peer, peer.Validate()
}

// withPort adds a port to a host that comes without.
func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil || host == "" {
		return host
	}
	if bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"); len(bare) == len(host)-2 || !strings.Contains(host, ":") {
		return net.JoinHostPort(bare, port)
	}
	return host // an IPv6 address without brackets, or worse
}

// backendName returns b as ParseBackend reads it, without its weight.
func backendName(b balancer.Backend) string {
	p := b.Peer
	switch {
	case p == nil:
	case p.TLS && p.ALPN == upstream.ALPNH2:
		return "h2://" + b.Addr
	case p.TLS:
		return "https://" + b.Addr
	case p.ALPN == upstream.ALPNH2:
		return "h2c://" + b.Addr
	}
	return b.Addr
}

// cutWeight cuts "=3" off the end of s. Without it the weight is 0, the
// default. A path may contain "=": what follows the last one is a weight only
// if there is no "/" in it.
func cutWeight(s string) (addr string, weight int, err error) {
	i := strings.LastIndexByte(s, '=')
	if i < 0 || strings.Contains(s[i:], "/") {
		return s, 0, nil
	}
	weight, err = strconv.Atoi(s[i+1:])
	if err != nil || weight < 1 || weight > balancer.MaxWeight {
		return "", 0, fmt.Errorf("weight is %q, want a number from 1 to %d", s[i+1:], balancer.MaxWeight)
	}
	return s[:i], weight, nil
}

// CheckListen reports what is wrong with an address to listen on: "host:port",
// where host may be empty and port 0, or "unix:/path".
func CheckListen(addr string) error {
	if strings.Contains(addr, "://") {
		return fmt.Errorf("address %q: want host:port or unix:/path, not a URL", addr)
	}
	if err := (listener.Config{Addr: addr}).Validate(); err != nil {
		return fmt.Errorf("address %q: want host:port or unix:/path", addr)
	}
	return nil
}

// CheckAdmin reports what is wrong with an address for questions about health,
// "unix:/path" or a loopback address and a port. Empty means none.
func CheckAdmin(addr string) error {
	if c := (config.Config{AdminListen: addr}).WithDefaults(); c.Validate() != nil {
		return fmt.Errorf("address %q: want unix:/path, or a loopback address and a port: anybody could reach it elsewhere", addr)
	}
	return nil
}

// checkAddr finds what is often mistaken for "host:port", so as to say more
// about it than that.
func checkAddr(addr string) error {
	if path, isUnix := strings.CutPrefix(addr, "unix:"); isUnix {
		if path == "" {
			return errors.New("there is no path: want unix:/path")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return errors.New(wantBackend)
	case strings.ContainsAny(addr, "/?#@"):
		return errors.New("it is more than host and port: " + wantBackend)
	case host == "":
		return errors.New("there is no host before the port")
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return fmt.Errorf("%q is not a host", host)
	case port == "":
		return errors.New("there is no port")
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return fmt.Errorf("the port is %q, want 1 to 65535", port)
	}
	return nil
}

// checkLoop reports a backend that is one of the addresses to listen on:
// requests would come back until there are no descriptors left. Names other
// than localhost are not looked up for that.
func checkLoop(listen []string, backends []balancer.Backend) error {
	for _, l := range listen {
		for _, b := range backends {
			if isSame(l, b.Addr) {
				return fmt.Errorf("backend %s is where belay listens itself (%s): name another address with --listen or --to", b.Addr, l)
			}
		}
	}
	return nil
}

// isSame reports whether a connection to addr arrives at a listener.
func isSame(listener, addr string) bool {
	if listener == addr {
		return true
	}
	host, port, err := net.SplitHostPort(listener)
	toHost, toPort, toErr := net.SplitHostPort(addr)
	if err != nil || toErr != nil || port != toPort || port == "0" {
		return false
	}
	if host == "" {
		host = "::"
	}
	at, to := localAddr(host), localAddr(toHost)
	switch to { // where such a connection goes
	case netip.IPv4Unspecified():
		to = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		to = netip.IPv6Loopback()
	}
	if !at.IsValid() || !to.IsLoopback() {
		return false
	}
	switch at {
	case netip.IPv6Unspecified(): // and those of IPv4
		return true
	case netip.IPv4Unspecified():
		return to.Is4()
	}
	return at == to
}

// localAddr returns the address that a host is, as far as that is known
// without a look-up.
func localAddr(host string) netip.Addr {
	if host == "localhost" {
		host = "127.0.0.1"
	}
	addr, _ := netip.ParseAddr(host)
	return addr.Unmap()
}

// resolveAll checks that the hosts of all backends have an address. The error
// names every one that has none. The names are kept: each connection looks up
// its own, so that a change in the DNS is followed.
func resolveAll(ctx context.Context, backends []balancer.Backend) error {
	hosts := make(map[string]bool)
	for _, b := range backends {
		if host := (&upstream.Peer{Addr: b.Addr}).Host(); host != "" {
			if _, err := netip.ParseAddr(host); err != nil {
				hosts[host] = true
			}
		}
	}
	errs := make(chan error)
	for host := range hosts {
		go func() { errs <- resolve(ctx, host) }()
	}
	var failed []error
	for range hosts {
		if err := <-errs; err != nil {
			failed = append(failed, err)
		}
	}
	slices.SortFunc(failed, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(failed...)
}

func resolve(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("backend host %q cannot be resolved: %s", host, dns.Err)
	} else if err != nil {
		return fmt.Errorf("backend host %q cannot be resolved: %w", host, err)
	}
	return nil
}
