// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A schedule says when each of n requests is due, at a constant rate. When that
// is does not depend on how the earlier ones fare, and every latency counts
// from then: a proxy that stalls is charged for all requests that a client
// would have sent meanwhile, not only for the one that waited.
type schedule struct {
	start  time.Time
	n      int64
	every  float64       // nanoseconds from one request to the next
	cutoff time.Duration // since start, when what is unfinished is given up
}

// newSchedule returns the schedule of rate requests a second for d, from now.
func newSchedule(rate float64, d time.Duration) schedule {
	return schedule{
		start:  time.Now(),
		n:      max(1, int64(rate*d.Seconds())),
		every:  float64(time.Second) / rate,
		cutoff: d + openPatience,
	}
}

// openPatience is how long responses may take after the last request is due.
const openPatience = 3 * time.Second

// due returns when request i, counted from 0, is due, since the start.
func (s *schedule) due(i int64) time.Duration { return time.Duration(float64(i) * s.every) }

// now returns the time since the start.
func (s *schedule) now() time.Duration { return time.Since(s.start) }

// An openRecord is what a schedule has brought about. It is safe for concurrent
// use.
type openRecord struct {
	latency    histogram // from when a request is due to its response, or to the cutoff
	lag        histogram // how late a request was sent that could have been sent when due
	done       atomic.Int64
	unfinished atomic.Int64
}

// finish notes a response to a request that was due then.
func (r *openRecord) finish(now, due time.Duration) {
	r.latency.add(now - due)
	r.done.Add(1)
}

// giveUp notes that there is no response by the cutoff of s.
func (r *openRecord) giveUp(s *schedule, due time.Duration) {
	r.latency.add(s.cutoff - due)
	r.unfinished.Add(1)
}

// sent notes when a request was sent. What could send it was free from then on.
func (r *openRecord) sent(now, due, free time.Duration) {
	r.lag.add(now - max(due, free))
}

// pace sends the time at which each request is due to where it can be taken,
// when it is, and closes that. to has room for all.
func (s *schedule) pace(to chan<- time.Duration) {
	runtime.LockOSThread() // its timer slack must not be given to others
	defer close(to)
	sharpTimers()
	for i := int64(0); i < s.n; {
		now := s.now()
		for ; i < s.n && s.due(i) <= now; i++ {
			to <- s.due(i)
		}
		if i < s.n {
			// The timers of package time are good to about a millisecond.
			wait := unix.NsecToTimespec(int64(s.due(i) - s.now()))
			_ = unix.Nanosleep(&wait, nil)
		}
	}
}

// sharpTimers makes the kernel wake the calling thread as soon as its time has
// come. By default it may take 50 µs longer, to save energy.
func sharpTimers() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }
