// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package peercred

import "golang.org/x/sys/unix"

func get(fd int) (uint32, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
