// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"container/heap"
	"context"
	"errors"
	"time"
)

// Status is what a Monitor knows about one address.
type Status struct {
	Healthy bool
	Since   time.Time     // when it entered this state
	Checked time.Time     // when the last check ended; zero before the first
	Took    time.Duration // how long the last check took
	Err     error         // of the last check; nil if it passed
}

// target is one address under watch. The Monitor's mu guards it.
type target struct {
	addr   string
	status Status
	streak int // checks in a row that contradict status.Healthy

	due     time.Time          // of the next check
	index   int                // in its queue; -1 while it is in none
	cancel  context.CancelFunc // ends the running check; nil if none runs
	removed bool               // no longer in the set; its running check is void
}

// failing reports whether the last check failed.
func (t *target) failing() bool { return t.status.Err != nil }

// record takes note of a check and reports whether the state has changed. A
// result that agrees with the state resets the count of those that do not.
func (t *target) record(r result, cfg Config) (changed bool) {
	t.status.Checked = r.ended
	t.status.Took = r.ended.Sub(r.started)
	t.status.Err = r.err
	if errors.Is(r.err, ErrInconclusive) {
		return false
	}
	passed := r.err == nil
	if passed == t.status.Healthy {
		t.streak = 0
		return false
	}
	need := cfg.ConsecutiveFailure
	if passed {
		need = cfg.ConsecutiveSuccess
	}
	t.streak++
	if t.streak < need {
		return false
	}
	t.streak = 0
	t.status.Healthy = passed
	t.status.Since = r.ended
	return true
}

// queue is a heap of targets, the one due first on top.
type queue []*target

func (q *queue) push(t *target)   { heap.Push((*targetHeap)(q), t) }
func (q *queue) remove(t *target) { heap.Remove((*targetHeap)(q), t.index) }

// targetHeap implements heap.Interface for queue.
type targetHeap []*target

func (h targetHeap) Len() int           { return len(h) }
func (h targetHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h targetHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *targetHeap) Push(x any) {
	t := x.(*target)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *targetHeap) Pop() any {
	old := *h
	last := len(old) - 1
	t := old[last]
	old[last] = nil
	*h = old[:last]
	t.index = -1
	return t
}
