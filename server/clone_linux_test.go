// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import "syscall"

// cloneNewPID makes a process the first one of a new PID name space.
func cloneNewPID() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
}
