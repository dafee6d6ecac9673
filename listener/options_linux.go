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
	return apply(c, func(fd int) error {
		s := setter{fd: fd}
		s.buffers(cfg)
		if network == "unix" {
			// Before bind this sets the permissions that the file is made
			// with, so that it is never open to more than it shall be.
			if s.err == nil {
				s.err = os.NewSyscallError("fchmod", unix.Fchmod(fd, uint32(cfg.Mode.Perm())))
			}
			return s.err
		}
		s.tcp(cfg)
		return s.err
	})
}

// setInherited sets the options of cfg on a socket that another process has
// bound, and turns off those that it may have set and cfg has not.
func setInherited(c syscall.RawConn, network string, cfg Config) error {
	return apply(c, func(fd int) error {
		const largest = 1<<16 - 1 // more than the system allows
		if err := unix.Listen(fd, largest); err != nil {
			return os.NewSyscallError("listen", err)
		}
		s := setter{fd: fd, reset: true}
		s.optional(unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0) // sizes adapt again
		s.buffers(cfg)
		if network != "unix" {
			s.tcp(cfg)
		}
		return s.err
	})
}

// setNamed sets the options that cfg, without defaults, has on a socket that the
// service manager has bound. All others stay as that has set them.
func setNamed(c syscall.RawConn, network string, cfg Config) error {
	return apply(c, func(fd int) error {
		s := setter{fd: fd}
		s.buffers(cfg)
		if network == "unix" {
			return s.err
		}
		named := cfg.KeepAlive != KeepAlive{}
		cfg.KeepAlive = cfg.KeepAlive.withDefaults()
		s.ip(cfg)
		if named {
			s.reset = cfg.KeepAlive.Idle < 0
			s.keepAlive(cfg.KeepAlive)
		}
		return s.err
	})
}

// keepAliveOf returns the keep-alive that a socket has, zero if it has none.
func keepAliveOf(f *os.File) (k KeepAlive) {
	raw, err := f.SyscallConn()
	if err != nil {
		return k
	}
	raw.Control(func(fd uintptr) {
		get := func(level, opt int) int {
			v, _ := unix.GetsockoptInt(int(fd), level, opt)
			return v
		}
		if get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
			return
		}
		k.Idle = time.Duration(get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)) * time.Second
		k.Interval = time.Duration(get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)) * time.Second
		k.Count = get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	})
	return k
}

// apply calls f with the descriptor of c.
func apply(c syscall.RawConn, f func(fd int) error) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) { err = f(int(fd)) })
	if ctlErr != nil {
		return ctlErr
	}
	return err
}

// A setter sets options on a socket, until one cannot be set.
type setter struct {
	fd    int
	reset bool // set options to zero, too
	err   error
}

// set sets an option.
func (s *setter) set(level, opt, value int, name string) {
	if s.err == nil {
		s.err = os.NewSyscallError("set "+name, unix.SetsockoptInt(s.fd, level, opt, value))
	}
}

// setOr sets an option unless value is zero; that is set on a socket that may
// have another value.
func (s *setter) setOr(level, opt, value int, name string) {
	switch {
	case value != 0:
		s.set(level, opt, value, name)
	case s.reset:
		s.optional(level, opt, 0)
	}
}

// optional sets an option that the system may not know.
func (s *setter) optional(level, opt, value int) {
	_ = unix.SetsockoptInt(s.fd, level, opt, value)
}

// buffers sets the sizes of the buffers.
func (s *setter) buffers(cfg Config) {
	if cfg.RecvBuffer > 0 {
		s.set(unix.SOL_SOCKET, unix.SO_RCVBUF, cfg.RecvBuffer, "SO_RCVBUF")
	}
	if cfg.SendBuffer > 0 {
		s.set(unix.SOL_SOCKET, unix.SO_SNDBUF, cfg.SendBuffer, "SO_SNDBUF")
	}
}

// tcp sets the options that only TCP has.
func (s *setter) tcp(cfg Config) {
	s.ip(cfg)
	s.keepAlive(cfg.KeepAlive)
}

// ip sets those that have nothing to do with keep-alive.
func (s *setter) ip(cfg Config) {
	if cfg.ReusePort {
		s.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "SO_REUSEPORT")
	}
	s.setOr(unix.IPPROTO_TCP, unix.TCP_FASTOPEN, cfg.FastOpen, "TCP_FASTOPEN")
	s.setOr(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds(cfg.DeferAccept), "TCP_DEFER_ACCEPT")
	s.dscp(cfg.DSCP)
}

// keepAlive sets keep-alive, in which the defaults are filled in.
func (s *setter) keepAlive(k KeepAlive) {
	if k.Idle > 0 {
		s.set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, "SO_KEEPALIVE")
		s.set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(k.Idle), "TCP_KEEPIDLE")
		s.set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(k.Interval), "TCP_KEEPINTVL")
		s.set(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count, "TCP_KEEPCNT")
	} else {
		s.setOr(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0, "SO_KEEPALIVE")
	}
	s.setOr(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(k.UserTimeout.Milliseconds()), "TCP_USER_TIMEOUT")
}

// dscp sets the code point in both protocols.
func (s *setter) dscp(value int) {
	const aboveECN = 2 // bits of the byte that are not the code point
	s.setOr(unix.IPPROTO_IP, unix.IP_TOS, value<<aboveECN, "IP_TOS")
	if domain, _ := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DOMAIN); domain == unix.AF_INET6 {
		s.setOr(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, value<<aboveECN, "IPV6_TCLASS")
	}
}

// seconds returns d in whole seconds, rounded up.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
