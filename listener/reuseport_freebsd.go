// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import "golang.org/x/sys/unix"

// reusePort is the option that spreads connections between sockets.
const reusePort = unix.SO_REUSEPORT_LB
