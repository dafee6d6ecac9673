// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerCredentials returns who is at the other end of c: the process that
// connected, or that had bound the socket.
func peerCredentials(c *net.UnixConn) (Credentials, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Credentials{}, err
	}
	var cred *unix.Ucred
	ctlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if ctlErr != nil {
		return Credentials{}, ctlErr
	}
	if err != nil {
		return Credentials{}, os.NewSyscallError("get SO_PEERCRED", err)
	}
	return Credentials{PID: int(cred.Pid), UID: cred.Uid}, nil
}

// limitMode makes a socket that is about to be bound have the permissions
// mode from the start.
func limitMode(fd uintptr, mode uint32) { unix.Fchmod(int(fd), mode) }
