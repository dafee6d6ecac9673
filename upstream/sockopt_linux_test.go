// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/belay-proxy/belay/proxyerr"
)

// option reads an option of a connected socket.
func option(t *testing.T, conn *Conn, level, name int) int {
	t.Helper()
	rc, err := conn.NetConn().(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	cerr := rc.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) })
	if cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return value
}

func TestSocketOptions(t *testing.T) {
	const ip, ip6, tcp, sock = unix.IPPROTO_IP, unix.IPPROTO_IPV6, unix.IPPROTO_TCP, unix.SOL_SOCKET
	tests := []struct {
		name                string
		listen              string
		peer                Peer
		level, option, want int
	}{
		{"receive buffer", "127.0.0.1:0", Peer{RecvBuffer: 32 << 10}, sock, unix.SO_RCVBUF, 64 << 10}, // the kernel doubles it
		{"send buffer", "127.0.0.1:0", Peer{SendBuffer: 16 << 10}, sock, unix.SO_SNDBUF, 32 << 10},
		{"no DSCP", "127.0.0.1:0", Peer{}, ip, unix.IP_TOS, 0},
		{"DSCP", "127.0.0.1:0", Peer{DSCP: 46}, ip, unix.IP_TOS, 46 << 2},
		{"DSCP, IPv6", "[::1]:0", Peer{DSCP: 63}, ip6, unix.IPV6_TCLASS, 63 << 2},
		// From "[::]", IPv4 goes through an IPv6 socket.
		{"DSCP, mapped", "127.0.0.1:0", Peer{DSCP: 10, BindTo: netip.MustParseAddrPort("[::]:0")}, ip, unix.IP_TOS, 10 << 2},
		{"no delay", "127.0.0.1:0", Peer{}, tcp, unix.TCP_NODELAY, 1},
		{"keep-alive", "127.0.0.1:0", Peer{}, sock, unix.SO_KEEPALIVE, 1},
		{"keep-alive default idle", "127.0.0.1:0", Peer{}, tcp, unix.TCP_KEEPIDLE, 5},
		{"keep-alive default interval", "127.0.0.1:0", Peer{}, tcp, unix.TCP_KEEPINTVL, 5},
		{"keep-alive default count", "127.0.0.1:0", Peer{}, tcp, unix.TCP_KEEPCNT, 2},
		{"keep-alive off", "127.0.0.1:0", Peer{KeepAlive: KeepAlive{Idle: -1}}, sock, unix.SO_KEEPALIVE, 0},
		{"keep-alive idle", "127.0.0.1:0", Peer{KeepAlive: KeepAlive{Idle: 61 * time.Second}}, tcp, unix.TCP_KEEPIDLE, 61},
		{"keep-alive interval", "127.0.0.1:0", Peer{KeepAlive: KeepAlive{Interval: 7 * time.Second}}, tcp, unix.TCP_KEEPINTVL, 7},
		{"keep-alive count", "127.0.0.1:0", Peer{KeepAlive: KeepAlive{Count: 4}}, tcp, unix.TCP_KEEPCNT, 4},
		{"keep-alive largest", "127.0.0.1:0", Peer{KeepAlive: KeepAlive{Idle: maxKeepAlive}}, tcp, unix.TCP_KEEPIDLE, 32767},
		{"no user timeout", "127.0.0.1:0", Peer{}, tcp, unix.TCP_USER_TIMEOUT, 0},
		{"user timeout", "127.0.0.1:0", Peer{KeepAlive: KeepAlive{UserTimeout: 1500 * time.Millisecond}}, tcp, unix.TCP_USER_TIMEOUT, 1500},
		{"shortest user timeout", "127.0.0.1:0", Peer{KeepAlive: KeepAlive{UserTimeout: 1}}, tcp, unix.TCP_USER_TIMEOUT, 1},
		{"fast open", "127.0.0.1:0", Peer{FastOpen: true}, tcp, unix.TCP_FASTOPEN_CONNECT, fastOpen()},
		{"late port", "127.0.0.1:0", Peer{BindTo: netip.MustParseAddrPort("127.0.0.2:0")}, ip, unix.IP_BIND_ADDRESS_NO_PORT, 1},
		{"late port, IPv6", "[::1]:0", Peer{BindTo: netip.MustParseAddrPort("[::1]:0")}, ip, unix.IP_BIND_ADDRESS_NO_PORT, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.peer
			p.Addr = (&origin{answer: ok}).listen(t, "tcp", tt.listen)
			conn := get(t, newConnector(t, Config{}), &p)
			defer conn.Discard()
			check(t, "option", option(t, conn, tt.level, tt.option), tt.want)
		})
	}
}

// fastOpen returns 1 if the system lets clients use TCP Fast Open.
func fastOpen() int {
	b, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_fastopen")
	if len(b) > 0 && (b[0]-'0')&1 == 1 {
		return 1
	}
	return 0
}

// localAddr returns the local address of a connection.
func localAddr(conn *Conn) netip.AddrPort {
	ap := conn.NetConn().LocalAddr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func TestBindAddress(t *testing.T) {
	v4, v6 := netip.MustParseAddr("127.0.0.5"), netip.MustParseAddr("::1")
	all := Config{BindIPv4: []netip.Addr{v4}, BindIPv6: []netip.Addr{v6}}
	tests := []struct {
		name   string
		listen string
		host   string // instead of the address
		cfg    Config
		bindTo string
		want   string // local address
	}{
		{"system", "127.0.0.1:0", "", Config{}, "", "127.0.0.1"},
		{"peer", "127.0.0.1:0", "", Config{}, "127.0.0.7:0", "127.0.0.7"},
		{"config", "127.0.0.1:0", "", all, "", "127.0.0.5"},
		{"config, IPv6", "[::1]:0", "", all, "", "::1"},
		{"config for the other family", "127.0.0.1:0", "", Config{BindIPv6: all.BindIPv6}, "", "127.0.0.1"},
		{"peer before config", "127.0.0.1:0", "", all, "127.0.0.7:0", "127.0.0.7"},
		{"name", "127.0.0.1:0", "localhost", all, "", "127.0.0.5"},
		{"name, peer", "127.0.0.1:0", "localhost", all, "127.0.0.7:0", "127.0.0.7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &Peer{Addr: (&origin{answer: ok}).listen(t, "tcp", tt.listen)}
			if tt.host != "" {
				_, port, _ := net.SplitHostPort(p.Addr)
				p.Addr = net.JoinHostPort(tt.host, port)
			}
			if tt.bindTo != "" {
				p.BindTo = netip.MustParseAddrPort(tt.bindTo)
			}
			conn := get(t, newConnector(t, tt.cfg), p)
			defer conn.Discard()
			check(t, "local address", localAddr(conn).Addr().String(), tt.want)
			late := 0
			if tt.cfg.BindIPv4 != nil || tt.bindTo != "" {
				late = 1
			}
			check(t, "IP_BIND_ADDRESS_NO_PORT", option(t, conn, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT), late)
		})
	}
}

// All of the Connector's addresses are used.
func TestBindAddressChoice(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.5"), netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("127.0.0.7")}
	c := newConnector(t, Config{BindIPv4: addrs})
	p := &Peer{Addr: (&origin{answer: ok}).listen(t, "tcp", "127.0.0.1:0")}
	used := make(map[netip.Addr]bool)
	for i := 0; len(used) < len(addrs) && i < 1000; i++ {
		conn := get(t, c, p)
		used[localAddr(conn).Addr()] = true
		conn.Discard()
	}
	check(t, "addresses used", len(used), len(addrs))
}

// Local addresses that are not ours are our failure, not the peer's.
func TestBindFails(t *testing.T) {
	addr := (&origin{answer: ok}).listen(t, "tcp", "127.0.0.1:0")
	for _, tt := range []struct {
		name string
		cfg  Config
		peer Peer
	}{
		{"peer", Config{}, Peer{BindTo: netip.MustParseAddrPort("192.0.2.1:0"), BindFallback: true}},
		{"config", Config{BindIPv4: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, Peer{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.peer.Addr = addr
			_, err := newConnector(t, tt.cfg).Get(t.Context(), &tt.peer, nil)
			checkError(t, err, proxyerr.Internal, proxyerr.BindFailed, proxyerr.RetryAlways)
		})
	}
}

// freeAddr returns a loopback address that nobody else uses, and n ports of
// the system's range on it.
func freeAddr(t *testing.T, n int) (from netip.AddrPort) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var low, high int
	if _, serr := fmt.Sscan(string(b), &low, &high); err != nil || serr != nil {
		t.Skip(err, serr)
	}
	addr := netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(250)), byte(1 + rand.IntN(250))})
	return netip.AddrPortFrom(addr, uint16(low+rand.IntN(high-low-n)))
}

func TestBindPortRange(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE); err != nil {
		t.Skip("IP_LOCAL_PORT_RANGE:", err)
	}
	const n = 4
	var p Peer
	var c *Connector
	var ports map[uint16]bool
	// A port that another program listens on, at whatever address, is not
	// given out: then another range is tried.
	for try := 0; len(ports) < n; try++ {
		if try == 10 {
			t.Fatalf("there was no range with %d free ports in %d tries", n, try)
		}
		from := freeAddr(t, n)
		p = Peer{Addr: (&origin{answer: ok}).listen(t, "tcp", "127.0.0.1:0"), BindTo: from, BindPortMax: from.Port() + n - 1}
		c = newConnector(t, Config{})
		ports = useAll(t, c, &p)
	}
	from := p.BindTo
	check(t, "ports used", len(ports), n)

	_, err = c.Get(t.Context(), &p, nil)
	checkError(t, err, proxyerr.Internal, proxyerr.BindFailed, proxyerr.RetryAlways)

	p.BindFallback = true
	conn := get(t, c, &p)
	defer conn.Discard()
	check(t, "local address of the fallback", localAddr(conn).Addr(), from.Addr())
	check(t, "port of the fallback is one of the range", ports[localAddr(conn).Port()], false)
}

// useAll makes connections from every port in the range of p, until t ends, and
// returns those that it has got.
func useAll(t *testing.T, c *Connector, p *Peer) map[uint16]bool {
	t.Helper()
	ports := make(map[uint16]bool)
	for range p.BindPortMax - p.BindTo.Port() + 1 {
		conn, err := c.Get(t.Context(), p, nil)
		if errors.Is(err, proxyerr.BindFailed) {
			return ports
		}
		if err != nil {
			t.Fatalf("Get with %d ports used: %v", len(ports), err)
		}
		t.Cleanup(conn.Discard)
		local := localAddr(conn)
		if local.Addr() != p.BindTo.Addr() || local.Port() < p.BindTo.Port() || local.Port() > p.BindPortMax {
			t.Errorf("local address is %v, want %v to port %d", local, p.BindTo, p.BindPortMax)
		}
		ports[local.Port()] = true
	}
	return ports
}

// The kernel ignores a range that is not part of its own. We do not.
func TestBindPortRangeIgnored(t *testing.T) {
	p := Peer{
		Addr:        (&origin{answer: ok}).listen(t, "tcp", "127.0.0.1:0"),
		BindTo:      netip.AddrPortFrom(freeAddr(t, 1).Addr(), 10),
		BindPortMax: 20,
	}
	c := newConnector(t, Config{})
	_, err := c.Get(t.Context(), &p, nil)
	checkError(t, err, proxyerr.Internal, proxyerr.BindFailed, proxyerr.RetryAlways)
	p.BindFallback = true
	get(t, c, &p).Discard()
}

func TestBindFixedPort(t *testing.T) {
	p := Peer{Addr: (&origin{answer: ok}).listen(t, "tcp", "127.0.0.1:0")}
	c := newConnector(t, Config{})
	var conn *Conn
	for try := 0; conn == nil; try++ { // another program may listen on the port
		p.BindTo = freeAddr(t, 1)
		var err error
		if conn, err = c.Get(t.Context(), &p, nil); err != nil && (try == 10 || !errors.Is(err, proxyerr.BindFailed)) {
			t.Fatal(err)
		}
	}
	from := p.BindTo
	defer conn.Discard()
	check(t, "local address", localAddr(conn), from)

	_, err := c.Dial(t.Context(), &p, nil)
	checkError(t, err, proxyerr.Internal, proxyerr.BindFailed, proxyerr.RetryAlways)
	p.BindFallback = true
	get(t, c, &p).Discard()
}
