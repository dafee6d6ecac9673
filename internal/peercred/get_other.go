// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !freebsd

package peercred

import "errors"

func get(int) (uint32, error) { return 0, errors.ErrUnsupported }
