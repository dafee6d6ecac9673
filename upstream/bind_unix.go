// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package upstream

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// bindLatePort binds a socket to a local address; its port is chosen later.
func bindLatePort(fd int, from netip.Addr) error {
	if err := setLatePort(fd, 0, 0); err != nil {
		return err
	}
	if from.Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()})
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()})
}
