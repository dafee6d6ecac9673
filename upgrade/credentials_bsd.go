// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || freebsd

package upgrade

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerCredentials returns who is at the other end of c.
func peerCredentials(c *net.UnixConn) (Credentials, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Credentials{}, err
	}
	var cred *unix.Xucred
	ctlErr := raw.Control(func(fd uintptr) {
		const solLocal = 0
		cred, err = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED)
	})
	if ctlErr != nil {
		return Credentials{}, ctlErr
	}
	if err != nil {
		return Credentials{}, os.NewSyscallError("get LOCAL_PEERCRED", err)
	}
	return Credentials{UID: cred.Uid}, nil
}

// limitMode has no effect: the permissions are set once the file is there.
func limitMode(uintptr, uint32) {}
