// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package upstream

import (
	"errors"
	"net/netip"
)

// setSocketOptions refuses the options that need Linux.
func setSocketOptions(_ int, _ bool, p *Peer, _ netip.AddrPort, portMax uint16) error {
	if p.RecvBuffer > 0 || p.SendBuffer > 0 || p.DSCP > 0 || p.FastOpen || p.KeepAlive.UserTimeout > 0 || portMax != 0 {
		return errors.ErrUnsupported
	}
	return nil
}
