// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || freebsd

package peercred

import "golang.org/x/sys/unix"

func get(fd int) (uint32, error) {
	const solLocal = 0
	cred, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
