// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram counts durations in buckets whose width is at most 1/128 of
// their value. It is safe for concurrent use; the zero value is empty.
type histogram struct {
	counts [64 * subBuckets]atomic.Uint64
}

const (
	subBits    = 7
	subBuckets = 1 << subBits
)

// add counts d; a negative d counts as 0.
func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))].Add(1)
}

// quantile returns the least duration that at least the share q, in 0 to 1,
// of all counted durations do not exceed, to the width of a bucket. It
// returns 0 if nothing has been counted.
func (h *histogram) quantile(q float64) time.Duration {
	var total uint64
	for i := range h.counts {
		total += h.counts[i].Load()
	}
	rank := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for i := range h.counts {
		seen += h.counts[i].Load()
		if total > 0 && seen >= max(rank, 1) {
			return time.Duration(bucketTop(i))
		}
	}
	return 0
}

// bucketOf returns the bucket of v: its position of the highest bit and the
// subBits bits after that.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// bucketTop returns the greatest value in bucket i.
func bucketTop(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return (uint64(i%subBuckets+subBuckets)+1)<<shift - 1
}
