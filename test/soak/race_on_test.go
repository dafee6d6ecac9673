// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package soak

const raceEnabled = true
