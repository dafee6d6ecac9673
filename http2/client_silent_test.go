// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// TestSilentOrigin: a stream that has waited in vain on a connection on which
// nothing arrives makes it be probed. Until the answer it takes no streams.
func TestSilentOrigin(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{-1, 10 * time.Second} {
		inBubble(t, interval.String(), func(t *testing.T) {
			d := dialPipe(t, Config{ReadTimeout: 3 * time.Second, PingInterval: interval})
			time.Sleep(61 * time.Second) // nothing has arrived since the handshake
			patient := d.conn.NewStream(nil, time.Minute, 0)
			if err := patient.WriteHead(newRequest("GET", "/", 0), "", false, true); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if r := receive(d.get()); !errors.Is(r.err, proxyerr.ReadTimeout) || proxyerr.CanRetry(r.err, true) {
				t.Errorf("got %v, want a read timeout that permits no other attempt", r.err)
			}
			if n := d.conn.Available(); n != 0 || d.conn.NewStream(nil, 0, 0) != nil {
				t.Errorf("the connection takes %d streams", n)
			}
			d.until("PING 0 0")
			r := receive(patient)
			if took := time.Since(start); took != 8*time.Second {
				t.Errorf("the other stream failed after %v, want 8s", took)
			}
			if !errors.Is(r.err, proxyerr.ConnClosed) || !proxyerr.CanRetry(r.err, true) || proxyerr.CanRetry(r.err, false) {
				t.Errorf("the other stream got %v, want that the connection is lost, and another attempt", r.err)
			}
			<-d.over
			if got := d.err.Error(); got != "http2: no answer to PING" {
				t.Errorf("the connection ended with %q", got)
			}
			if goAway := d.ended(); goAway != "" {
				t.Errorf("GOAWAY %s on a connection that is lost", goAway)
			}
		})
	}
}

// TestSlowOrigin: a connection that is alive stays in use though a stream has
// waited in vain.
func TestSlowOrigin(t *testing.T) {
	t.Parallel()
	inBubble(t, "answers PING", func(t *testing.T) {
		d := dialPipe(t, Config{ReadTimeout: 3 * time.Second})
		s := d.get()
		receive(s)
		s.Finish()
		if n := d.conn.Available(); n != 0 {
			t.Errorf("before the answer the connection takes %d streams", n)
		}
		time.Sleep(4 * time.Second)
		d.send(appendPing(nil, flagAck, pingData))
		synctest.Wait()
		if n := d.conn.Available(); n != 100 {
			t.Errorf("after the answer the connection takes %d streams, want 100", n)
		}
		time.Sleep(10 * time.Second)
		if r := d.conn.NewStream(nil, 0, 0); r == nil {
			t.Error("the connection has ended")
		}
	})
	inBubble(t, "serves others", func(t *testing.T) {
		d := dialPipe(t, Config{ReadTimeout: 3 * time.Second})
		other := d.get()
		slow := d.get()
		time.AfterFunc(time.Second, func() { d.send(d.headers(other.id, true, ":status=204")) })
		if r := receive(slow); !errors.Is(r.err, proxyerr.ReadTimeout) {
			t.Errorf("got %v, want a read timeout", r.err)
		}
		slow.Finish()
		other.Finish()
		if n := d.conn.Available(); n != 100 {
			t.Errorf("the connection takes %d streams, want 100", n)
		}
	})
}

// TestKillBeforeOpen: a stream can be killed before anything of it is sent.
func TestKillBeforeOpen(t *testing.T) {
	t.Parallel()
	inBubble(t, "before the head", func(t *testing.T) {
		d := dialPipe(t, Config{})
		s := d.conn.NewStream(nil, 0, 0)
		s.Kill()
		err := s.WriteHead(newRequest("GET", "/", 0), "", false, true)
		if !errors.Is(err, proxyerr.ConnClosed) || proxyerr.CanRetry(err, true) {
			t.Errorf("WriteHead: %v, want an end that permits no other attempt", err)
		}
		s.Finish()
		d.want() // nothing was sent
		if n := d.conn.Available(); n != 100 {
			t.Errorf("the connection takes %d streams, want 100", n)
		}
	})
	inBubble(t, "in the wait for SETTINGS", func(t *testing.T) {
		peer, ours := net.Pipe()
		d := dial(t, peer, ours, Config{})
		s := d.conn.NewStream(nil, 0, 0)
		start := time.Now()
		time.AfterFunc(time.Second, s.Kill)
		err := errors.Join(s.WriteHead(newRequest("CONNECT", "/", header.UnknownLength), "websocket", false, false), s.Flush())
		if !errors.Is(err, proxyerr.ConnClosed) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v, want an end after 1s", time.Since(start), err)
		}
		s.Finish()
	})
}

// TestOpenTimeout: a stream whose head finds no room has sent nothing.
func TestOpenTimeout(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		peer, ours := net.Pipe()
		cfg := Config{}.WithDefaults()
		c := NewClientConn(ours, &cfg, "http")
		defer func() {
			c.Kill()
			peer.Close()
			<-c.Closed()
		}()
		synctest.Wait() // the flusher hangs in its first write
		c.mu.Lock()
		b := c.outLocked(maxHeads)
		b.B = b.B[:maxHeads]
		c.mu.Unlock()
		s := c.NewStream(nil, 0, 2*time.Second)
		defer s.Finish()
		start := time.Now()
		err := s.WriteHead(newRequest("POST", "/", 0), "", false, true)
		if !errors.Is(err, proxyerr.WriteTimeout) || !proxyerr.CanRetry(err, false) || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %v, want a write timeout after 2s that permits another attempt", time.Since(start), err)
		}
	})
}
