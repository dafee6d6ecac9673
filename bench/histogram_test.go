// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"math"
	"testing"
	"time"
)

func TestBucketsAreNarrowAndInOrder(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 129, 255, 256, 1000, 123_456_789, math.MaxInt64, math.MaxUint64} {
		i := bucketOf(v)
		if top := bucketTop(i); top < v || float64(top-v) > float64(v)/subBuckets {
			t.Errorf("%d is in bucket %d, which ends at %d", v, i, top)
		}
		if i > 0 && bucketTop(i-1) >= v {
			t.Errorf("%d is in bucket %d, but the one before ends at %d", v, i, bucketTop(i-1))
		}
	}
}

func TestQuantile(t *testing.T) {
	h := new(histogram)
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
	h.add(-time.Second)
	for i := range 99 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for _, tt := range []struct {
		q    float64
		want time.Duration
	}{{0, 0}, {0.01, 0}, {0.5, 49 * time.Millisecond}, {0.985, 98 * time.Millisecond}, {0.99, 98 * time.Millisecond}, {0.991, 99 * time.Millisecond}, {1, 99 * time.Millisecond}} {
		got := h.quantile(tt.q)
		if got < tt.want || got > tt.want+tt.want/subBuckets {
			t.Errorf("quantile(%v) = %v, want %v to 1/%d above", tt.q, got, tt.want, subBuckets)
		}
	}
}
