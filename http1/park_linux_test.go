// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// A parkRig is a connection of which is known whether it is parked.
type parkRig struct {
	t      *testing.T
	client net.Conn
	br     *bufio.Reader
	conn   *ServerConn
	parked chan struct{} // has an element for each time
	wakes  atomic.Int32
	done   chan struct{} // closed at the end
}

func newParkRig(t *testing.T, cfg ServerConfig) *parkRig {
	t.Helper()
	client, server := tcpPair(t)
	cfg = cfg.WithDefaults()
	r := &parkRig{
		t: t, client: client, br: bufio.NewReader(client), conn: NewServerConn(server, &cfg, echo),
		parked: make(chan struct{}, 1000), done: make(chan struct{}),
	}
	go r.serve()
	t.Cleanup(func() {
		r.conn.Kill()
		<-r.done
	})
	return r
}

func (r *parkRig) serve() {
	if r.conn.ServeOrPark(func() { r.wakes.Add(1); r.serve() }) {
		r.parked <- struct{}{}
		return
	}
	close(r.done)
}

// waitParked waits until the connection is parked once more.
func (r *parkRig) waitParked() {
	r.t.Helper()
	select {
	case <-r.parked:
	case <-time.After(patience):
		r.t.Fatal("the connection is not parked")
	}
}

// get makes a request.
func (r *parkRig) get() {
	r.t.Helper()
	send(r.t, r.client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	recvResponse(r.t, r.br, "GET")
}

// A connection is parked while it is idle, before its first request and between
// others, and serves each as if it were not.
func TestServeOrPark(t *testing.T) {
	t.Parallel()
	r := newParkRig(t, ServerConfig{ParkAfter: time.Millisecond})
	for i := range 10 {
		r.waitParked()
		if got := int(r.wakes.Load()); got != i {
			t.Fatalf("it was woken %d times, want %d", got, i)
		}
		r.get()
	}
	r.waitParked()
	send(t, r.client, "GET /a HTTP/1.1\r\nHo") // is not idle
	select {
	case <-r.parked:
		t.Error("a connection with a part of a head was parked")
	case <-time.After(20 * time.Millisecond):
	}
	send(t, r.client, "st: h\r\n\r\n")
	recvResponse(t, r.br, "GET")
	r.waitParked()
	r.client.Close()
	waitFor(t, "the end", r.done)
}

// The limits on idle connections hold for those that are parked.
func TestServeOrParkLimits(t *testing.T) {
	t.Parallel()
	const limit = 1500 * time.Millisecond
	for _, tt := range []struct {
		name     string
		cfg      ServerConfig
		requests int
	}{
		{"before the first request", ServerConfig{HeadTimeout: limit, IdleTimeout: -1}, 0},
		{"after it", ServerConfig{HeadTimeout: -1, IdleTimeout: limit}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			tt.cfg.ParkAfter = time.Millisecond
			r := newParkRig(t, tt.cfg)
			r.waitParked()
			for range tt.requests {
				r.get()
				r.waitParked()
			}
			if _, err := r.br.ReadByte(); err != io.EOF {
				t.Errorf("read = %v, want EOF", err)
			}
			if took := time.Since(start); took < limit {
				t.Errorf("ended after %v, want at least %v", took, limit)
			}
			waitFor(t, "the end", r.done)
		})
	}
}

// A request that comes behind the limit, while the connection is still open, is
// served: parked connections are not looked at all the time.
func TestServeOrParkLate(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	served := 0
	for range 6 {
		r := newParkRig(t, ServerConfig{ParkAfter: time.Millisecond, IdleTimeout: limit})
		r.waitParked()
		r.get()
		r.waitParked()
		r.client.SetReadDeadline(time.Now().Add(limit + 50*time.Millisecond))
		if _, err := r.br.ReadByte(); err == io.EOF {
			continue // it has ended in time
		}
		r.client.SetReadDeadline(time.Now().Add(patience))
		io.WriteString(r.client, get11)
		if _, err := r.br.ReadByte(); err == nil {
			served++
		} else if err != io.EOF && !isReset(err) {
			t.Error(err)
		}
	}
	if served == 0 { // some may have met the very moment of the end
		t.Error("no request was served")
	}
}

// A connection of TLS whose buffers nobody has looked into is not parked.
func TestServeOrParkLooks(t *testing.T) {
	t.Parallel()
	_, server := tcpPair(t)
	cfg := ServerConfig{ParkAfter: time.Millisecond}.WithDefaults()
	c := NewServerConn(server, &cfg, echo)
	c.mayPark = true
	c.idleSince = time.Now().Add(-time.Second)
	if got := c.afterWait(os.ErrDeadlineExceeded); got != goOn {
		t.Errorf("before a look: %d, want %d", got, goOn)
	}
	c.io.ArmRead(time.Now().Add(patience))
	c.io.Loop(func() bool {
		if c.receive() || !c.looked {
			t.Error("a look finds something, or is not one")
		}
		return true
	})
	if got := c.afterWait(os.ErrDeadlineExceeded); got != standBy {
		t.Errorf("after it: %d, want %d", got, standBy)
	}
}

// A connection that was woken for nothing is parked again.
func TestServeOrParkAgain(t *testing.T) {
	t.Parallel()
	_, server := tcpPair(t)
	cfg := ServerConfig{ParkAfter: time.Millisecond, HeadTimeout: -1}.WithDefaults()
	c := NewServerConn(server, &cfg, echo)
	c.mayPark = true
	c.idleSince = time.Now().Add(-time.Second)
	c.next = standBy
	if c.awake(); c.next != goOn {
		t.Errorf("awake: %d, want %d", c.next, goOn)
	}
	defer time.AfterFunc(patience, c.Kill).Stop()
	for c.next == goOn { // more than once if this goroutine is held up
		c.next = c.afterWait(c.io.Loop(c.receive))
	}
	if c.next != standBy {
		t.Errorf("later: %d, want %d", c.next, standBy)
	}
}

// A connection that must not be parked, or has no time to, is not.
func TestServeOrParkNot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  ServerConfig
	}{
		{"negative", ServerConfig{ParkAfter: -1, IdleTimeout: 50 * time.Millisecond}},
		{"ends before", ServerConfig{ParkAfter: time.Hour, IdleTimeout: 50 * time.Millisecond}},
		{"ends then", ServerConfig{ParkAfter: time.Second, IdleTimeout: time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newParkRig(t, tt.cfg)
			r.get()
			waitFor(t, "the end", r.done)
			if len(r.parked) > 0 {
				t.Error("it was parked")
			}
		})
	}
}

// Drain and Kill end a parked connection at once; with patience, one more
// request is served.
func TestServeOrParkDrain(t *testing.T) {
	t.Parallel()
	var patient atomic.Bool
	patience := func() time.Duration {
		if patient.Load() {
			return time.Hour
		}
		return 0
	}
	cfg := ServerConfig{ParkAfter: time.Millisecond, IdleTimeout: -1, Patience: patience}
	for _, end := range []func(*ServerConn){(*ServerConn).Drain, (*ServerConn).Kill} {
		r := newParkRig(t, cfg)
		r.waitParked()
		r.get()
		r.waitParked()
		end(r.conn)
		waitFor(t, "the end", r.done)
	}
	r := newParkRig(t, cfg)
	r.waitParked()
	r.get()
	r.waitParked()
	patient.Store(true)
	r.conn.Drain()
	r.get()
	waitFor(t, "the end", r.done)
}

// A drain that comes at the moment of a request either ends the connection or
// lets the request be answered.
func TestServeOrParkDrainRace(t *testing.T) {
	t.Parallel()
	for range 100 {
		r := newParkRig(t, ServerConfig{ParkAfter: time.Millisecond, IdleTimeout: -1})
		r.waitParked()
		r.get()
		r.waitParked()
		go r.conn.Drain()
		send(t, r.client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
		b, err := io.ReadAll(r.br)
		got := dateLine.ReplaceAllString(string(b), "")
		answers := []string{"", echoed(`GET /a h "" ""`, closes), echoed(`GET /a h "" ""`)}
		if !slices.Contains(answers, got) || err != nil && !isReset(err) {
			t.Fatalf("got %q, %v, want an answer or nothing", got, err)
		}
		waitFor(t, "the end", r.done)
	}
}
