// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// park parks c and returns a channel that is closed when it wakes.
func park(t *testing.T, c *Conn, until time.Time) (awake chan struct{}) {
	t.Helper()
	awake = make(chan struct{})
	if !c.Park(until, func() { close(awake) }) { // a second call panics
		t.Fatal("Park = false")
	}
	return awake
}

// wantAwake waits until a connection wakes.
func wantAwake(t *testing.T, awake chan struct{}) {
	t.Helper()
	select {
	case <-awake:
	case <-time.After(patience):
		t.Fatal("the connection does not wake")
	}
}

// wantParked checks that nothing has woken a connection so far.
func wantParked(t *testing.T, c *Conn, awake chan struct{}) {
	t.Helper()
	select {
	case <-awake:
		t.Error("the connection is awake")
	default:
	}
	if c.parkedAt.Load() == 0 {
		t.Error("the connection is not parked")
	}
}

func TestParkWakes(t *testing.T) {
	past, never := time.Unix(1, 0), time.Time{}
	for _, tt := range []struct {
		name   string
		until  time.Time
		before func(c *Conn, far net.Conn) // Park
		after  func(c *Conn, far net.Conn)
	}{
		{name: "bytes", after: func(_ *Conn, far net.Conn) { io.WriteString(far, "x") }},
		{name: "bytes before", before: func(_ *Conn, far net.Conn) { io.WriteString(far, "x") }},
		{name: "end", after: func(_ *Conn, far net.Conn) { far.Close() }},
		{name: "end before", before: func(_ *Conn, far net.Conn) { far.Close() }},
		{name: "interrupt", after: func(c *Conn, _ net.Conn) { c.Interrupt() }},
		{name: "interrupt before", before: func(c *Conn, _ net.Conn) { c.Interrupt() }},
		{name: "kill", after: func(c *Conn, _ net.Conn) { c.Kill() }},
		{name: "kill before", before: func(c *Conn, _ net.Conn) { c.Kill() }},
		{name: "bytes, interrupt and kill", until: past, after: func(c *Conn, far net.Conn) {
			io.WriteString(far, "x")
			c.Interrupt()
			c.Kill()
		}},
		{name: "time", until: past},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
				if !c.Raw() {
					if c.Park(never, func() { t.Error("woken") }) {
						t.Error("Park = true without a descriptor")
					}
					return
				}
				c.once() // what came with the handshake is used up
				if tt.before != nil {
					tt.before(c, far)
				}
				awake := park(t, c, tt.until)
				if tt.after != nil {
					tt.after(c, far)
				}
				wantAwake(t, awake)
				if at := c.parkedAt.Load(); at != 0 {
					t.Errorf("parkedAt = %d after it woke", at)
				}
			})
		})
	}
}

// A connection is parked again and again, and what comes is there each time.
func TestParkAgain(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		if !c.Raw() {
			return
		}
		c.once()
		var p [1]byte
		for i := range byte(100) {
			awake := park(t, c, time.Time{})
			wantParked(t, c, awake)
			if _, err := far.Write([]byte{i}); err != nil {
				t.Fatal(err)
			}
			wantAwake(t, awake)
			if n, err := recvLoop(c, p[:]); n != 1 || p[0] != i || err != nil {
				t.Fatalf("Recv = %d, %v with %d, want %d", n, err, p[0], i)
			}
		}
	})
}

func TestParkClosed(t *testing.T) {
	t.Parallel()
	near, _ := tcpPair(t)
	c := New(near)
	near.Close()
	if c.Park(time.Time{}, func() { t.Error("woken") }) {
		t.Error("Park = true for a connection that is closed")
	}
}

// What others have done to the descriptor does not leave a connection parked
// for ever: the next one in its place wakes it.
func TestParkReusedDescriptor(t *testing.T) {
	near, _ := tcpPair(t)
	raw, err := near.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	raw.Control(func(f uintptr) { fd = int(f) })
	lost := New(near)
	awake := park(t, lost, time.Time{})

	next, far := tcpPair(t)
	nextRaw, err := next.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nextRaw.Control(func(f uintptr) { err = syscall.Dup3(int(f), fd, syscall.O_CLOEXEC) }) // closes fd, and gives it to next
	if err != nil {
		t.Fatal(err)
	}
	c := New(near) // the number that near has is now a socket of next
	cAwake := park(t, c, time.Time{})
	wantAwake(t, awake)
	wantParked(t, c, cAwake)
	io.WriteString(far, "x")
	wantAwake(t, cAwake)
}

// The lot is there only while a connection is parked.
func TestParkEnds(t *testing.T) {
	count := func() int { // other tests run at the same time only if they are parallel
		theLot.mu.Lock()
		defer theLot.mu.Unlock()
		if theLot.file == nil && (theLot.slots != nil || theLot.parked != 0) {
			t.Errorf("an empty lot has %d slots, %d in use", len(theLot.slots), theLot.parked)
		}
		if theLot.file == nil {
			return 0
		}
		return 1
	}
	gone := func() {
		t.Helper()
		for end := time.Now().Add(patience); count() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the lot does not end")
			}
		}
	}
	gone()
	polls := eventPolls(t)
	for range 20 {
		near, far := tcpPair(t)
		c := New(near)
		awake := park(t, c, time.Time{})
		if count() != 1 {
			t.Fatal("there is no lot")
		}
		if rand.IntN(2) == 0 {
			far.Close()
		} else {
			c.Kill()
		}
		wantAwake(t, awake)
		if rand.IntN(2) == 0 {
			gone()
		}
	}
	gone()
	for end := time.Now().Add(patience); eventPolls(t) > polls; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors of epoll are open, want %d", eventPolls(t), polls)
		}
	}
}

// eventPolls returns how many descriptors of epoll the process has.
func eventPolls(t *testing.T) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, _ := os.Readlink(link); to == "anon_inode:[eventpoll]" {
			n++
		}
	}
	return n
}

// Everything at once: each connection wakes exactly once for each time that it
// is parked, and loses nothing.
func TestParkStress(t *testing.T) {
	t.Parallel()
	const conns, rounds = 50, 100
	var wg sync.WaitGroup
	for range conns {
		near, far := tcpPair(t)
		c := New(near)
		var sent, got atomic.Int64
		awake := make(chan struct{}, 1)
		stop := make(chan struct{})
		wg.Go(func() { // sends, and interrupts
			defer close(stop)
			for range rounds {
				if rand.IntN(4) == 0 {
					c.Interrupt()
					continue
				}
				if _, err := far.Write([]byte("x")); err != nil {
					t.Error(err)
					return
				}
				sent.Add(1)
				if rand.IntN(2) == 0 {
					time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
				}
			}
			far.Close()
		})
		wg.Go(func() { // receives
			var p [8]byte
			for {
				if !c.Park(time.Now().Add(time.Duration(rand.IntN(3))*time.Second), func() { awake <- struct{}{} }) {
					t.Error("Park = false")
					return
				}
				select {
				case <-awake:
				case <-time.After(patience):
					t.Error("a connection does not wake")
					return
				}
				c.Resume()
				for {
					var n int
					var err error
					if lerr := c.Loop(func() bool { n, err = c.Recv(p[:]); return true }); lerr != nil {
						break // interrupted again
					}
					if got.Add(int64(n)); err == ErrAgain {
						break
					}
					if err != nil {
						<-stop
						if got.Load() != sent.Load() {
							t.Errorf("%d bytes have come, want %d: %v", got.Load(), sent.Load(), err)
						}
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkPark(b *testing.B) {
	near, far := tcpPair(b)
	c := New(near)
	awake := make(chan struct{})
	wake := func() { awake <- struct{}{} }
	keep, _ := tcpPair(b) // keeps the lot open
	New(keep).Park(time.Time{}, func() {})
	var p [1]byte
	b.ReportAllocs()
	for b.Loop() {
		if !c.Park(time.Time{}, wake) {
			b.Fatal("Park = false")
		}
		far.Write(p[:])
		<-awake
		recvLoop(c, p[:])
	}
}
