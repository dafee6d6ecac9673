// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
)

// machineConfig has small limits, so that few frames reach them.
func machineConfig() Config {
	return Config{
		MaxStreams: 5, MaxHeaderBytes: 1024, MaxFields: 10, MaxContinuations: 3, ConnWindow: 1 << 17, MaxConnWindow: 1 << 18, MaxStreamWindow: 1 << 17,
		MaxResets: 10, MaxGlitches: 50, PingInterval: 20 * time.Second, MaxAge: 10 * time.Minute,
	}.WithDefaults()
}

// A machine drives one side of a connection through what a fuzzer has made up.
type machine struct {
	t     testing.TB
	nc    net.Conn
	c     *conn
	prog  []byte // what is left of the program
	enc   *hpack.Encoder
	block bytes.Buffer
	wg    sync.WaitGroup
}

func (m *machine) byte() byte {
	if len(m.prog) == 0 {
		return 0
	}
	b := m.prog[0]
	m.prog = m.prog[1:]
	return b
}

// send writes frames; an error is that the connection has ended.
func (m *machine) send(b []byte) { m.nc.Write(b) }

func (m *machine) fields(list ...string) []byte {
	m.block.Reset()
	for i := 0; i < len(list); i += 2 {
		m.enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]})
	}
	return bytes.Clone(m.block.Bytes())
}

// start begins to read what the connection sends.
func (m *machine) start() {
	m.enc = hpack.NewEncoder(&m.block)
	m.wg.Go(m.watch)
}

// watch reads what the connection sends and checks what GOAWAY promises (RFC
// 9113 section 6.8): its last stream never rises, and nothing but RST_STREAM
// comes on the peer's streams beyond it, nor on new ones of ours.
func (m *machine) watch() {
	r := bufio.NewReader(m.nc)
	if !m.c.server {
		r.Discard(len(preface))
	}
	last, highest := uint32(maxStreamID), uint32(0)
	for {
		var head [frameHeaderLen]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		h, _ := consumeFrameHeader(head[:])
		p := make([]byte, h.length)
		if _, err := io.ReadFull(r, p); err != nil {
			return
		}
		switch h.typ {
		case frameGoAway:
			id := be32(p)
			if id > last {
				m.t.Errorf("GOAWAY with the last stream %d after one with %d", id, last)
			}
			if last = id; m.c.server && highest > last {
				m.t.Errorf("GOAWAY with the last stream %d, but %d has been answered", last, highest)
			}
		case frameHeaders, frameData:
			if m.c.server && h.stream > last {
				m.t.Errorf("%v on stream %d after GOAWAY with %d", h.typ, h.stream, last)
			}
			highest = max(highest, h.stream)
		}
	}
}

// common runs an instruction that is the same in both roles.
func (m *machine) common(op, id, n byte) {
	stream := uint32(id % 32)
	switch op % 16 {
	case 0:
		m.send(dataFrame(stream, n%4 == 0, string(make([]byte, int(n)*64))))
	case 1:
		m.send(rawFrame(frameData, flagPadded|n%2, stream, append([]byte{n}, make([]byte, 255)...)))
	case 2:
		m.send(headersFrame(stream, n%4 != 0, m.fields("a", "b", "grpc-status", "0")))
	case 3:
		m.send(appendRSTStream(nil, stream, ErrCode(n%16)))
	case 4:
		m.send(appendWindowUpdate(nil, stream*uint32(n%2), int64(n)*int64(n)*int64(n)))
	case 5:
		m.send(appendWindowUpdate(nil, 0, 1<<uint(n%32)))
	case 6:
		m.send(appendSettings(nil, setting{settingInitialWindowSize, uint32(n) * 700}, setting{settingMaxConcurrentStreams, uint32(n)}))
	case 7:
		m.send(appendSettings(nil, setting{settingHeaderTableSize, uint32(n) * 20}, setting{settingMaxFrameSize, minMaxFrame + uint32(n)}, setting{settingID(id), uint32(n)}))
	case 8:
		m.send(appendPing(nil, n&1, [][]byte{pingData, drainPing, lastPing}[int(n/2)%3]))
	case 9:
		m.send(rawFrame(framePriorityUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, stream)))
		m.send(rawFrame(framePriorityUpdate, 0, 0, fmt.Appendf(binary.BigEndian.AppendUint32(nil, stream), "u=%d", n%9)))
	case 10:
		m.send(appendGoAway(nil, uint32(n), ErrCode(id%3), "why"))
	case 11: // anything
		k := min(int(n%64), len(m.prog))
		m.send(rawFrame(frameType(id%18), m.byte(), uint32(m.byte()%16), m.prog[:min(k, len(m.prog))]))
	case 12:
		m.send(m.prog[:min(int(n), len(m.prog))])
	case 13:
		time.Sleep(time.Duration(n) * time.Second / 4)
	case 14:
		m.send(rawFrame(frameHeaders, 0, stream, m.fields("a", "b")))
		m.send(rawFrame(frameContinuation, n&flagEndHeaders, stream, m.fields("c", "d")))
	case 15:
		synctest.Wait()
	}
}

// check checks what must always hold.
func (m *machine) check() {
	c := m.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.streams); n > c.cfg.MaxStreams || c.peerStreams > n || c.peerStreams < 0 || c.reserved < 0 {
		m.t.Errorf("%d streams, %d of the peer's, %d reserved", n, c.peerStreams, c.reserved)
	}
	if w := c.recvWindow + c.recvUnsent; c.recvWindow < 0 && !c.closing || c.recvUnsent < 0 || w > c.recvMax || c.recvMax > int64(c.cfg.MaxConnWindow) || c.sendWindow > maxWindow && !c.closing {
		m.t.Errorf("connection windows: receive %d and %d unsent, send %d", c.recvWindow, c.recvUnsent, c.sendWindow)
	}
	if n := c.pendingLocked(); n > maxControl+64<<10 {
		m.t.Errorf("%d bytes wait to be sent", n)
	}
	waiting := 0
	for id, s := range c.streams {
		if s.id != id || s.err != nil || s.remoteClosed && s.localClosed || s.recvWindow < 0 || s.recvWindow+s.recvUnsent > s.recvMax || s.recvMax > int64(c.cfg.MaxStreamWindow) {
			m.t.Errorf("stream %d is %d, closed %v and %v, error %v, receives %d + %d of %d", id, s.id, s.remoteClosed, s.localClosed, s.err, s.recvWindow, s.recvUnsent, s.recvMax)
		}
		if s.queued {
			waiting++
		}
		if s.queued != (len(s.pending) > 0 && s.sendWindow > 0) || s.sendWindow > maxWindow && !c.closing {
			m.t.Errorf("stream %d: in line %v with %d bytes and window %d", id, s.queued, len(s.pending), s.sendWindow)
		}
	}
	if waiting != c.waiting.count {
		m.t.Errorf("%d streams in line, %d of them open", c.waiting.count, waiting)
	}
	if c.waiting.count > 0 && c.sendWindow > 0 && c.pendingLocked() < maxOut && !c.closing {
		m.t.Errorf("%d streams wait though there is room", c.waiting.count)
	}
}

// handle does with a request what its path says, and then what it has to.
func handle(s *ServerStream) {
	target := s.Request().Target
	interrupted := make(chan struct{})
	for _, what := range target[min(1, len(target)):] {
		var err error
		switch what {
		case 'a':
			s.Abort()
		case 'b':
			_, _, err = s.ReadBody()
		case 'B':
			_, err = readBody(s.ReadBody)
		case 'i':
			err = s.WriteHead(&header.Response{Status: 103}, false)
		case 'h':
			err = s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
		case 'f':
			err = s.Flush()
		case 'w':
			err = s.WriteBody(make([]byte, 20_000), false)
		case 'W':
			err = s.WriteBody(make([]byte, 200_000), false)
		case 'e':
			err = s.WriteBody(nil, true)
		case 't':
			var trailers header.Fields
			trailers.Add("a", "b")
			err = s.WriteTrailers(&trailers)
		case 's':
			time.Sleep(time.Second)
		case 'x':
			go func() {
				time.Sleep(time.Second)
				s.InterruptReading()
				close(interrupted)
			}()
			s.ReadBody()
			<-interrupted
			s.ResumeReading()
		}
		if err != nil {
			return
		}
	}
}

var paths = []string{"/", "/he", "/hwwe", "/hWWt", "/Bhe", "/bhwe", "/a", "/ssBhwt", "/iihe", "/hft", "/sssa", "/hfsWa", "/xBhe", "/hWs"}

// runServer runs a program against a server connection.
func runServer(t testing.TB, prog []byte) {
	peer, ours := net.Pipe()
	cfg := machineConfig()
	c := NewServerConn(ours, &cfg, nil, handle)
	m := &machine{t: t, nc: peer, c: &c.conn, prog: prog}
	m.start()
	m.wg.Go(c.Serve)
	m.send(hello())
	for len(m.prog) > 0 {
		op, id, n := m.byte(), m.byte(), m.byte()
		stream := uint32(id%32)*2 + 1
		switch path := paths[int(n)%len(paths)]; op % 24 {
		case 16, 17:
			m.send(headersFrame(c.nextFor(stream), true, m.fields(":method", "GET", ":scheme", "http", ":path", path, ":authority", "h")))
		case 18, 19, 20:
			m.send(headersFrame(c.nextFor(stream), false, m.fields(":method", "POST", ":scheme", "http", ":path", path, ":authority", "h")))
		case 21:
			m.send(headersFrame(stream, false, m.fields(":method", "POST", ":scheme", "http", ":path", path, ":authority", "h", "content-length", fmt.Sprint(n))))
		case 22:
			m.send(headersFrame(stream, true, m.fields(":method", "GET", ":path", path, "connection", "x")))
		case 23:
			if n < 10 {
				c.Drain()
			}
		default:
			m.common(op, id, n)
		}
		m.check()
	}
	synctest.Wait()
	m.check()
	c.mu.Lock()
	if alive := !c.closing && c.running == 0; alive && c.recvWindow+c.recvUnsent != c.recvMax {
		t.Errorf("the receive window is %d + %d, want %d", c.recvWindow, c.recvUnsent, c.recvMax)
	}
	c.mu.Unlock()
	peer.Close()
	m.wg.Wait()
	if c.running != 0 || len(c.streams) != 0 || c.held != 0 || c.peerStreams != 0 || !c.waiting.empty() {
		t.Errorf("in the end: %d handlers, %d streams, %d bytes", c.running, len(c.streams), c.held)
	}
}

// nextFor returns the number of a new stream, or now and then a used one.
func (c *ServerConn) nextFor(stream uint32) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stream > 5 {
		return c.lastPeerID + 2 - (c.lastPeerID+1)%2
	}
	return stream
}

// runClient runs a program against a client connection.
func runClient(t testing.TB, prog []byte) {
	peer, ours := net.Pipe()
	cfg := machineConfig()
	c := NewClientConn(ours, &cfg, "http")
	m := &machine{t: t, nc: peer, c: &c.conn, prog: prog}
	m.start()
	m.send(appendSettingsAck(appendSettings(nil, setting{settingEnableConnect, uint32(m.byte() % 2)})))
	for len(m.prog) > 0 {
		op, id, n := m.byte(), m.byte(), m.byte()
		stream := uint32(id%16)*2 + 1
		switch op % 24 {
		case 16, 17, 18:
			if s := c.NewStream(nil, time.Duration(id)*time.Second, time.Duration(id)*time.Second); s != nil {
				m.wg.Go(func() { use(s, n) })
			}
		case 19:
			m.send(headersFrame(stream, n%2 == 0, m.fields(":status", "200")))
		case 20:
			m.send(headersFrame(stream, n%2 == 0, m.fields(":status", fmt.Sprint(100+int(n)*3), "content-length", fmt.Sprint(id))))
		case 21:
			m.send(headersFrame(stream, false, m.fields(":status", "103")))
		case 22:
			m.send(join(headersFrame(stream, false, m.fields(":status", "200")), dataFrame(stream, true, "x"), appendRSTStream(nil, stream, NoError)))
		case 23:
			if n < 10 {
				c.Close()
			}
		default:
			m.common(op, id, n)
		}
		m.check()
	}
	synctest.Wait()
	m.check()
	peer.Close()
	m.wg.Wait()
	<-c.Closed()
	if len(c.streams) != 0 || c.reserved != 0 || !c.waiting.empty() {
		t.Errorf("in the end: %d streams, %d reserved", len(c.streams), c.reserved)
	}
}

// use does one request as n says.
func use(s *ClientStream, n byte) {
	defer s.Finish()
	req := newRequest("GET", "/", 0)
	upgrade := ""
	switch n % 8 {
	case 0:
		return
	case 1:
		req = newRequest("CONNECT", "/", -1)
		upgrade = "websocket"
	case 2, 3, 4:
		req = newRequest("PUT", "/", -1)
	case 5:
		req.Method = "HEAD"
	}
	if s.WriteHead(req, upgrade, n%2 == 0, req.Length == 0) != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if req.Length < 0 {
		wg.Go(func() {
			if s.WriteBody(make([]byte, 300*int(n)), false) != nil || s.WriteBody(make([]byte, 50_000), n%3 == 0) != nil || n%3 == 0 {
				return
			}
			var trailers header.Fields
			trailers.Add("a", "b")
			s.WriteTrailers(&trailers)
		})
	}
	var res header.Response
	for s.ReadHead(&res) == nil {
		if !res.Informational() {
			readBody(s.ReadBody)
			break
		}
	}
	if n > 200 {
		s.Kill()
	}
}

// programs are where the fuzzer starts.
var programs = [][]byte{
	{},
	{16, 9, 1, 16, 9, 2, 4, 1, 200, 4, 1, 200, 15, 0, 0},
	{18, 9, 4, 0, 1, 200, 0, 1, 4, 2, 1, 1, 15, 0, 0, 13, 0, 250},
	{6, 0, 0, 16, 9, 3, 16, 9, 3, 4, 1, 5, 6, 0, 200, 6, 0, 1, 5, 0, 20, 15, 0, 0},
	{18, 9, 7, 18, 9, 8, 18, 9, 9, 3, 1, 8, 3, 3, 8, 18, 9, 10, 18, 9, 11, 18, 9, 12, 13, 0, 8},
	{16, 9, 1, 23, 0, 0, 16, 9, 1, 13, 0, 8, 16, 9, 1},
	{16, 9, 12, 23, 0, 0, 8, 0, 3, 15, 0, 0, 16, 9, 1, 18, 9, 4, 0, 0, 1, 13, 0, 40}, // drained, and new streams
	{16, 9, 12, 23, 0, 0, 15, 0, 0, 13, 0, 5, 16, 9, 1, 18, 9, 4, 10, 0, 9, 13, 0, 40},
	{16, 9, 12, 23, 0, 0, 8, 0, 3, 15, 0, 0, 16, 9, 1, 11, 0, 1, 0, 0}, // drained, then a mistake
	{11, 1, 20, 4, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 0, 9, 0, 0, 0, 4, 0, 0, 0, 0, 0},
	{1, 16, 9, 2, 16, 9, 3, 19, 0, 1, 0, 1, 9, 0, 1, 8, 22, 1, 1, 15, 0, 0},
	{1, 17, 9, 1, 17, 200, 2, 17, 9, 0, 21, 0, 0, 19, 0, 0, 20, 1, 33, 10, 0, 1, 13, 0, 40},
}

// FuzzServerMachine: no sequence of frames makes a server connection panic,
// hang, lose count, or hold more than it may.
func FuzzServerMachine(f *testing.F) {
	for _, p := range programs {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, prog []byte) {
		if len(prog) > 1000 {
			return
		}
		synctest.Test(t, func(t *testing.T) { runServer(t, prog) })
	})
}

// FuzzClientMachine is the same for a client connection.
func FuzzClientMachine(f *testing.F) {
	for _, p := range programs {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, prog []byte) {
		if len(prog) > 1000 {
			return
		}
		synctest.Test(t, func(t *testing.T) { runClient(t, prog) })
	})
}

// TestNoBuffersLeft: when everything has ended, all buffers have been given
// back. It does not run in parallel with tests that use some.
func TestNoBuffersLeft(t *testing.T) {
	if !raceEnabled {
		t.Skip("buffers are counted in race-enabled builds")
	}
	before := bytebuf.Outstanding()
	for i, p := range programs {
		synctest.Test(t, func(t *testing.T) { runServer(t, p) })
		synctest.Test(t, func(t *testing.T) { runClient(t, p) })
		if got := bytebuf.Outstanding(); got != before {
			t.Fatalf("after program %d: %d buffers are on loan, want %d", i, got, before)
		}
	}
}
