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
// for.
const soon = 100 * time.Millisecond

// drainTries is how often a test may try to see an end as soon as that: a
// machine that is busy with other things may be late.
const drainTries = 3

// quick calls try, which returns how long the end of a process took, until that
// is soon, drainTries times at most, and fails t if it never is.
func quick(t *testing.T, try func() time.Duration) {
	t.Helper()
	var took []time.Duration
	for range drainTries {
		d := try()
		if t.Failed() {
			return
		}
		if took = append(took, d.Round(time.Millisecond)); d <= soon {
			t.Logf("the process ended after %v", took)
			return
		}
	}
	t.Errorf("the process ended %v after there was nothing left to wait for, want at most %v once", took, soon)
}

// An inHand is a way to have something in hand when the server is told to end.
type inHand struct {
	name string
	do   func(*Client, <-chan struct{}) error // begins at once, ends after the signal
	only string                               // beginning of the addresses; empty: all
}

// TestDrain ends a server while exchanges are in hand. Each is finished, and
// the process ends with the last.
func TestDrain(t *testing.T) {
	t.Parallel()
	tests := []inHand{
		{"download", func(c *Client, _ <-chan struct{}) error { return c.get("/slow/7/3000000/1500", "", 7, 3000000) }, ""},
		{"upload", func(c *Client, _ <-chan struct{}) error {
			return c.upload(context.Background(), 30, 32<<10, 50*time.Millisecond)
		}, ""},
		{"WebSocket", func(c *Client, signaled <-chan struct{}) error {
			return c.chat(c.openWebSocket, signaled)
		}, ""},
		{"HTTP/2 download", func(c *Client, _ <-chan struct{}) error { return c.downloadH2(3000000, 1500) }, "tls:"},
		{"WebSocket on HTTP/2", func(c *Client, signaled <-chan struct{}) error {
			c.tls.NextProtos = []string{"h2"}
			return c.chat(c.openStream, signaled)
		}, "tls:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { quick(t, func() time.Duration { return drainOnce(t, tt) }) })
	}
}

// chat opens a WebSocket and has 20 messages sent back after the signal.
func (c *Client) chat(open func() error, signaled <-chan struct{}) error {
	defer c.close()
	if err := open(); err != nil {
		return err
	}
	<-signaled
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		if err := c.message(); err != nil {
			return err
		}
	}
	return c.closeWebSocket()
}

// drainOnce ends a server with something in hand at each of its addresses, and
// returns how long it lived on after the last of that.
func drainOnce(t *testing.T, tt inHand) time.Duration {
	b := newBelay(t, "")
	var tally Tally
	idle := NewClient(100, b.addrs[0], &tally)
	b.must(idle.get("/content/1/100", "", 1, 100))
	signaled := make(chan struct{})
	var all sync.WaitGroup
	var last time.Time
	var mu sync.Mutex
	for i, addr := range b.addrs {
		if !strings.HasPrefix(addr, tt.only) {
			continue
		}
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
	return b.current.at.Sub(last)
}

// TestGracePeriod checks that what does not end by itself is cut off when the
// grace period is over, not before.
func TestGracePeriod(t *testing.T) {
	t.Parallel()
	const grace = 2 * time.Second
	quick(t, func() time.Duration {
		b, c := drainWithWebSocket(t, grace)
		var err error
		for err == nil { // until it is cut off
			err = c.message()
		}
		b.waitGone(patience, b.current)
		took := b.current.at.Sub(b.signaled)
		if took < grace {
			t.Errorf("cut off after %v, want %v", took, grace)
		}
		return took - grace
	})
}

// TestSecondSignal checks that a second signal cuts off what is in hand.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	quick(t, func() time.Duration {
		b, c := drainWithWebSocket(t, time.Hour)
		b.must(c.message())
		second := time.Now()
		b.must(b.current.Signal(syscall.SIGTERM))
		b.waitGone(patience, b.current)
		return b.current.at.Sub(second)
	})
}

// drainWithWebSocket tells a server with a grace period to end while a WebSocket
// is open, which goes on.
func drainWithWebSocket(t *testing.T, grace time.Duration) (*belay, *Client) {
	t.Helper()
	b := newBelay(t, "")
	b.args = append(b.args, "-c", b.writeConf(t, fmt.Sprintf("grace_period_seconds: %v\nupgrade_sock: %s\n", grace.Seconds(), b.path("upgrade.sock"))))
	b.waitGone(patience, b.upgrade(true))
	c := NewClient(1, b.addrs[0], new(Tally))
	t.Cleanup(c.close)
	b.must(c.openWebSocket())
	b.must(c.message())
	b.signaled = time.Now()
	b.must(b.current.Signal(syscall.SIGTERM))
	b.must(b.current.WaitFor("draining: 1 connection, 1 request"))
	return b, c
}

// TestBacklog checks that connections which the system has accepted, but the
// server has not, are served when the server is told to end.
func TestBacklog(t *testing.T) {
	t.Parallel()
	b := newBelay(t, "")
	b.must(b.current.Stop())
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
