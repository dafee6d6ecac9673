// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// setSocketOptions sets p's options on a socket that is neither bound nor
// connected. network is "tcp4", "tcp6" or "unix"; a Unix socket has buffers
// only.
func setSocketOptions(fd int, network string, p *Peer) error {
	options := []struct {
		wanted               bool
		level, option, value int
	}{
		{p.RecvBuffer > 0, unix.SOL_SOCKET, unix.SO_RCVBUF, p.RecvBuffer},
		{p.SendBuffer > 0, unix.SOL_SOCKET, unix.SO_SNDBUF, p.SendBuffer},
		// An IPv6 socket may carry IPv4 ("::ffff:192.0.2.1") and needs both.
		{p.DSCP > 0 && network != "unix", unix.IPPROTO_IP, unix.IP_TOS, p.DSCP << 2},
		{p.DSCP > 0 && network == "tcp6", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, p.DSCP << 2},
		{p.KeepAlive.UserTimeout > 0 && network != "unix", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds(p.KeepAlive.UserTimeout)},
	}
	for _, o := range options {
		if !o.wanted {
			continue
		}
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return err
		}
	}
	if p.FastOpen && network != "unix" {
		// Fails where the system does not have it or has it turned off.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
	}
	return nil
}

// milliseconds returns d as an option value, at least 1: 0 would mean off.
func milliseconds(d time.Duration) int {
	return int(max(1, min(d.Milliseconds(), math.MaxInt32)))
}

// setLatePort makes bind leave the local port to connect, when the peer is
// known: then one local port serves connections to many peers. max, if not 0,
// bounds the choice to min to max.
func setLatePort(fd int, min, max uint16) error {
	if max != 0 {
		// Linux 6.3. The caller finds out if the kernel did not heed it.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, int(max)<<16|int(min))
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}
