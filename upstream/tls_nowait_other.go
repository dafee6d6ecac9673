// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package upstream

func readNow(uintptr, []byte) (int, error) { return 0, errWouldWait }

func writeNow(uintptr, []byte) (int, error) { return 0, errWouldWait }
