// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package daemon

// noNewPrivileges does nothing: only Linux has such a flag.
func noNewPrivileges() error { return nil }
