// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// sendBytes writes a response of n bytes and returns the error of the last write.
func sendBytes(s *ServerStream, n int) error {
	if err := s.WriteHead(&header.Response{Status: 200, Length: int64(n)}, false); err != nil {
		return err
	}
	return s.WriteBody(make([]byte, n), true)
}

// TestSendWindows: a response stops at the window of its stream and at that of
// the connection, and goes on when they open.
func TestSendWindows(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{}, func(s *ServerStream) { sendBytes(s, 100_000) })
		got := map[uint32]int{}
		take := func() string { // everything that is sent until nothing moves
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, f := range s.frames {
				if f.typ == frameData {
					got[f.stream] += f.length
				}
			}
			s.frames = nil
			return fmt.Sprint(got)
		}
		check := func(what, want string) {
			t.Helper()
			if got := take(); got != want {
				t.Errorf("%s: sent %s, want %s", what, got, want)
			}
		}
		s.send(s.request(1, true))
		check("at first", "map[1:65535]")
		s.send(s.request(3, true))
		check("the connection is used up", "map[1:65535]")
		s.send(appendWindowUpdate(nil, 1, 10))
		check("only the stream opened", "map[1:65535]")
		s.send(appendWindowUpdate(nil, 0, 100))
		check("the connection opened for what came first", "map[1:65535 3:100]")
		s.send(appendSettings(nil, setting{settingInitialWindowSize, 0}))
		s.send(appendWindowUpdate(nil, 0, 1_000_000))
		check("the initial window shrank", "map[1:65535 3:100]")
		s.send(appendWindowUpdate(nil, 3, 101))
		check("a window above zero again", "map[1:65535 3:101]")
		s.send(appendSettings(nil, setting{settingInitialWindowSize, 65535 + 5}))
		check("the initial window grew", "map[1:65550 3:65641]")
		s.send(join(appendWindowUpdate(nil, 1, 100_000), appendWindowUpdate(nil, 3, 100_000)))
		check("in the end", "map[1:100000 3:100000]")
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		if n := len(s.conn.streams); n != 0 || !s.conn.waiting.empty() {
			t.Errorf("%d streams left, want none", n)
		}
	})
}

// TestWriteTimeout: a client that opens no window loses the stream after the
// time, whatever else it does on the connection, and soon after it if it opens
// next to none; one that takes minRate does not.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		every func(p *served) // once a second
		want  error
		after time.Duration // to the second
	}{
		{"nothing", func(p *served) {}, proxyerr.WriteTimeout, 10 * time.Second},
		{"PING", func(p *served) { p.send(appendPing(nil, 0, pingData)) }, proxyerr.WriteTimeout, 10 * time.Second},
		{"other requests", func(p *served) { p.send(p.request(uint32(3+time.Now().Unix()%100_000*2), true, "other=x")) }, proxyerr.WriteTimeout, 10 * time.Second},
		{"window of the connection", func(p *served) { p.send(appendWindowUpdate(nil, 0, 1)) }, proxyerr.WriteTimeout, 10 * time.Second},
		{"a byte of window", func(p *served) { p.send(appendWindowUpdate(nil, 1, 1)) }, proxyerr.WriteTimeout, 10 * time.Second},
		{"less than minRate", func(p *served) { p.send(appendWindowUpdate(nil, 1, 100)) }, proxyerr.WriteTimeout, 17 * time.Second},
		{"minRate", func(p *served) { p.send(appendWindowUpdate(nil, 1, minRate)) }, nil, 29 * time.Second},
	}
	for _, tt := range tests {
		inBubble(t, tt.name, func(t *testing.T) {
			done := make(chan error, 1)
			s := servePipe(t, Config{WriteTimeout: 10 * time.Second}, func(s *ServerStream) {
				if s.Request().Fields.Has("other") {
					s.WriteHead(&header.Response{Status: 204}, true)
					return
				}
				s.WriteHead(&header.Response{Status: 200, Length: 30 * minRate}, false)
				for i := range 30 { // each piece is a wait of its own
					if err := s.WriteBody(make([]byte, minRate), i == 29); err != nil || i == 29 {
						done <- err
						return
					}
				}
			})
			s.send(appendSettings(nil, setting{settingInitialWindowSize, 1}))
			s.sync()
			start := time.Now()
			s.send(s.request(1, true))
			for range 100 {
				tt.every(s)
				select {
				case err := <-done:
					if !errors.Is(err, tt.want) && err != tt.want || time.Since(start).Round(time.Second) != tt.after {
						t.Errorf("got %v after %v, want %v after %v", err, time.Since(start), tt.want, tt.after)
					}
					if tt.want != nil {
						s.until("RST_STREAM 1 INTERNAL_ERROR")
					}
					return
				case <-time.After(time.Second):
				}
			}
			t.Error("the stream lives on")
		})
	}
}

// TestFairness: streams of one urgency share the connection, more urgent ones
// go first.
func TestFairness(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{}, func(s *ServerStream) { sendBytes(s, 200_000) })
		s.send(appendSettings(nil, setting{settingInitialWindowSize, 1 << 20}))
		s.send(join(s.request(1, true), s.request(3, true), s.request(5, true, "priority=u=0"), s.request(7, true, "priority=u=7"), s.request(9, true)))
		synctest.Wait()
		s.send(rawFrame(framePriorityUpdate, 0, 0, append([]byte{0, 0, 0, 7}, "u=0, i"...)))
		s.sync()
		s.mu.Lock()
		s.frames = nil
		s.mu.Unlock()
		s.send(appendWindowUpdate(nil, 0, 2_000_000))
		var order []uint32
		sent := map[uint32]int{}
		for range 5 {
			for done := false; !done; {
				f, ok := s.next()
				if !ok {
					t.Fatal("the connection has ended")
				}
				if f.typ == frameData {
					if sent[f.stream] += f.length; f.has(flagEndStream) {
						order = append(order, f.stream)
						done = true
					}
				}
			}
			if len(order) == 2 { // both urgent ones are done: the others have had equal shares
				low := min(sent[1], sent[3], sent[9])
				high := max(sent[1], sent[3], sent[9])
				if high-low > 70_000 {
					t.Errorf("shares of %v, want them to be about equal", sent)
				}
			}
		}
		if got := fmt.Sprint(order[:2]); got != "[5 7]" && got != "[7 5]" {
			t.Errorf("order of the ends: %v, want the urgent 5 and 7 first", order)
		}
	})
}

// TestSequential: responses that the client takes one after the other, which
// it may say before it asks for them, leave one after the other.
func TestSequential(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{}, func(s *ServerStream) { sendBytes(s, 100_000) })
		s.send(appendSettings(nil, setting{settingInitialWindowSize, 0}))
		s.send(rawFrame(framePriorityUpdate, 0, 0, append([]byte{0, 0, 0, 7}, "u=1"...)))
		s.send(join(s.request(1, true, "priority=u=1, i=?0"), s.request(3, true, "priority=u=1"), s.request(5, true, "priority=u=1"), s.request(7, true)))
		synctest.Wait() // all wait for a window
		s.send(join(appendSettings(nil, setting{settingInitialWindowSize, 1 << 20}), appendWindowUpdate(nil, 0, 2_000_000)))
		var order []uint32
		for ended := 0; ended < 4; {
			f, ok := s.next()
			if !ok {
				t.Fatal("the connection has ended")
			}
			if f.typ != frameData {
				continue
			}
			if len(order) == 0 || order[len(order)-1] != f.stream {
				order = append(order, f.stream)
			}
			if f.has(flagEndStream) {
				ended++
			}
		}
		if got := fmt.Sprint(order); got != "[1 3 5 7]" {
			t.Errorf("data came from the streams %s, want one after the other", got)
		}
	})
}

// TestPeerDoesNotRead: what is kept for a client that reads nothing is bounded:
// data, heads and answers to what it sends.
func TestPeerDoesNotRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		handle func(*ServerStream)
		send   func(p *rawPeer, i int) []byte
	}{
		{"data", func(s *ServerStream) { sendBytes(s, 1<<20) }, func(p *rawPeer, i int) []byte { return p.request(uint32(2*i+1), true) }},
		{"heads", func(s *ServerStream) {
			res := &header.Response{Status: 200}
			for i := range 20 {
				res.Fields.Add(fmt.Sprint("x-", i), strings.Repeat("\x80", 1000))
			}
			s.WriteHead(res, true)
		}, func(p *rawPeer, i int) []byte { return p.request(uint32(2*i+1), true) }},
		{"informational heads", func(s *ServerStream) {
			res := &header.Response{Status: 103}
			res.Fields.Add("link", strings.Repeat("\x80", 3000))
			for s.WriteHead(res, false) == nil {
			}
		}, func(p *rawPeer, i int) []byte { return p.request(uint32(2*i+1), true) }},
		{"PING", ok, func(p *rawPeer, i int) []byte { return bytes.Repeat(appendPing(nil, 0, pingData), 1000) }},
		{"SETTINGS", ok, func(p *rawPeer, i int) []byte { return bytes.Repeat(appendSettings(nil), 1000) }},
	}
	for _, tt := range tests {
		inBubble(t, tt.name, func(t *testing.T) {
			peer, ours := pipePair(t)
			cfg := Config{WriteTimeout: 10 * time.Second, MaxGlitches: 1 << 20, MaxStreams: 1000}.WithDefaults()
			c := NewServerConn(ours, &cfg, nil, tt.handle)
			var wg sync.WaitGroup
			wg.Go(c.Serve)
			start := time.Now()
			raw := newRawPeer(t, &scriptConn{})
			highest := 0
			peer.Write(hello(setting{settingInitialWindowSize, 1 << 30}))
			peer.Write(appendWindowUpdate(nil, 0, 1<<30))
			for i := range 100 {
				peer.Write(tt.send(raw, i))
				synctest.Wait()
				c.mu.Lock()
				highest = max(highest, c.pendingLocked())
				c.mu.Unlock()
			}
			wg.Wait()
			if highest > maxControl+64<<10 {
				t.Errorf("%d bytes were kept, want at most %d", highest, maxControl+64<<10)
			}
			if d := time.Since(start); d > 15*time.Second {
				t.Errorf("the connection lived for %v, want about WriteTimeout", d)
			}
		})
	}
}

// TestTunnelAnyRate: what is slow by nature is bounded by its idle time alone.
func TestTunnelAnyRate(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		done := make(chan error, 1)
		s := servePipe(t, Config{WriteTimeout: 10 * time.Second}, func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: -1}, false)
			s.StartTunnelWrites(20 * time.Second)
			done <- s.WriteBody(make([]byte, 10), true)
		})
		s.send(appendSettings(nil, setting{settingInitialWindowSize, 0}))
		s.send(s.headers(1, false, ":method=CONNECT", ":scheme=http", ":path=/", ":authority=h", ":protocol=x"))
		for range 10 {
			time.Sleep(15 * time.Second)
			s.send(appendWindowUpdate(nil, 1, 1))
		}
		if err := <-done; err != nil {
			t.Errorf("WriteBody: %v", err)
		}
	})
}
