// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package server

import "syscall"

// cloneNewPID returns nil: there are no PID name spaces.
func cloneNewPID() *syscall.SysProcAttr { return nil }
