// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package upstream

import "errors"

// setSocketOptions refuses the options that need Linux. FastOpen is a wish.
func setSocketOptions(_ int, _ string, p *Peer) error {
	if p.RecvBuffer > 0 || p.SendBuffer > 0 || p.DSCP > 0 || p.KeepAlive.UserTimeout > 0 {
		return errors.ErrUnsupported
	}
	return nil
}

// setLatePort is an optimisation, except for the range.
func setLatePort(_ int, _, max uint16) error {
	if max != 0 {
		return errors.ErrUnsupported
	}
	return nil
}
