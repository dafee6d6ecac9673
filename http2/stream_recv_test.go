// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"math/rand/v2"
	"testing"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// TestDataQueue puts pieces in and takes them out in random order of the two.
func TestDataQueue(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var q dataQueue
	var in, out []byte
	for range 2000 {
		if rnd.IntN(2) == 0 {
			piece := make([]byte, rnd.IntN(3*bytebuf.Medium)/(1+rnd.IntN(100)))
			for i := range piece {
				piece[i] = byte(rnd.Uint32())
			}
			q.add(piece)
			in = append(in, piece...)
		} else if q.len() > 0 {
			out = append(out, q.take()...)
		}
	}
	rest := q.release()
	if string(in[:len(out)]) != string(out) || len(out)+rest != len(in) {
		t.Errorf("%d bytes in, %d out and %d left, or they differ", len(in), len(out), rest)
	}
	if q.len() != 0 || q.current != nil {
		t.Error("the queue is not empty after release")
	}
}

// TestDataQueueFillsBuffers: many small pieces share a buffer.
func TestDataQueueFillsBuffers(t *testing.T) {
	t.Parallel()
	var q dataQueue
	defer q.release()
	for range bytebuf.Small {
		q.add([]byte("x"))
	}
	if q.len() != 1 {
		t.Errorf("%d buffers for %d bytes, want 1", q.len(), bytebuf.Small)
	}
}
