// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package netio

import (
	"errors"
	"time"
)

const haveSplice = false

// Splice does not work here, and CanSplice is false.
func Splice(dst, src *Conn, n int64, taken func(n int), timeout time.Duration) (moved int64, err error) {
	return 0, errors.ErrUnsupported
}
