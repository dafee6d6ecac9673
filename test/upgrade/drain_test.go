// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// soon is how long the end of a process may take once nothing is left to wait
// for. On a machine with nothing else to do it is some milliseconds.
const soon = time.Second

// TestDrain ends a server while exchanges are in hand. Each is finished, and
// the process ends with the last.
func TestDrain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(*Client, <-chan struct{}) error // begins at once, ends after the signal
	}{
		{"download", func(c *Client, _ <-chan struct{}) error { return c.get("/slow/7/3000000/1500", "", 7, 3000000) }},
		{"upload", func(c *Client, _ <-chan struct{}) error {
			return c.upload(context.Background(), 30, 32<<10, 50*time.Millisecond)
		}},
		{"WebSocket", func(c *Client, signaled <-chan struct{}) error {
			defer c.close()
			if err := c.openWebSocket(); err != nil {
				return err
			}
			<-signaled
			for range 20 {
				time.Sleep(20 * time.Millisecond)
				if err := c.message(); err != nil {
					return err
				}
			}
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBelay(t, "")
			var tally Tally
			idle := NewClient(100, b.addrs[0], &tally)
			b.must(idle.get("/content/1/100", "", 1, 100))
			signaled := make(chan struct{})
			var all sync.WaitGroup
			var last time.Time
			var mu sync.Mutex
			for i, addr := range b.addrs {
				all.Go(func() {
					err := tt.do(NewClient(i, addr, &tally), signaled)
					mu.Lock()
					defer mu.Unlock()
					last = time.Now()
					if err != nil {
						t.Errorf("%s: %v", addr, err)
					}
				})
			}
			time.Sleep(300 * time.Millisecond) // all are in hand
			b.must(b.current.Signal(syscall.SIGTERM))
			b.must(b.current.WaitFor("draining: "))
			close(signaled)
			if _, err := idle.in.ReadByte(); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("idle connection: %v, want its end", err)
			}
			mu.Lock()
			if !last.IsZero() {
				t.Error("an exchange ended before the idle connection was closed")
			}
			mu.Unlock()
			all.Wait()
			b.waitGone(patience, b.current)
			if took := b.current.at.Sub(last); took > soon {
				t.Errorf("the process ended %v after the last exchange, want at most %v", took, soon)
			} else {
				t.Logf("the process ended %v after the last exchange", took.Round(time.Millisecond))
			}
		})
	}
}

// TestGracePeriod checks that what does not end by itself is cut off when the
// grace period is over, or on a second signal.
func TestGracePeriod(t *testing.T) {
	t.Parallel()
	for _, second := range []bool{false, true} {
		grace := 2
		if second {
			grace = 100
		}
		b := newBelay(t, "")
		b.args = append(b.args, "-c", b.writeConf(t, fmt.Sprintf("grace_period_seconds: %d\nupgrade_sock: %s\n", grace, b.path("upgrade.sock"))))
		b.waitGone(patience, b.upgrade(true))
		var tally Tally
		c := NewClient(1, b.addrs[0], &tally)
		b.must(c.openWebSocket())
		b.must(c.message())
		began := time.Now()
		b.must(b.current.Signal(syscall.SIGTERM))
		b.must(b.current.WaitFor("draining: 1 connection, 1 request"))
		b.must(c.message())
		if second {
			b.must(b.current.Signal(syscall.SIGTERM))
		}
		if err := c.message(); err == nil {
			for err == nil { // until it is cut off
				err = c.message()
			}
		}
		took := time.Since(began)
		b.waitGone(patience, b.current)
		if want := time.Duration(grace) * time.Second; !second && (took < want-100*time.Millisecond || took > want+2*time.Second) {
			t.Errorf("cut off after %v, want %v", took, want)
		} else if second && took > 10*time.Second {
			t.Errorf("cut off %v after the second signal", took)
		}
		c.close()
	}
}

// TestBacklog checks that connections which the system has accepted, but the
// server has not, are served when the server is told to end.
func TestBacklog(t *testing.T) {
	t.Parallel()
	b := newBelay(t, "")
	b.must(b.current.Signal(syscall.SIGSTOP))
	var all sync.WaitGroup
	var tally Tally
	started := make(chan struct{}, 100)
	for i := range 60 {
		c := NewClient(i, b.addrs[i%2], &tally) // TLS needs the server to get anywhere
		all.Go(func() {
			defer c.close()
			if err := c.dial(); err != nil {
				t.Error(err)
			}
			started <- struct{}{}
			if err := c.get("/content/5/2000", "", 5, 2000); err != nil {
				t.Errorf("%s: %v", c.Addr, err)
			}
		})
	}
	for range 60 {
		<-started
	}
	b.must(b.current.Signal(syscall.SIGTERM))
	b.must(b.current.Signal(syscall.SIGCONT))
	all.Wait()
	b.waitGone(patience, b.current)
	if text := b.current.Output(); !strings.Contains(text, "msg=stopped") {
		t.Errorf("log:\n%s", text)
	}
}
