// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unsupported returns an error if cfg has options that this system lacks.
func unsupported(Config) error { return nil }

// perConnKeepAlive is how keep-alive must be set on each connection: not at
// all, for on Linux connections inherit it from the listener.
func perConnKeepAlive(KeepAlive) net.KeepAliveConfig { return net.KeepAliveConfig{} }

// setOptions sets the options of cfg on a socket that is about to be bound.
// Accepted connections inherit them, which saves a system call each per
// connection.
func setOptions(c syscall.RawConn, network string, cfg Config) error {
	var err error
	set := func(fd, level, opt, value int, name string) {
		if err == nil {
			err = os.NewSyscallError("set "+name, unix.SetsockoptInt(fd, level, opt, value))
		}
	}
	ctlErr := c.Control(func(rawFD uintptr) {
		fd := int(rawFD)
		if cfg.RecvBuffer > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, cfg.RecvBuffer, "SO_RCVBUF")
		}
		if cfg.SendBuffer > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, cfg.SendBuffer, "SO_SNDBUF")
		}
		if network == "unix" {
			// Before bind this sets the permissions that the file is made
			// with, so that it is never open to more than it shall be.
			if err == nil {
				err = os.NewSyscallError("fchmod", unix.Fchmod(fd, uint32(cfg.Mode.Perm())))
			}
			return
		}
		setTCP(fd, cfg, set)
	})
	if ctlErr != nil {
		return ctlErr
	}
	return err
}

// setTCP sets the options that only TCP has.
func setTCP(fd int, cfg Config, set func(fd, level, opt, value int, name string)) {
	if cfg.ReusePort {
		set(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "SO_REUSEPORT")
	}
	if cfg.FastOpen > 0 {
		set(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, cfg.FastOpen, "TCP_FASTOPEN")
	}
	if cfg.DeferAccept > 0 {
		set(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds(cfg.DeferAccept), "TCP_DEFER_ACCEPT")
	}
	if cfg.DSCP > 0 {
		const aboveECN = 2 // bits of the byte that are not the code point
		domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		set(fd, unix.IPPROTO_IP, unix.IP_TOS, cfg.DSCP<<aboveECN, "IP_TOS")
		if domain == unix.AF_INET6 {
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, cfg.DSCP<<aboveECN, "IPV6_TCLASS")
		}
	}
	k := cfg.KeepAlive
	if k.Idle > 0 {
		set(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, "SO_KEEPALIVE")
		set(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(k.Idle), "TCP_KEEPIDLE")
		set(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(k.Interval), "TCP_KEEPINTVL")
		set(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count, "TCP_KEEPCNT")
	}
	if k.UserTimeout > 0 {
		set(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(k.UserTimeout.Milliseconds()), "TCP_USER_TIMEOUT")
	}
}

// seconds returns d in whole seconds, rounded up.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
