// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
)

// goroutines tells which goroutines the connection keeps beside its reader.
func (c *ServerConn) goroutines() (flusher bool, workers int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushing, len(c.workers.idle)
}

// A connection that is idle has its reader left, whatever came before.
func TestIdleRest(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{}, func(st *ServerStream) {
			time.Sleep(20 * time.Millisecond)
			st.WriteHead(&header.Response{Status: 204}, true)
		})
		id := uint32(1)
		for round, parallel := range []int{1, 1, 10, 1} {
			for range parallel {
				s.send(s.request(id, true))
				id += 2
			}
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			if flusher, workers := s.conn.goroutines(); !flusher || workers != parallel {
				t.Errorf("round %d: flusher %v, %d workers, want one for each of %d requests", round, flusher, workers, parallel)
			}
			time.Sleep(4 * restInterval)
			synctest.Wait()
			if flusher, workers := s.conn.goroutines(); flusher || workers != 0 {
				t.Errorf("round %d: flusher %v, %d workers after a rest, want none", round, flusher, workers)
			}
		}
	})
}

// What was needed lately stays, what was not goes, while the connection is busy.
func TestBusyRest(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{}, func(st *ServerStream) {
			time.Sleep(20 * time.Millisecond)
			st.WriteHead(&header.Response{Status: 204}, true)
		})
		id := uint32(1)
		burst := func(n int) {
			for range n {
				s.send(s.request(id, true))
				id += 2
			}
			time.Sleep(50 * time.Millisecond)
		}
		burst(20)
		for range 100 { // five seconds
			burst(2)
		}
		synctest.Wait()
		if _, workers := s.conn.goroutines(); workers != 2 {
			t.Errorf("%d workers wait, want the 2 that are needed", workers)
		}
	})
}

// A stream that is silent for longer than WriteTimeout does not keep the
// flusher, and what comes then is sent all the same.
func TestRestBesideStream(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{WriteTimeout: 5 * time.Second}, func(st *ServerStream) {
			time.Sleep(time.Minute)
			st.WriteHead(&header.Response{Status: 204}, true)
		})
		s.send(s.request(1, true))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if flusher, _ := s.conn.goroutines(); flusher {
			t.Error("the flusher has been there for 30 s without work")
		}
		if got := s.until("HEADERS 1"); got == "end" {
			t.Error("the connection has ended before the response")
		}
	})
}

// The answer to the last PING may come to the reader before that has learned of
// the end: it is not waited for again.
func TestLastPingHeardEarly(t *testing.T) {
	t.Parallel()
	peer, ours := tcpPair(t)
	cfg := Config{}.WithDefaults()
	c := NewServerConn(ours, &cfg, nil, ok)
	c.mu.Lock()
	c.lastPeerID = 1 // so that there may be something that the client has not taken
	c.endLocked(nil)
	c.mu.Unlock()
	if err := c.onPing(frameHeader{length: 8, typ: framePing, flags: flagAck}, lastPing); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); c.Serve() }() // would wait for WriteTimeout, as the peer says nothing
	waitFor(t, "the end of the connection", done)
	peer.Close()
}
