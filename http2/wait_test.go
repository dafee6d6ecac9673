// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/http1"
)

// A watchFunc is a Watcher.
type watchFunc func() error

func (f watchFunc) WhileWaiting() error { return f() }

func TestWaiter(t *testing.T) {
	t.Parallel()
	start := time.Time{}
	since := func() time.Duration { return time.Since(start) }
	gone := errors.New("gone")
	tests := []struct {
		name   string
		limit  time.Duration
		watch  Watcher
		signal time.Duration // when ch has a value
		want   error
		after  time.Duration
	}{
		{"in time", time.Second, nil, 999 * time.Millisecond, nil, 999 * time.Millisecond},
		{"too late", time.Second, nil, 1001 * time.Millisecond, errTimeout, time.Second},
		{"no limit", 0, nil, 100 * time.Hour, nil, 100 * time.Hour},
		{"negative", -1, nil, 100 * time.Hour, nil, 100 * time.Hour},
		{"watched, in time", 10 * time.Second, watchFunc(func() error { return nil }), 9 * time.Second, nil, 9 * time.Second},
		{"watched, too late", 10 * time.Second, watchFunc(func() error { return nil }), 11 * time.Second, errTimeout, 10 * time.Second},
		{"gone at the first look", 10 * time.Second, watchFunc(func() error { return gone }), time.Minute, gone, 100 * time.Millisecond},
		{"gone later", -1, watchFunc(func() error {
			if since() > time.Minute {
				return gone
			}
			return nil
		}), time.Hour, gone, 60*time.Second + 500*time.Millisecond},
		{"still sending", 2 * time.Second, watchFunc(func() error {
			if since() < time.Minute {
				return http1.ErrStillSending
			}
			return nil
		}), time.Hour, errTimeout, 61500 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { // one after the other, as they share start
			synctest.Test(t, func(t *testing.T) {
				start = time.Now()
				ch := make(chan struct{}, 1)
				timer := time.AfterFunc(tt.signal, func() { signal(ch) })
				defer timer.Stop()
				w := waiter{limit: tt.limit, watch: tt.watch}
				if err := w.wait(ch); err != tt.want || since() != tt.after {
					t.Errorf("got %v after %v, want %v after %v", err, since(), tt.want, tt.after)
				}
				signal(ch)
				if err := w.wait(ch); err != nil {
					t.Errorf("with a signal: %v", err)
				}
			})
		})
	}
}
