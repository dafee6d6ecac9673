// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Config says what a Listener is bound to and how connections on it are
// accepted. The zero value of every field but Addr is the usual choice. A
// Config must not be modified after it has been passed to Listen.
//
// SO_REUSEADDR and TCP_NODELAY are always on, the backlog is the largest that
// the system allows, and Multipath TCP is not used.
type Config struct {
	// Addr is "host:port", or "unix:" and the path of a Unix socket. A host
	// name is resolved when the socket is bound, and only its first address
	// is used. Without host, or with "[::]", the socket takes IPv4, too,
	// unless IPv6Only is set. Port 0 means any free one. A path that begins
	// with "@" is an abstract socket (Linux).
	Addr string

	// Name identifies the listener when its socket is handed to another
	// process. Empty means Addr.
	Name string

	// Mode are the permissions of a Unix socket. Zero means 0660.
	Mode fs.FileMode

	// IPv6Only keeps IPv4 off a socket that is bound to "[::]".
	IPv6Only bool

	// ReusePort allows several sockets on one port, between which the system
	// spreads connections. All of them must set it.
	ReusePort bool

	// FastOpen is how many connections whose first bytes came with the SYN
	// may wait to be accepted. Zero turns TCP Fast Open off. Linux only.
	FastOpen int

	// DeferAccept lets a connection be accepted only when its first bytes
	// have come, and gives up on it after about this time. Zero turns it
	// off. At least 1 second. Linux only.
	DeferAccept time.Duration

	// KeepAlive configures TCP keep-alive probes on accepted connections.
	KeepAlive KeepAlive

	// DSCP is the differentiated services code point, 0 to 63, of the
	// packets that the listener and its connections send. Linux only.
	DSCP int

	// RecvBuffer and SendBuffer are the sizes in bytes of the socket buffers
	// of accepted connections. Zero leaves them to the system, which adapts
	// them; that is better in most cases.
	RecvBuffer, SendBuffer int

	// BindRetry is how long to go on trying while the address is in use.
	// Zero and negative mean not at all: Listen fails at once.
	BindRetry time.Duration

	// Tasks is how many accept loops run. Zero means 1. More than one helps
	// only if Filter is slow; to spread the work of accepting itself, use
	// several listeners with ReusePort.
	Tasks int

	// MaxConns limits how many connections are served at the same time. At
	// the limit no more are accepted: they wait in the backlog until one
	// has ended. Zero and negative mean no limit.
	MaxConns int

	// Filter decides whether a TCP connection may be served. One for which
	// it returns false is closed without a word, before anything has been
	// read. The address is never an IPv4 address in IPv6 form. Filter runs
	// in the accept loop and must not block; with Tasks > 1 it is called
	// concurrently. Nil accepts all.
	Filter func(client netip.AddrPort) bool

	// Logger receives what goes wrong while accepting. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// KeepAlive are the times of TCP keep-alive. The zero KeepAlive probes after
// 15 seconds, every 15 seconds, 9 times.
type KeepAlive struct {
	// Idle is how long a connection must be silent before the first probe.
	// Zero means 15 seconds; negative turns probes off. At least 1 second.
	Idle time.Duration

	// Interval is the time between probes. Zero means 15 seconds. At least
	// 1 second.
	Interval time.Duration

	// Count is how many probes without answer end the connection. Zero
	// means 9.
	Count int

	// UserTimeout is how long sent data may stay unacknowledged before the
	// connection is ended. Zero leaves it to the system. Linux only.
	UserTimeout time.Duration
}

// withDefaults returns c with every zero field replaced by its default.
func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, c.Addr)
	c.Mode = cmp.Or(c.Mode, 0o660)
	c.Tasks = cmp.Or(c.Tasks, 1)
	c.KeepAlive = c.KeepAlive.withDefaults()
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// withDefaults returns k with every zero field replaced by its default.
func (k KeepAlive) withDefaults() KeepAlive {
	k.Idle = cmp.Or(k.Idle, 15*time.Second)
	k.Interval = cmp.Or(k.Interval, 15*time.Second)
	k.Count = cmp.Or(k.Count, 9)
	return k
}

// network returns the network and address to listen on.
func (c Config) network() (network, address string) {
	if path, ok := strings.CutPrefix(c.Addr, "unix:"); ok {
		return "unix", path
	}
	if c.IPv6Only {
		return "tcp6", c.Addr
	}
	return "tcp", c.Addr
}

// Validate returns every problem with c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("listener: "+format, args...))
		}
	}
	switch nw, addr := c.network(); nw {
	case "unix":
		const longest = 103 // of sun_path on all systems, less the final zero
		bad(addr == "" || len(addr) > longest, "Addr is %q, want a path of 1 to %d bytes after unix:", c.Addr, longest)
		bad(c.tcpOnly(), "Addr is %q, but there are options set that are for TCP only", c.Addr)
	default:
		host, port, err := net.SplitHostPort(addr)
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		bad(err != nil, "Addr is %q, want host:port or unix:/path", c.Addr)
		ip, err := netip.ParseAddr(host)
		bad(c.IPv6Only && err == nil && !ip.Is6(), "Addr is %q, but IPv6Only is set", c.Addr)
		bad(c.Mode != 0, "Mode is %#o, but Addr %q is not a Unix socket", c.Mode, c.Addr)
	}
	k := c.KeepAlive
	bad(c.Mode&^0o777 != 0, "Mode is %#o, want at most 0777", c.Mode)
	bad(c.FastOpen < 0, "FastOpen is %d, want at least 0", c.FastOpen)
	bad(c.DeferAccept != 0 && c.DeferAccept < time.Second, "DeferAccept is %v, want at least 1s", c.DeferAccept)
	bad(c.DSCP < 0 || c.DSCP > 63, "DSCP is %d, want 0 to 63", c.DSCP)
	bad(c.RecvBuffer < 0 || c.SendBuffer < 0, "RecvBuffer and SendBuffer are %d and %d, want at least 0", c.RecvBuffer, c.SendBuffer)
	bad(c.Tasks < 0 || c.Tasks > 1024, "Tasks is %d, want 0 to 1024", c.Tasks)
	bad(k.Idle > 0 && k.Idle < time.Second, "KeepAlive.Idle is %v, want at least 1s", k.Idle)
	bad(k.Interval != 0 && k.Interval < time.Second, "KeepAlive.Interval is %v, want at least 1s", k.Interval)
	bad(k.Count < 0 || k.Count > 127, "KeepAlive.Count is %d, want 0 to 127", k.Count)
	bad(k.UserTimeout < 0, "KeepAlive.UserTimeout is %v, want at least 0", k.UserTimeout)
	return errors.Join(errs...)
}

// tcpOnly reports whether an option is set that has no meaning for a Unix
// socket. Buffers and the filter may be set for all listeners alike.
func (c Config) tcpOnly() bool {
	return c.IPv6Only || c.ReusePort || c.FastOpen != 0 || c.DeferAccept != 0 || c.DSCP != 0 || c.KeepAlive != KeepAlive{}
}
