// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux && !freebsd

package listener

import "golang.org/x/sys/unix"

// reusePort is the option that allows several sockets on one port.
const reusePort = unix.SO_REUSEPORT
