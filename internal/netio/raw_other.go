// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package netio

import "errors"

const haveRaw = false

func recv(uintptr, []byte) (int, error)            { return 0, errors.ErrUnsupported }
func recvShown(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }
func send(uintptr, *[3][]byte) (int, error)        { return 0, errors.ErrUnsupported }
func peek(uintptr) IdleState                       { return Quiet }
func showEnd(uintptr) bool                         { return false }
func ended(uintptr, int) bool                      { return false }
