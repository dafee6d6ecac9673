// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || freebsd

package main

import "golang.org/x/sys/unix"

// The requests that get and set the state of a terminal.
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)
