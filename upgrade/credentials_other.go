// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux && !darwin && !freebsd

package upgrade

import (
	"errors"
	"net"
)

// peerCredentials cannot tell who is at the other end, so that no upgrade is
// possible.
func peerCredentials(*net.UnixConn) (Credentials, error) {
	return Credentials{}, errors.New("this system does not tell who the other process is")
}

// limitMode has no effect: the permissions are set once the file is there.
func limitMode(uintptr, uint32) {}
