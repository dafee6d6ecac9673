// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// setSocketOptions sets p's options on a TCP socket that is not yet bound.
func setSocketOptions(fd int, ip6 bool, p *Peer, local netip.AddrPort, portMax uint16) error {
	set := func(level, option, value int) error { return unix.SetsockoptInt(fd, level, option, value) }
	if local.IsValid() && local.Port() == 0 || portMax != 0 {
		// The port is chosen at connect, when the peer is known: then one
		// local port serves connections to many peers.
		if err := set(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
	}
	if portMax != 0 {
		// Linux 6.3; older kernels do not know the option and use any port.
		_ = set(unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, int(portMax)<<16|int(local.Port()))
	}
	if p.RecvBuffer > 0 {
		if err := set(unix.SOL_SOCKET, unix.SO_RCVBUF, p.RecvBuffer); err != nil {
			return err
		}
	}
	if p.SendBuffer > 0 {
		if err := set(unix.SOL_SOCKET, unix.SO_SNDBUF, p.SendBuffer); err != nil {
			return err
		}
	}
	if p.DSCP > 0 {
		level, option := unix.IPPROTO_IP, unix.IP_TOS
		if ip6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
		if err := set(level, option, p.DSCP<<2); err != nil {
			return err
		}
	}
	if p.FastOpen {
		if err := set(unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
			return err
		}
	}
	if t := p.KeepAlive.UserTimeout; t > 0 {
		return set(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(t.Milliseconds()))
	}
	return nil
}
