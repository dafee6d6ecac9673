// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package upstream

import (
	"errors"
	"net/netip"
)

// bindLatePort is not available here.
func bindLatePort(int, netip.Addr) error { return errors.ErrUnsupported }
