// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
)

// TestFrameErrors sends frames that break a rule, each on a new connection on
// which stream 1 is open, 3 has ended, 5 has been reset by us and 7 by the
// client. 9 is idle. A handler waits in each that is open.
func TestFrameErrors(t *testing.T) {
	t.Parallel()
	word := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	const conn, stream = "conn ", "stream "
	tests := []struct {
		name string
		send []byte
		want string // where the error goes, and its code; "" if there is none
	}{
		{"DATA on 0", dataFrame(0, false, "x"), conn + "PROTOCOL_ERROR"},
		{"DATA on open", dataFrame(1, false, "x"), ""},
		{"DATA on idle", dataFrame(9, false, "x"), conn + "PROTOCOL_ERROR"},
		{"DATA on an even idle stream", dataFrame(2, false, "x"), conn + "PROTOCOL_ERROR"},
		{"DATA on ended", dataFrame(3, false, "x"), conn + "STREAM_CLOSED"},
		{"DATA on reset by us", dataFrame(5, false, "x"), ""},
		{"DATA on reset by client", dataFrame(7, false, "x"), conn + "STREAM_CLOSED"},
		{"DATA after its end", join(dataFrame(1, true, ""), dataFrame(1, false, "x")), stream + "STREAM_CLOSED"},
		{"DATA padded too much", rawFrame(frameData, flagPadded, 1, []byte("\x02x")), conn + "PROTOCOL_ERROR"},
		{"DATA beyond the window of the stream", bytes.Repeat(dataFrame(1, false, strings.Repeat("x", 1<<14)), 5), stream + "FLOW_CONTROL_ERROR"},
		{"HEADERS on 0", headersFrame(0, true, nil), conn + "PROTOCOL_ERROR"},
		{"HEADERS on an even stream", headersFrame(10, true, nil), conn + "PROTOCOL_ERROR"},
		{"HEADERS on ended", headersFrame(3, true, nil), conn + "STREAM_CLOSED"},
		{"HEADERS on reset by us", headersFrame(5, true, nil), ""},
		{"HEADERS on reset by client", headersFrame(7, true, nil), conn + "STREAM_CLOSED"},
		{"HEADERS: trailers", headersFrame(1, true, nil), ""},
		{"HEADERS: trailers that do not end", headersFrame(1, false, nil), stream + "PROTOCOL_ERROR"},
		{"HEADERS after the end", join(dataFrame(1, true, ""), headersFrame(1, true, nil)), stream + "STREAM_CLOSED"},
		{"HEADERS without their priority", rawFrame(frameHeaders, flagEndHeaders|flagPriority, 9, []byte("1234")), conn + "FRAME_SIZE_ERROR"},
		{"HEADERS that depend on themselves", rawFrame(frameHeaders, flagEndHeaders|flagPriority, 9, []byte("\x00\x00\x00\x09\x01")), conn + "PROTOCOL_ERROR"},
		{"HEADERS that are not HPACK", headersFrame(9, true, []byte{0x80}), conn + "COMPRESSION_ERROR"},
		{"HEADERS that are cut off", headersFrame(9, true, []byte{0x40}), conn + "COMPRESSION_ERROR"},
		{"CONTINUATION of nothing", rawFrame(frameContinuation, flagEndHeaders, 1, nil), conn + "PROTOCOL_ERROR"},
		{"CONTINUATION on another stream", join(rawFrame(frameHeaders, 0, 9, nil), rawFrame(frameContinuation, 0, 1, nil)), conn + "PROTOCOL_ERROR"},
		{"PING inside a header block", join(rawFrame(frameHeaders, 0, 9, nil), appendPing(nil, 0, pingData)), conn + "PROTOCOL_ERROR"},
		{"PRIORITY", rawFrame(framePriority, 0, 9, make([]byte, 5)), ""},
		{"PRIORITY on 0", rawFrame(framePriority, 0, 0, make([]byte, 5)), conn + "PROTOCOL_ERROR"},
		{"PRIORITY of wrong size on 0", rawFrame(framePriority, 0, 0, make([]byte, 4)), conn + "PROTOCOL_ERROR"},
		{"PRIORITY of wrong size", rawFrame(framePriority, 0, 1, make([]byte, 4)), stream + "FRAME_SIZE_ERROR"},
		{"PRIORITY on itself", rawFrame(framePriority, 0, 1, []byte("\x00\x00\x00\x01\x01")), stream + "PROTOCOL_ERROR"},
		{"PRIORITY_UPDATE", rawFrame(framePriorityUpdate, 0, 0, append(word(1), "u=1"...)), ""},
		{"PRIORITY_UPDATE of wrong size", rawFrame(framePriorityUpdate, 0, 0, []byte("123")), conn + "PROTOCOL_ERROR"},
		{"PRIORITY_UPDATE for 0", rawFrame(framePriorityUpdate, 0, 0, append(word(0), "u=1"...)), conn + "PROTOCOL_ERROR"},
		{"PRIORITY_UPDATE for a push that was not promised", rawFrame(framePriorityUpdate, 0, 0, append(word(2), "u=1"...)), conn + "PROTOCOL_ERROR"},
		{"PRIORITY_UPDATE for idle", rawFrame(framePriorityUpdate, 0, 0, append(word(11), "u=1"...)), ""},
		{"PRIORITY_UPDATE for ended", rawFrame(framePriorityUpdate, 0, 0, append(word(3), "u=1"...)), ""},
		{"PRIORITY_UPDATE on a stream", rawFrame(framePriorityUpdate, 0, 1, word(1)), conn + "PROTOCOL_ERROR"},
		{"RST_STREAM on 0", appendRSTStream(nil, 0, Cancel), conn + "PROTOCOL_ERROR"},
		{"RST_STREAM on idle", appendRSTStream(nil, 9, Cancel), conn + "PROTOCOL_ERROR"},
		{"RST_STREAM on ended", appendRSTStream(nil, 3, Cancel), ""},
		{"RST_STREAM of wrong size", rawFrame(frameRSTStream, 0, 1, word(1)[:3]), conn + "FRAME_SIZE_ERROR"},
		{"SETTINGS", appendSettings(nil, setting{0x99, 1}), ""},
		{"SETTINGS on a stream", rawFrame(frameSettings, 0, 1, nil), conn + "PROTOCOL_ERROR"},
		{"SETTINGS of wrong size", rawFrame(frameSettings, 0, 0, make([]byte, 5)), conn + "FRAME_SIZE_ERROR"},
		{"SETTINGS acknowledgement of wrong size", rawFrame(frameSettings, flagAck, 0, make([]byte, 6)), conn + "FRAME_SIZE_ERROR"},
		{"SETTINGS, 64", appendSettings(nil, make([]setting, 64)...), ""},
		{"SETTINGS, 65", appendSettings(nil, make([]setting, 65)...), conn + "ENHANCE_YOUR_CALM"},
		{"ENABLE_PUSH 2", appendSettings(nil, setting{settingEnablePush, 2}), conn + "PROTOCOL_ERROR"},
		{"INITIAL_WINDOW_SIZE 2^31-1", appendSettings(nil, setting{settingInitialWindowSize, 1<<31 - 1}), ""},
		{"INITIAL_WINDOW_SIZE 2^31", appendSettings(nil, setting{settingInitialWindowSize, 1 << 31}), conn + "FLOW_CONTROL_ERROR"},
		{"INITIAL_WINDOW_SIZE that overflows a stream", join(appendWindowUpdate(nil, 1, 1), appendSettings(nil, setting{settingInitialWindowSize, 1<<31 - 1})), conn + "FLOW_CONTROL_ERROR"},
		{"MAX_FRAME_SIZE 2^14-1", appendSettings(nil, setting{settingMaxFrameSize, 1<<14 - 1}), conn + "PROTOCOL_ERROR"},
		{"MAX_FRAME_SIZE 2^24-1", appendSettings(nil, setting{settingMaxFrameSize, 1<<24 - 1}), ""},
		{"MAX_FRAME_SIZE 2^24", appendSettings(nil, setting{settingMaxFrameSize, 1 << 24}), conn + "PROTOCOL_ERROR"},
		{"ENABLE_CONNECT_PROTOCOL 2", appendSettings(nil, setting{settingEnableConnect, 2}), conn + "PROTOCOL_ERROR"},
		{"ENABLE_CONNECT_PROTOCOL taken back", appendSettings(nil, setting{settingEnableConnect, 1}, setting{settingEnableConnect, 0}), conn + "PROTOCOL_ERROR"},
		{"PUSH_PROMISE", rawFrame(framePushPromise, flagEndHeaders, 1, word(2)), conn + "PROTOCOL_ERROR"},
		{"PING on a stream", rawFrame(framePing, 0, 1, pingData), conn + "PROTOCOL_ERROR"},
		{"PING of wrong size", rawFrame(framePing, 0, 0, pingData[1:]), conn + "FRAME_SIZE_ERROR"},
		{"PING that answers nothing", appendPing(nil, flagAck, pingData), ""},
		{"GOAWAY", appendGoAway(nil, 0, NoError, ""), ""},
		{"GOAWAY on a stream", rawFrame(frameGoAway, 0, 1, make([]byte, 8)), conn + "PROTOCOL_ERROR"},
		{"GOAWAY of wrong size", rawFrame(frameGoAway, 0, 0, make([]byte, 7)), conn + "FRAME_SIZE_ERROR"},
		{"GOAWAY that goes up", join(appendGoAway(nil, 0, NoError, ""), appendGoAway(nil, 2, NoError, "")), conn + "PROTOCOL_ERROR"},
		{"WINDOW_UPDATE of wrong size", rawFrame(frameWindowUpdate, 0, 0, word(1)[:3]), conn + "FRAME_SIZE_ERROR"},
		{"WINDOW_UPDATE of 0 on 0", appendWindowUpdate(nil, 0, 0), conn + "PROTOCOL_ERROR"},
		{"WINDOW_UPDATE of 0", appendWindowUpdate(nil, 1, 0), stream + "PROTOCOL_ERROR"},
		{"WINDOW_UPDATE on idle", appendWindowUpdate(nil, 9, 1), conn + "PROTOCOL_ERROR"},
		// "ok" has taken 2 bytes of the connection's window.
		{"WINDOW_UPDATE on ended", appendWindowUpdate(nil, 3, 1), ""},
		{"WINDOW_UPDATE to 2^31-1 on 0", appendWindowUpdate(nil, 0, 1<<31-1-defaultWindow+2), ""},
		{"WINDOW_UPDATE to 2^31 on 0", appendWindowUpdate(nil, 0, 1<<31-defaultWindow+2), conn + "FLOW_CONTROL_ERROR"},
		{"WINDOW_UPDATE to 2^31-1", appendWindowUpdate(nil, 1, 1<<31-1-defaultWindow), ""},
		{"WINDOW_UPDATE to 2^31", appendWindowUpdate(nil, 1, 1<<31-defaultWindow), stream + "FLOW_CONTROL_ERROR"},
		{"unknown frame", rawFrame(0xbe, 0xff, 1<<30, []byte("x")), ""},
		{"frame too large", rawFrame(0xbe, 0, 0, make([]byte, 1<<14+1)), conn + "FRAME_SIZE_ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			s := serveTCP(t, Config{StreamWindow: 65535}, func(s *ServerStream) {
				switch s.Request().Target {
				case "/wait":
					<-release
				case "/":
					ok(s)
				}
			})
			defer close(release)
			s.send(join(s.headers(1, false, ":method=POST", ":scheme=http", ":path=/wait", ":authority=h"), s.request(3, true)))
			s.want("HEADERS 3 4 :status=200 content-length=2", "DATA 3 1 \"ok\"")
			s.send(s.headers(5, false, ":method=POST", ":scheme=http", ":path=/none", ":authority=h"))
			s.want("RST_STREAM 5 INTERNAL_ERROR")
			s.send(join(s.headers(7, false, ":method=POST", ":scheme=http", ":path=/wait", ":authority=h"), appendRSTStream(nil, 7, Cancel)))
			s.sync()
			s.send(tt.send)
			got := ""
			if strings.HasPrefix(tt.want, conn) {
				got = conn + s.ended()
			} else if strings.HasPrefix(tt.want, stream) {
				got = strings.Replace(s.until("RST_STREAM"), "RST_STREAM 1 ", stream, 1)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !strings.HasPrefix(tt.want, conn) { // it goes on
				s.sync()
				if !strings.HasPrefix(tt.name, "GOAWAY") {
					s.send(s.request(11, true))
				} else if s.conn.PeerGone() {
					t.Error("the connection has ended though a stream is open")
				}
				if !strings.HasPrefix(tt.name, "GOAWAY") {
					s.until("HEADERS 11 ")
				}
			}
		})
	}
}

// TestFirstFrame: nothing may come before SETTINGS.
func TestFirstFrame(t *testing.T) {
	t.Parallel()
	for _, first := range [][]byte{appendPing(nil, 0, pingData), appendSettingsAck(nil), rawFrame(0xbe, 0, 0, nil)} {
		peer, ours := tcpPair(t)
		s := serve(t, peer, ours, Config{}, ok)
		s.send(append([]byte(preface), first...))
		if got := s.ended(); got != "PROTOCOL_ERROR" {
			t.Errorf("first frame %q: got %q, want PROTOCOL_ERROR", first, got)
		}
	}
}

// TestFirstSettings: ours say what the configuration says.
func TestFirstSettings(t *testing.T) {
	t.Parallel()
	s := serveTCP(t, Config{MaxStreams: 7, MaxHeaderBytes: 2000, StreamWindow: 70_000, MaxStreamWindow: 80_000, ConnWindow: 90_000}, ok)
	f, _ := s.nextAny()
	got := map[settingID]uint32{}
	for p := f.payload; len(p) > 0; p = p[6:] {
		set := consumeSetting(p)
		got[set.id] = set.value
	}
	want := map[settingID]uint32{
		settingMaxConcurrentStreams: 7, settingMaxHeaderListSize: 2000, settingInitialWindowSize: 70_000,
		settingEnableConnect: 1, settingNoRFC7540Priorities: 1,
	}
	if f.typ != frameSettings || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("SETTINGS %v, want %v", got, want)
	}
	if f, _ = s.nextAny(); f.String() != fmt.Sprintf("WINDOW_UPDATE 0 %d", 90_000-defaultWindow) {
		t.Errorf("got %v, want a WINDOW_UPDATE to 90,000", f)
	}
}

// TestWindowsGivenBack: whatever becomes of a body, the connection's window is
// the same in the end, so that no number of them closes it.
func TestWindowsGivenBack(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 16000)
	padded := append([]byte{200}, append([]byte(body), make([]byte, 200)...)...)
	tests := []struct {
		name   string
		frames func(p *rawPeer, id uint32) []byte
	}{
		{"read", func(p *rawPeer, id uint32) []byte { return dataFrame(id, true, body) }},
		{"padded", func(p *rawPeer, id uint32) []byte { return rawFrame(frameData, flagPadded|flagEndStream, id, padded) }},
		{"only padding", func(p *rawPeer, id uint32) []byte {
			return join(rawFrame(frameData, flagPadded, id, append([]byte{255}, make([]byte, 255)...)), dataFrame(id, true, ""))
		}},
		{"reset by client", func(p *rawPeer, id uint32) []byte {
			return join(dataFrame(id, false, body), appendRSTStream(nil, id, Cancel))
		}},
		{"too long", func(p *rawPeer, id uint32) []byte { return dataFrame(id, true, body+"x") }},
		{"too short", func(p *rawPeer, id uint32) []byte { return dataFrame(id, true, body[1:]) }},
		{"malformed trailers", func(p *rawPeer, id uint32) []byte {
			return join(dataFrame(id, false, body), p.headers(id, true, "Upper=case"))
		}},
	}
	for _, handler := range []struct {
		name   string
		handle func(*ServerStream)
	}{
		{"reading", echoLength},
		{"not reading", func(s *ServerStream) { answer(s, 200, "no") }},
		{"aborting", func(s *ServerStream) { s.ReadBody(); s.Abort() }},
	} {
		for _, tt := range tests {
			t.Run(handler.name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				s := serveTCP(t, Config{ConnWindow: defaultWindow, MaxResets: 1000, MaxGlitches: 10_000}, handler.handle)
				for i := range 20 {
					id := uint32(2*i + 1)
					length := "content-length=16000"
					if tt.name == "only padding" {
						length = "content-length=0"
					}
					s.send(join(s.headers(id, false, ":method=POST", ":scheme=http", ":path=/", ":authority=h", length), tt.frames(s.rawPeer, id)))
					s.sync()
					s.sync()
				}
				s.conn.handled.Wait()
				c := &s.conn.conn
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.closing {
					t.Fatalf("the connection has ended: %v", c.err)
				}
				if got := c.recvWindow + c.recvUnsent; got != c.recvMax || got < defaultWindow {
					t.Errorf("window of %d bytes, want %d", got, c.recvMax)
				}
				if len(c.streams) != 0 || c.peerStreams != 0 || s.conn.running != 0 || s.conn.held != 0 {
					t.Errorf("%d streams, %d of the peer's, %d handlers, %d bytes held, want none", len(c.streams), c.peerStreams, s.conn.running, s.conn.held)
				}
			})
		}
	}
}

// TestWindowShared: what one stream leaves unread takes nothing from the rest
// of the connection's window.
func TestWindowShared(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	s := serveTCP(t, Config{ConnWindow: 1 << 17, StreamWindow: 1 << 16}, func(s *ServerStream) {
		if s.Request().Target == "/slow" {
			<-release
			return
		}
		echoLength(s)
	})
	s.send(s.headers(1, false, ":method=POST", ":scheme=http", ":path=/slow", ":authority=h"))
	s.send(bytes.Repeat(dataFrame(1, false, strings.Repeat("x", 1<<14)), 4)) // its whole window
	s.send(s.headers(3, false, ":method=POST", ":scheme=http", ":path=/", ":authority=h"))
	conn, stream := int64(defaultWindow-1<<16), int64(1<<16) // the rest comes by WINDOW_UPDATE
	const size = 1 << 20
	for sent := int64(0); sent < size; {
		n := min(conn, stream, 1<<14, size-sent)
		if n > 0 {
			s.send(dataFrame(3, sent+n == size, strings.Repeat("y", int(n))))
			sent, conn, stream = sent+n, conn-n, stream-n
			continue
		}
		f, ok := s.nextAny()
		if !ok {
			t.Fatal("the connection has ended")
		}
		if f.typ == frameWindowUpdate && f.stream == 0 {
			conn += int64(be32(f.payload))
		} else if f.typ == frameWindowUpdate && f.stream == 3 {
			stream += int64(be32(f.payload))
		}
	}
	s.until("HEADERS 3 ")
	s.want(fmt.Sprintf("DATA 3 1 \"%d\"", size))
}

// TestWindowFilled: what has been read comes back as window when other streams,
// whose readers are slow, fill the rest of it.
func TestWindowFilled(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	s := serveTCP(t, Config{ConnWindow: 1 << 18, MaxConnWindow: 1 << 18, StreamWindow: 1 << 16}, func(s *ServerStream) {
		if s.Request().Target == "/slow" {
			<-release
			return
		}
		echoLength(s)
	})
	conn := int64(defaultWindow)
	take := func(until int64) { // waits for that much of the connection's window
		t.Helper()
		for conn < until {
			f, ok := s.nextAny()
			if !ok {
				t.Fatal("the connection has ended")
			}
			if f.typ == frameWindowUpdate && f.stream == 0 {
				conn += int64(be32(f.payload))
			}
		}
	}
	send := func(stream uint32, n int64, end bool) {
		for ; n > 0; n -= min(n, 1<<14) {
			s.send(dataFrame(stream, end && n <= 1<<14, strings.Repeat("x", int(min(n, 1<<14)))))
			conn -= min(n, 1<<14)
		}
	}
	take(1 << 18)
	s.send(s.headers(1, false, ":method=POST", ":scheme=http", ":path=/", ":authority=h"))
	send(1, 1<<16, false)
	s.until("WINDOW_UPDATE 1 ") // read up to there, and not all given back to the connection
	for stream := uint32(3); conn > 0; stream += 2 {
		s.send(s.headers(stream, false, ":method=POST", ":scheme=http", ":path=/slow", ":authority=h"))
		send(stream, min(conn, 1<<16), false)
	}
	take(1)
	send(1, 1, true)
	s.until("HEADERS 1 ")
}

// No update of 0 bytes is sent, which would be an error, though the window is
// empty.
func TestNoEmptyUpdate(t *testing.T) {
	t.Parallel()
	c := &conn{cfg: &Config{}, recvMax: 10}
	c.giveBackLocked(nil, 0)
	if c.out != nil {
		t.Errorf("sent %q", c.out.B)
	}
}

// echoLength answers with the length of the body.
func echoLength(s *ServerStream) {
	n := 0
	for {
		piece, last, err := s.ReadBody()
		if n += len(piece); err != nil {
			return
		}
		if last {
			break
		}
	}
	s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
	s.WriteBody(fmt.Append(nil, n), true)
}

// TestWindowGrows: the window of a stream whose reader keeps up doubles up to
// its limit and never beyond, and that of the connection with it.
func TestWindowGrows(t *testing.T) {
	t.Parallel()
	const mega = 1 << 20
	for _, tt := range []struct {
		name    string
		cfg     Config
		rtt     time.Duration
		streams int
		read    int      // bytes per second that a reader takes, 0 for all there are
		stream  [2]int64 // what the largest window of a stream is in the end, at least and at most
		conn    [2]int64 // of the connection
		share   int      // of the path's 1.25 MB/s, in percent, at least
	}{
		{"a short path", Config{}, 0, 1, 0, [2]int64{1 << 17, mega}, [2]int64{mega, 4 * mega}, 99},
		{"a long path", Config{}, 600 * time.Millisecond, 1, 0, [2]int64{mega, mega}, [2]int64{2 * mega, 4 * mega}, 95},
		{"a long path for many", Config{}, 600 * time.Millisecond, 20, 0, [2]int64{1 << 17, mega}, [2]int64{2 * mega, 4 * mega}, 95},
		{"limits", Config{MaxStreamWindow: 1 << 18, MaxConnWindow: mega}, 600 * time.Millisecond, 1, 0, [2]int64{1 << 18, 1 << 18}, [2]int64{mega, mega}, 30},
		{"a slow reader", Config{}, 0, 1, 800_000, [2]int64{1 << 16, 1 << 17}, [2]int64{mega, mega}, 40},
		{"a slow reader far away", Config{}, 100 * time.Millisecond, 1, 800_000, [2]int64{1 << 16, 1 << 19}, [2]int64{mega, mega}, 40},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			peer, ours := net.Pipe()
			s := serve(t, peer, ours, tt.cfg, func(s *ServerStream) {
				for {
					piece, last, err := s.ReadBody()
					if last || err != nil {
						return
					}
					if tt.read > 0 {
						time.Sleep(time.Duration(len(piece)) * time.Second / time.Duration(tt.read))
					}
				}
			})
			p := newPath(s, tt.rtt, tt.streams)
			p.run(15 * time.Second)
			sent := p.sent
			p.run(10 * time.Second)
			c := &s.conn.conn
			c.mu.Lock()
			largest := int64(0)
			for _, st := range c.streams {
				largest = max(largest, st.recvMax)
			}
			connMax := c.recvMax
			c.mu.Unlock()
			if largest < tt.stream[0] || largest > tt.stream[1] {
				t.Errorf("a stream's window has grown to %d, want %v", largest, tt.stream)
			}
			if connMax < tt.conn[0] || connMax > tt.conn[1] {
				t.Errorf("the connection's window has grown to %d, want %v", connMax, tt.conn)
			}
			if share := (p.sent - sent) * 100 / (10 * pathRate); share < int64(tt.share) {
				t.Errorf("%d %% of the path was used, want %d", share, tt.share)
			}
		})
	}
}

// A path carries uploads at 1.25 MB/s to a server that is some way off.
type path struct {
	*served
	rtt     time.Duration
	sent    int64
	windows map[uint32]int64 // by stream, 0 for the connection
	coming  []update
}

// An update of a window is on its way back.
type update struct {
	at     time.Time
	stream uint32
	n      int64
}

// pathRate is what a path carries in a second, pathTick in 20 ms.
const (
	pathRate = 1_250_000
	pathTick = pathRate / 50
)

func newPath(s *served, rtt time.Duration, streams int) *path {
	p := &path{served: s, rtt: rtt, windows: map[uint32]int64{0: defaultWindow}}
	s.send(append([]byte(preface), appendSettings(nil)...))
	time.Sleep(rtt)
	s.send(appendSettingsAck(nil))
	for i := range streams {
		id := uint32(2*i + 1)
		s.send(s.post(id))
		p.windows[id] = 1 << 16
	}
	return p
}

// run sends what the windows allow for, the streams taking turns.
func (p *path) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		p.updates()
		room, share := int64(pathTick), max(pathTick/int64(len(p.windows)), 2500)
		for moved := true; moved && room > 0; {
			moved = false
			for id := range p.windows {
				n := min(room, p.windows[0], p.windows[id], share)
				if id == 0 || n <= 0 {
					continue
				}
				p.send(dataFrame(id, false, strings.Repeat("x", int(n))))
				p.windows[0] -= n
				p.windows[id] -= n
				room -= n
				p.sent += n
				moved = true
			}
		}
	}
}

func (p *path) updates() {
	synctest.Wait()
	p.mu.Lock()
	for _, f := range p.frames {
		if f.typ == frameWindowUpdate {
			p.coming = append(p.coming, update{time.Now().Add(p.rtt), f.stream, int64(be32(f.payload))})
		}
	}
	p.frames = nil
	p.mu.Unlock()
	for len(p.coming) > 0 && !p.coming[0].at.After(time.Now()) {
		p.windows[p.coming[0].stream] += p.coming[0].n
		p.coming = p.coming[1:]
	}
}
