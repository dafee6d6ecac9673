// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package netio

const haveSplice = false
