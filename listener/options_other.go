// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package listener

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsupported returns an error if cfg has options that this system lacks.
func unsupported(cfg Config) error {
	for _, o := range []struct {
		set  bool
		name string
	}{
		{cfg.FastOpen != 0, "FastOpen"},
		{cfg.DeferAccept != 0, "DeferAccept"},
		{cfg.DSCP != 0, "DSCP"},
		{cfg.KeepAlive.UserTimeout != 0, "KeepAlive.UserTimeout"},
	} {
		if o.set {
			return fmt.Errorf("%s is not supported on %s", o.name, runtime.GOOS)
		}
	}
	return nil
}

// perConnKeepAlive is how keep-alive must be set on each connection.
func perConnKeepAlive(k KeepAlive) net.KeepAliveConfig {
	if k.Idle < 0 {
		return net.KeepAliveConfig{}
	}
	return net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: k.Count}
}

// setOptions sets the options of cfg on a socket that is about to be bound.
// Accepted connections inherit the sizes of the buffers.
func setOptions(c syscall.RawConn, network string, cfg Config) error {
	var err error
	set := func(fd uintptr, opt, value int, name string) {
		if err == nil {
			err = os.NewSyscallError("set "+name, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, value))
		}
	}
	ctlErr := c.Control(func(fd uintptr) {
		if cfg.RecvBuffer > 0 {
			set(fd, unix.SO_RCVBUF, cfg.RecvBuffer, "SO_RCVBUF")
		}
		if cfg.SendBuffer > 0 {
			set(fd, unix.SO_SNDBUF, cfg.SendBuffer, "SO_SNDBUF")
		}
		if cfg.ReusePort && network != "unix" {
			set(fd, reusePort, 1, "SO_REUSEPORT")
		}
	})
	if ctlErr != nil {
		return ctlErr
	}
	return err
}

// setNamed sets the options that cfg, without defaults, has on a socket that the
// service manager has bound.
func setNamed(c syscall.RawConn, network string, cfg Config) error {
	return setOptions(c, network, cfg)
}

// keepAliveOf returns the defaults: they are set on each connection.
func keepAliveOf(*os.File) KeepAlive { return KeepAlive{} }

// setInherited sets the options of cfg on a socket that another process has
// bound.
func setInherited(c syscall.RawConn, network string, cfg Config) error {
	return setOptions(c, network, cfg)
}
