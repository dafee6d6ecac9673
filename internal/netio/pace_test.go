// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"errors"
	"math"
	"net"
	"sync"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	type step struct {
		moved  int
		waited time.Duration
		may    bool // wait again
	}
	const second = time.Second
	tests := []struct {
		name  string
		rate  int
		steps []step
	}{
		{"any", 0, []step{{0, time.Hour, true}, {1, time.Hour, true}}},
		{"negative", -1, []step{{0, time.Hour, true}}},
		{"grace", 100, []step{{0, 5 * second, true}, {0, 1, false}}},
		{"a byte is not enough", 100, []step{{0, 5 * second, true}, {1, 11 * time.Millisecond, false}}},
		{"a byte is enough", 100, []step{{0, 5 * second, true}, {1, 10 * time.Millisecond, true}, {0, 1, false}}},
		{"caught up", 100, []step{{0, 10 * second, false}, {500, 0, true}, {0, 1, false}}},
		{"most credit", 100, []step{{1 << 30, 0, true}, {1 << 30, 60 * second, true}, {0, 1, false}}},
		{"behind, but just fast enough", 100, []step{{0, 100 * second, false}, {9500, 80 * second, false}, {8000, 80 * second, false}, {8000, 0, true}}},
		{"highest rate", math.MaxInt, []step{ // 16 seconds each if an int has 32 bits
			{math.MaxInt, 0, true}, {math.MaxInt, 0, true}, {math.MaxInt, 0, true}, {math.MaxInt, 60 * second, true}, {0, 1, false}}},
	}
	for _, tt := range tests {
		p := NewPace(tt.rate, 5*second)
		for i, s := range tt.steps {
			p.Moved(s.moved)
			p.Waited(s.waited)
			if got := p.MayWait(); got != s.may {
				t.Errorf("%s, step %d: MayWait = %v, want %v (credit %v)", tt.name, i, got, s.may, p.credit)
			}
		}
	}
	if p := NewPace(0, 0); p.Active() {
		t.Error("a Pace without a rate is active")
	}
}

// A peer that goes on taking a little is given up all the same.
func TestWritePace(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		c.SetWritePace(NewPace(maxRate, 20*time.Millisecond))
		takeSlowly(t, far)
		data := make([]byte, 1<<20)
		for {
			_, err := c.Write(nil, data, nil, patience)
			if err == nil {
				continue
			}
			if !errors.Is(err, ErrTooSlow) || !IsTimeout(err) {
				t.Errorf("Write = %v, want %v", err, ErrTooSlow)
			}
			return
		}
	})
}

// takeSlowly reads 64 KiB every few milliseconds until the test is over.
func takeSlowly(t *testing.T, nc net.Conn) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for tick := time.Tick(5 * time.Millisecond); ; {
			select {
			case <-tick:
				if _, err := nc.Read(buf); err != nil {
					return
				}
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); nc.Close(); wg.Wait() })
}
