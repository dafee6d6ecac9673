// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package netio

import "time"

// CanPark tells whether Conn.Park may return true.
const CanPark = false

// There is no lot: every connection keeps its goroutine.
type lot struct{}

var theLot lot

func (*lot) park(*Conn, time.Time, func()) bool { return false }

func (c *Conn) unpark() {}
