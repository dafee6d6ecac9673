// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
)

// A flood is something that a client can send any amount of.
type flood struct {
	name   string
	send   func(p *rawPeer, i uint32) []byte // frames of turn i
	turns  int                               // after which it must have ended
	handle func(*ServerStream)
}

// work is a handler that takes its time, until the client has gone.
func work(s *ServerStream) {
	for range 100 {
		if s.ClientGone() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ok(s)
}

// floods has every flood that a connection must not survive. They are as in
// CVE-2019-9511 to -9518, CVE-2023-44487 (rapid reset), CVE-2024-27316 and its
// like (CONTINUATION), CVE-2025-8671 (resets that we are made to send).
var floods = []flood{
	{"PING", func(p *rawPeer, _ uint32) []byte { return appendPing(nil, 0, pingData) }, 2000, ok},
	{"PING answers", func(p *rawPeer, _ uint32) []byte { return appendPing(nil, flagAck, pingData) }, 2000, ok},
	{"SETTINGS", func(p *rawPeer, _ uint32) []byte { return appendSettings(nil) }, 2000, ok},
	{"large SETTINGS", func(p *rawPeer, i uint32) []byte {
		list := make([]setting, 64)
		for j := range list {
			list[j] = setting{settingInitialWindowSize, i%2*1000 + uint32(j)}
		}
		return appendSettings(nil, list...)
	}, 2000, ok},
	{"header tables", func(p *rawPeer, i uint32) []byte {
		return appendSettings(nil, setting{settingHeaderTableSize, i % 2 * 4096})
	}, 2000, ok},
	{"SETTINGS acknowledgements", func(p *rawPeer, _ uint32) []byte { return appendSettingsAck(nil) }, 2000, ok},
	{"PRIORITY", func(p *rawPeer, i uint32) []byte { return rawFrame(framePriority, 0, 2*i+1, make([]byte, 5)) }, 2000, ok},
	{"PRIORITY_UPDATE", func(p *rawPeer, i uint32) []byte {
		return rawFrame(framePriorityUpdate, 0, 0, []byte{0, 0, 0, 1, 'u', '=', byte('0' + i%8)})
	}, 2000, ok},
	{"unknown frames", func(p *rawPeer, i uint32) []byte { return rawFrame(0xbe, 0, i, nil) }, 2000, ok},
	{"WINDOW_UPDATE", func(p *rawPeer, _ uint32) []byte { return appendWindowUpdate(nil, 0, 1) }, 2000, ok},
	{"GOAWAY", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return p.post(1)
		}
		return appendGoAway(nil, 0, NoError, "")
	}, 2000, echo},
	{"empty DATA", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return p.post(1)
		}
		return dataFrame(1, false, "")
	}, 2000, echo},
	{"DATA of padding", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return p.post(1)
		}
		return rawFrame(frameData, flagPadded, 1, []byte{0})
	}, 2000, echo},
	{"trailers of ended streams", func(p *rawPeer, i uint32) []byte {
		if i < 40 {
			return p.post(2*i + 1)
		}
		return p.headers(1, true, "a=b")
	}, 2000, func(s *ServerStream) { s.Abort() }},
	{"CONTINUATION", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return rawFrame(frameHeaders, 0, 1, nil)
		}
		return rawFrame(frameContinuation, 0, 1, make([]byte, 10))
	}, 20, ok},
	{"empty CONTINUATION", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return rawFrame(frameHeaders, 0, 1, nil)
		}
		return rawFrame(frameContinuation, 0, 1, nil)
	}, 20, ok},
	{"RST_STREAM on ended streams", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return p.request(1, true, "priority=u=0")
		}
		return appendRSTStream(nil, 1, Cancel)
	}, 2000, ok},
	{"window by the byte", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return join(appendSettings(nil, setting{settingInitialWindowSize, 0}), p.request(1, true))
		}
		return appendWindowUpdate(nil, 1, 1)
	}, 2000, func(s *ServerStream) { sendBytes(s, 1<<20) }},
	{"DATA on a stream that we have reset", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return join(p.post(1, "content-length=1"), dataFrame(1, false, "xx"))
		}
		return dataFrame(1, false, "x")
	}, 2000, ok},
	{"much DATA on a stream that we have reset", func(p *rawPeer, i uint32) []byte {
		if i == 0 {
			return join(p.post(1, "content-length=1"), dataFrame(1, false, "xx"))
		}
		return dataFrame(1, false, strings.Repeat("x", 1000))
	}, 2000, ok},
	{"table size updates", func(p *rawPeer, i uint32) []byte {
		return headersFrame(2*i+1, true, append([]byte{0x20, 0x20}, p.block(":method=GET", fmt.Sprint("x-", i, "=y"))...))
	}, 1000, ok},
	{"rapid reset", func(p *rawPeer, i uint32) []byte {
		return join(p.request(2*i+1, true), appendRSTStream(nil, 2*i+1, Cancel))
	}, 1000, work},
	{"rapid reset by WINDOW_UPDATE", func(p *rawPeer, i uint32) []byte {
		return join(p.request(2*i+1, true), appendWindowUpdate(nil, 2*i+1, 0))
	}, 1000, work},
	{"rapid reset by PRIORITY", func(p *rawPeer, i uint32) []byte {
		return join(p.request(2*i+1, true), rawFrame(framePriority, 0, 2*i+1, []byte{1}))
	}, 1000, work},
	{"rapid reset by length", func(p *rawPeer, i uint32) []byte {
		return join(p.post(2*i+1, "content-length=1"), dataFrame(2*i+1, true, "xx"))
	}, 1000, work},
	{"rapid reset by trailers", func(p *rawPeer, i uint32) []byte {
		return join(p.post(2*i+1), p.headers(2*i+1, false, "a=b"))
	}, 1000, work},
	{"malformed requests", func(p *rawPeer, i uint32) []byte { return p.request(2*i+1, true, "connection=x") }, 1000, ok},
	{"too many streams", func(p *rawPeer, i uint32) []byte { return p.request(2*i+1, true) }, 1000, func(s *ServerStream) {
		for !s.ClientGone() {
			time.Sleep(time.Millisecond)
		}
	}},
}

// TestFloods: each flood ends its connection after a bounded number of frames,
// what the connection holds meanwhile is bounded, and a client on another
// connection is answered all the time, about as quickly as before.
func TestFloods(t *testing.T) {
	t.Parallel()
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			b := newBystander(t)
			before := b.p99(func(n int) bool { return n < 200 })
			// A loaded machine may stop us for a moment; a flood always slows us down.
			limit, during := max(20*before, 250*time.Millisecond), time.Duration(0)
			for range 3 {
				if during = f.run(t, b); during <= limit || t.Failed() {
					return
				}
			}
			t.Errorf("99 %% of the answers to another client took up to %v, want %v; %v before", during, limit, before)
		})
	}
}

// run lets a flood loose on a new connection until that ends, and returns p99
// of the bystander.
func (f *flood) run(t *testing.T, b *bystander) time.Duration {
	s := serveTCP(t, Config{MaxStreams: 20}, f.handle)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range uint32(f.turns) {
			if s.send(f.send(s.rawPeer, i)) != nil {
				return
			}
		}
	}()
	start := time.Now()
	ended := make(chan string, 1)
	go func() { ended <- s.ended() }()
	p99 := b.p99(func(int) bool {
		s.checkBounds(t)
		select {
		case code := <-ended:
			if code != "ENHANCE_YOUR_CALM" {
				t.Errorf("the connection has ended with %q, want ENHANCE_YOUR_CALM", code)
			}
			return false
		default:
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Fatalf("the connection lives on after %v", d)
		}
		return true
	})
	<-sent
	return p99
}

// A bystander is a client on a connection of its own.
type bystander struct {
	*served
	next uint32
}

func newBystander(t *testing.T) *bystander { return &bystander{serveTCP(t, Config{}, ok), 1} }

// p99 makes one request after the other, at least 100 and as long as more says
// so after n, and returns the time in which 99 % of them were answered.
func (b *bystander) p99(more func(n int) bool) time.Duration {
	b.t.Helper()
	var took []time.Duration
	for goOn := true; goOn || len(took) < 100; {
		start := time.Now()
		b.send(join(b.request(b.next, true), appendWindowUpdate(nil, 0, 2)))
		b.want(okFrames(int(b.next))...)
		b.next += 2
		took = append(took, time.Since(start))
		goOn = goOn && more(len(took))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// checkBounds checks that the connection holds no more than it may.
func (s *served) checkBounds(t *testing.T) {
	t.Helper()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.cfg.MaxStreams
	if len(c.streams) > limit || c.peerStreams > limit || c.running > 2*limit || len(c.free) > 2*limit+1 || c.held > maxHeld || c.pendingLocked() > maxControl {
		t.Errorf("%d streams, %d handlers, %d spare, %d bytes of heads, %d to send", len(c.streams), c.running, len(c.free), c.held, c.pendingLocked())
	}
}

// TestHonestClients: what busy and unusual clients do is no flood.
func TestHonestClients(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		handle func(*ServerStream)
		turn   func(s *served, id uint32)
	}{
		{"WINDOW_UPDATE for every request", ok, func(s *served, id uint32) {
			s.send(join(s.request(id, true), appendWindowUpdate(nil, id, 1000), appendWindowUpdate(nil, 0, 1000)))
			s.want(okFrames(int(id))...)
		}},
		{"PING for every response", ok, func(s *served, id uint32) {
			s.send(s.request(id, true))
			s.want(okFrames(int(id))...)
			s.sync()
		}},
		{"WINDOW_UPDATE in small steps", func(s *ServerStream) { sendBytes(s, 60_000) }, func(s *served, id uint32) {
			s.send(s.request(id, true))
			s.until("HEADERS")
			for n := 0; n < 60_000; {
				f, _ := s.next()
				n += f.length
				s.send(bytes.Repeat(join(appendWindowUpdate(nil, id, int64(f.length/8)), appendWindowUpdate(nil, 0, int64(f.length/8))), 8))
			}
			s.send(appendWindowUpdate(nil, 0, 60))
		}},
		{"late RST_STREAM", ok, func(s *served, id uint32) {
			s.send(s.request(id, true))
			s.want(okFrames(int(id))...)
			s.send(appendRSTStream(nil, id, NoError))
		}},
		{"cancels a tenth", work, func(s *served, id uint32) {
			s.send(s.request(id, true))
			if id%20 == 1 {
				s.send(appendRSTStream(nil, id, Cancel))
			} else {
				s.until(fmt.Sprintf("HEADERS %d", id))
			}
		}},
	}
	for _, tt := range tests {
		inBubble(t, tt.name, func(t *testing.T) {
			s := servePipe(t, Config{MaxGlitches: 100, MaxResets: 20}, tt.handle)
			for i := range 150 {
				tt.turn(s, uint32(2*i+1))
			}
			s.sync()
			if s.conn.PeerGone() {
				t.Errorf("the connection has ended: %v", s.conn.err)
			}
		})
	}
}

// TestBusyConnections: resets that are few among many streams do no harm,
// however many they are.
func TestBusyConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, "client that cancels", func(t *testing.T) {
		s := servePipe(t, Config{MaxResets: 20}, func(s *ServerStream) {
			if s.Request().Method == "GET" {
				ok(s)
				return
			}
			s.ReadBody()
		})
		for i := range uint32(1500) {
			id := 2*i + 1
			if i%16 == 0 {
				s.send(join(s.post(id), appendRSTStream(nil, id, Cancel)))
			} else {
				s.send(s.request(id, true))
				s.until("DATA")
			}
			time.Sleep(time.Millisecond)
		}
		if s.conn.PeerGone() {
			t.Errorf("the connection has ended: %v", s.conn.err)
		}
	})
	inBubble(t, "origin that refuses", func(t *testing.T) {
		d := dialPipe(t, Config{MaxResets: 20})
		for i := range 1500 {
			s := d.get()
			if i%10 == 0 {
				d.send(appendRSTStream(nil, s.id, RefusedStream))
			} else {
				d.send(d.headers(s.id, true, ":status=204"))
			}
			receive(s)
			s.Finish()
			time.Sleep(time.Millisecond)
		}
		if d.conn.Available() == 0 {
			t.Errorf("the connection takes no streams: %v", d.conn.err)
		}
	})
}

// TestOriginResets: an origin that resets most streams gets no more on the
// connection, and those that are open are not harmed.
func TestOriginResets(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		d := dialPipe(t, Config{MaxResets: 20})
		bystander := d.get()
		n := 0
		for ; d.conn.Available() > 0; n++ {
			s := d.get()
			d.send(appendRSTStream(nil, s.id, InternalError))
			receive(s)
			s.Finish()
		}
		if n != 21 {
			t.Errorf("%d streams were reset, want 21", n)
		}
		d.send(join(d.headers(1, false, ":status=200"), dataFrame(1, true, "x")))
		if got := receive(bystander); got.err != nil || got.body != "x" {
			t.Errorf("the other stream got %+v, want a response", got)
		}
		bystander.Finish()
		<-d.conn.Closed()
		<-d.over
		if d.err != nil {
			t.Errorf("OnClose got %v, want nil", d.err)
		}
	})
}

// TestZeroWindowBomb: requests that are cheap to send and whose responses the
// client does not take are ended by WriteTimeout, and hold little until then.
func TestZeroWindowBomb(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{WriteTimeout: 5 * time.Second}, func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: 1 << 20}, false)
			piece := make([]byte, 1<<10)
			for s.WriteBody(piece, false) == nil {
			}
		})
		s.send(appendSettings(nil, setting{settingInitialWindowSize, 0}))
		start := time.Now()
		for i := range 100 {
			s.send(s.request(uint32(2*i+1), true))
		}
		for range 100 {
			s.until("RST_STREAM")
			s.checkBounds(t)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("it took %v, want 5s", d)
		}
	})
}
