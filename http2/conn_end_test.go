// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
)

// slow answers after a time that the path says.
func slow(s *ServerStream) {
	d, _ := time.ParseDuration(strings.TrimPrefix(s.Request().Target, "/"))
	time.Sleep(d)
	ok(s)
}

// lived returns how long ago start was and how the connection has ended.
func (s *served) lived(start time.Time) string {
	goAway := s.ended()
	<-s.rawPeer.done
	return fmt.Sprint(s.end.Sub(start), " ", goAway)
}

func TestServerTimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  Config
		do   func(s *served) // send what there is, in order, sleeping as needed
		want string          // how long it lives, and the code of the GOAWAY
	}{
		{"nothing comes", Config{}, func(s *served) {}, "10s SETTINGS_TIMEOUT"},
		{"nothing but half a preface", Config{}, func(s *served) {
			for i := range 24 {
				if time.Sleep(time.Second); s.send([]byte(preface[i:i+1])) != nil {
					return
				}
			}
		}, "10s SETTINGS_TIMEOUT"},
		{"no SETTINGS", Config{HeadTimeout: time.Second}, func(s *served) { s.send([]byte(preface)) }, "1s SETTINGS_TIMEOUT"},
		{"no acknowledgement", Config{}, func(s *served) {
			s.send(append([]byte(preface), appendSettings(nil)...))
			s.send(s.request(1, true, ":path=/1s"))
		}, "10s SETTINGS_TIMEOUT"},
		{"no limit for the beginning", Config{HeadTimeout: -1}, func(s *served) {
			time.Sleep(70 * time.Second)
			s.send(hello())
		}, "1m15s NO_ERROR"},
		{"idle from the beginning", Config{}, func(s *served) { s.send(hello()) }, "1m15s NO_ERROR"},
		{"idle after a request", Config{IdleTimeout: 20 * time.Second}, func(s *served) {
			s.send(hello())
			time.Sleep(19 * time.Second)
			s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/30s", ":authority=h"))
		}, "1m9s NO_ERROR"},
		{"a header block that does not end", Config{}, func(s *served) {
			s.send(hello())
			s.send(rawFrame(frameHeaders, 0, 1, nil))
			for i := range 10 {
				if time.Sleep(3 * time.Second); s.send(rawFrame(frameContinuation, 0, 1, []byte{byte(i)})) != nil {
					return
				}
			}
		}, "10s ENHANCE_YOUR_CALM"},
		{"a frame that does not end", Config{}, func(s *served) {
			s.send(hello())
			time.Sleep(5 * time.Second)
			for _, b := range s.request(1, true) {
				if s.send([]byte{b}) != nil {
					return
				}
				time.Sleep(3 * time.Second)
			}
		}, "15s ENHANCE_YOUR_CALM"},
		{"no answer to PING", Config{PingInterval: 10 * time.Second}, func(s *served) {
			s.send(hello())
			s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/5m", ":authority=h"))
		}, "15s "},
		{"no answer to PING, in the middle of an idle time", Config{PingInterval: 10 * time.Second, PingTimeout: time.Second}, func(s *served) {
			s.send(hello())
			time.Sleep(33 * time.Second)
			s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/5m", ":authority=h"))
		}, "44s "},
		{"PING is answered", Config{PingInterval: 10 * time.Second}, func(s *served) {
			s.send(hello())
			s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/55s", ":authority=h"))
			for range 5 {
				s.until("PING")
				s.send(appendPing(nil, flagAck, pingData))
			}
		}, "2m10s NO_ERROR"},
		{"no PING without requests", Config{PingInterval: 10 * time.Second}, func(s *served) { s.send(hello()) }, "1m15s NO_ERROR"},
	}
	for _, tt := range tests {
		inBubble(t, tt.name, func(t *testing.T) {
			peer, ours := net.Pipe()
			start := time.Now()
			s := serve(t, peer, ours, tt.cfg, slow)
			tt.do(s)
			if got := s.lived(start); got != tt.want {
				t.Errorf("lived for %s, want %s", got, tt.want)
			}
		})
	}
}

func TestClientTimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  Config
		do   func(d *dialed)
		want string // how long it lives, and what OnClose gets
	}{
		{"no SETTINGS", Config{}, func(d *dialed) {}, "10s http2: SETTINGS_TIMEOUT: no SETTINGS or no acknowledgement"},
		{"origin of HTTP/1", Config{}, func(d *dialed) {
			d.send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, "0s http2: FRAME_SIZE_ERROR: the peer speaks HTTP/1"},
		{"idle", Config{}, func(d *dialed) { d.hello() }, "1m15s <nil>"},
		{"not idle while a stream is promised", Config{}, func(d *dialed) {
			d.hello()
			s := d.conn.NewStream(nil, 0, 0)
			time.Sleep(2 * time.Minute)
			if err := s.WriteHead(newRequest("GET", "/", 0), "", false, true); err != nil {
				d.t.Errorf("WriteHead: %v", err)
			}
			s.Finish()
		}, "3m15s <nil>"},
		{"no answer to PING", Config{PingInterval: time.Second}, func(d *dialed) { d.hello(); d.get() }, "6s http2: no answer to PING"},
		{"origin goes away", Config{}, func(d *dialed) {
			d.hello()
			time.Sleep(time.Second)
			d.send(appendGoAway(nil, 1<<31-1, NoError, ""))
		}, "1s <nil>"},
		{"origin goes away with an error", Config{}, func(d *dialed) {
			d.hello()
			d.send(appendGoAway(nil, 0, EnhanceYourCalm, "enough"))
		}, "0s http2: connection ended by peer: ENHANCE_YOUR_CALM: \"enough\""},
		{"origin hangs up", Config{}, func(d *dialed) {
			d.hello()
			time.Sleep(time.Second)
			d.nc.Close()
		}, "1s <nil>"},
		{"closed", Config{}, func(d *dialed) { d.hello(); d.conn.Close() }, "0s <nil>"},
		{"killed", Config{}, func(d *dialed) { d.conn.Kill() }, "0s use of closed network connection"},
		{"closed with a stream", Config{}, func(d *dialed) {
			d.hello()
			s := d.get()
			d.conn.Close()
			if d.conn.NewStream(nil, 0, 0) != nil || d.conn.Available() != 0 {
				d.t.Error("a closed connection takes streams")
			}
			time.Sleep(time.Second)
			d.send(d.headers(1, true, ":status=200"))
			if got := receive(s); got.statuses != "200;" {
				d.t.Errorf("got %v, want a 200", got)
			}
			s.Finish()
		}, "1s <nil>"},
	}
	for _, tt := range tests {
		inBubble(t, tt.name, func(t *testing.T) {
			peer, ours := net.Pipe()
			start := time.Now()
			d := dial(t, peer, ours, tt.cfg)
			tt.do(d)
			<-d.conn.Closed()
			<-d.over
			if got := fmt.Sprint(time.Since(start), " ", d.err); got != tt.want {
				t.Errorf("lived for %s, want %s", got, tt.want)
			}
		})
	}
}

// TestMaxAge: connections end in good order at an age of their own, whether they
// are idle or not.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	between := func(t *testing.T, got, low, high time.Duration) {
		t.Helper()
		if got < low || got > high {
			t.Errorf("it lived for %v, want %v to %v", got, low, high)
		}
	}
	for _, tt := range []struct {
		name      string
		cfg       Config
		path      string // of a request, if there is one
		low, high time.Duration
	}{
		{"default", Config{IdleTimeout: -1}, "", 54 * time.Minute, time.Hour + drainPause},
		{"idle", Config{IdleTimeout: -1, MaxAge: 10 * time.Hour}, "", 9 * time.Hour, 10*time.Hour + drainPause},
		{"with a request", Config{MaxAge: time.Minute}, "/2m", 2 * time.Minute, 2 * time.Minute},
		{"off", Config{IdleTimeout: 48 * time.Hour, MaxAge: -1}, "", 48 * time.Hour, 48 * time.Hour},
	} {
		inBubble(t, "server/"+tt.name, func(t *testing.T) {
			s := servePipe(t, tt.cfg, slow)
			start := time.Now()
			if tt.path != "" {
				s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path="+tt.path, ":authority=h"))
			}
			if got := s.ended(); got != "NO_ERROR" {
				t.Errorf("GOAWAY %s, want NO_ERROR", got)
			}
			<-s.rawPeer.done
			between(t, s.end.Sub(start), tt.low, tt.high)
		})
	}
	inBubble(t, "client", func(t *testing.T) {
		ages := map[time.Duration]bool{}
		for range 5 {
			start := time.Now()
			d := dialPipe(t, Config{MaxAge: time.Hour, IdleTimeout: -1})
			<-d.conn.Closed()
			between(t, time.Since(start), 54*time.Minute, time.Hour)
			ages[time.Since(start)] = true
		}
		if len(ages) == 1 {
			t.Error("all are equally old")
		}
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	const first, ping = "GOAWAY 2147483647 NO_ERROR", `PING 0 "draining"`
	inBubble(t, "without streams", func(t *testing.T) {
		s := servePipe(t, Config{}, slow)
		s.sync()
		start := time.Now()
		s.conn.Drain()
		s.conn.Drain()
		s.want(first, ping, "GOAWAY 0 NO_ERROR", "end")
		if got := time.Since(start); got != drainPause {
			t.Errorf("it took %v, want %v", got, drainPause)
		}
	})
	inBubble(t, "with a stream that ends meanwhile", func(t *testing.T) {
		s := servePipe(t, Config{}, slow)
		s.send(s.request(1, true, ":path=/none"))
		s.want("RST_STREAM 1 PROTOCOL_ERROR")
		s.send(s.headers(3, true, ":method=GET", ":scheme=http", ":path=/500ms", ":authority=h"))
		s.conn.Drain()
		s.want(first, ping)
		s.want(okFrames(3)...)
		s.want("GOAWAY 3 NO_ERROR", "end")
	})
	inBubble(t, "new streams", func(t *testing.T) {
		s := servePipe(t, Config{}, slow)
		s.conn.Drain()
		s.want(first, ping)
		s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/2s", ":authority=h")) // the client has not heard yet
		s.want("GOAWAY 1 NO_ERROR")
		s.send(s.request(3, true)) // it should have
		s.send(s.request(5, false))
		s.send(dataFrame(5, true, "x"))
		s.want(okFrames(1)...)
		s.want("GOAWAY 1 NO_ERROR", "end")
		if got := s.conn.Requests(); got != 1 {
			t.Errorf("%d requests, want 1", got)
		}
	})
	inBubble(t, "when the process ends", func(t *testing.T) {
		draining := false
		s := servePipe(t, Config{Draining: func() bool { return draining }}, slow)
		s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/0s", ":authority=h"))
		s.want(okFrames(1)...)
		synctest.Wait()
		draining = true
		s.send(s.headers(3, true, ":method=GET", ":scheme=http", ":path=/0s", ":authority=h"))
		s.want(okFrames(3)...)
		s.want(first, ping, "GOAWAY 3 NO_ERROR", "end")
	})
	inBubble(t, "a client that has heard", func(t *testing.T) {
		s := servePipe(t, Config{}, slow)
		s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/2s", ":authority=h"))
		s.sync()
		start := time.Now()
		s.conn.Drain()
		s.want(first, ping)
		s.send(appendPing(nil, flagAck, pingData)) // answers something else
		s.send(s.headers(3, true, ":method=GET", ":scheme=http", ":path=/1s", ":authority=h"))
		s.send(appendPing(nil, flagAck, drainPing))
		s.want("GOAWAY 3 NO_ERROR")
		if got := time.Since(start); got != 0 {
			t.Errorf("it took %v, want nothing", got)
		}
		s.send(appendPing(nil, flagAck, drainPing))
		s.want(okFrames(3)...)
		s.want(okFrames(1)...)
		s.want("GOAWAY 3 NO_ERROR", "end")
	})
	inBubble(t, "an idle client that has heard", func(t *testing.T) {
		s := servePipe(t, Config{}, slow)
		s.sync()
		start := time.Now()
		s.conn.Drain()
		s.want(first, ping)
		s.send(appendPing(nil, flagAck, drainPing))
		s.want("GOAWAY 0 NO_ERROR", "end")
		if got := time.Since(start); got != 0 {
			t.Errorf("it took %v, want nothing", got)
		}
	})
}

func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	inBubble(t, "with a stream", func(t *testing.T) {
		s := servePipe(t, Config{}, slow)
		s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/1s", ":authority=h"))
		s.send(appendGoAway(nil, 0, NoError, ""))
		s.want(okFrames(1)...)
		s.want("GOAWAY 1 NO_ERROR", "end")
		<-s.done
		if s.err != nil {
			t.Errorf("OnClose got %v, want nil", s.err)
		}
	})
	inBubble(t, "without warning", func(t *testing.T) {
		gone := make(chan error, 1)
		s := servePipe(t, Config{}, func(s *ServerStream) {
			_, err := readBody(s.ReadBody)
			gone <- err
			if !s.ClientGone() {
				t.Error("ClientGone = false")
			}
		})
		s.send(s.request(1, false))
		s.sync()
		s.nc.Close()
		if err := <-gone; err == nil {
			t.Error("reading the body: no error")
		}
		<-s.done
		if s.err != nil || !s.conn.PeerGone() {
			t.Errorf("OnClose got %v, PeerGone = %v, want nil and true", s.err, s.conn.PeerGone())
		}
	})
}

// TestKill: whatever a connection is doing, Kill ends it at once.
func TestKill(t *testing.T) {
	t.Parallel()
	inBubble(t, "reading", func(t *testing.T) {
		start := time.Now()
		s := servePipe(t, Config{}, func(s *ServerStream) {
			if _, _, err := s.ReadBody(); err == nil {
				t.Error("ReadBody: no error")
			}
		})
		s.send(s.request(1, false))
		s.sync()
		s.conn.Kill()
		<-s.done
		if got := time.Since(start); got != 0 || !errors.Is(s.err, net.ErrClosed) {
			t.Errorf("it took %v, OnClose got %v, want nothing and net.ErrClosed", got, s.err)
		}
	})
	inBubble(t, "writing to a client that does not read", func(t *testing.T) {
		peer, ours := net.Pipe()
		defer peer.Close()
		cfg := Config{}.WithDefaults()
		c := NewServerConn(ours, &cfg, []byte(preface), func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
			if err := s.WriteBody(make([]byte, 1<<20), true); err == nil {
				t.Error("WriteBody: no error")
			}
		})
		done := make(chan struct{})
		go func() { defer close(done); c.Serve() }()
		peer.Write(appendSettings(nil))
		peer.Write(headersFrame(1, true, newHeadWriter().request(newRequest("GET", "/", 0), "http", "", false)))
		synctest.Wait()
		start := time.Now()
		c.Kill()
		<-done
		if got := time.Since(start); got != 0 {
			t.Errorf("it took %v, want nothing", got)
		}
	})
}

// TestEndsThoughNobodyReads: a connection that is to end does not wait for a
// peer that takes nothing.
func TestEndsThoughNobodyReads(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		peer, ours := net.Pipe()
		defer peer.Close()
		cfg := Config{}.WithDefaults()
		c := NewServerConn(ours, &cfg, []byte(preface), ok)
		done := make(chan struct{})
		go func() { defer close(done); c.Serve() }()
		peer.Write(appendPing(nil, 0, pingData)) // not SETTINGS
		start := time.Now()
		<-done
		if got := time.Since(start); got > 2*lastWords {
			t.Errorf("it took %v, want at most %v", got, 2*lastWords)
		}
	})
}

// TestLinger: the last words arrive although the client goes on sending.
func TestLinger(t *testing.T) {
	t.Parallel()
	peer, ours := tcpPair(t)
	s := serve(t, peer, ours, Config{}, ok)
	s.send(hello())
	s.sync()
	big := make([]byte, 100<<10) // unread when the connection ends
	s.send(append(rawFrame(framePushPromise, 0, 1, nil), big...))
	if got := s.ended(); got != "PROTOCOL_ERROR" {
		t.Errorf("got GOAWAY %q, want PROTOCOL_ERROR", got)
	}
	s.rawPeer.mu.Lock()
	defer s.rawPeer.mu.Unlock()
	if s.rawPeer.err != io.EOF {
		t.Errorf("the connection ended with %v, want EOF", s.rawPeer.err)
	}
}

// TestLingerSlowly: a client that sends without end is held back, and cut off
// when the time is over.
func TestLingerSlowly(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		peer, _, closed, done := serveHalf(t, Config{}, 0, ok)
		peer.Write(rawFrame(framePushPromise, 0, 1, nil))
		takeData(t, peer, frameGoAway, nil)
		<-closed
		start := time.Now()
		atOnce, later := 0, 0
		for piece := make([]byte, 1<<10); ; {
			n, err := peer.Write(piece)
			if time.Now().Equal(start) {
				atOnce += n
			} else {
				later += n
			}
			if err != nil {
				break
			}
		}
		<-done
		if atOnce != maxLinger {
			t.Errorf("%d bytes were taken at once, want %d", atOnce, maxLinger)
		}
		if most := int(lastWords/lingerPause) << 10; later == 0 || later > most {
			t.Errorf("%d bytes were taken later, want 1 to %d", later, most)
		}
		if got := time.Since(start); got < lastWords || got > lastWords+lingerPause {
			t.Errorf("it took %v, want %v", got, lastWords)
		}
	})
}

// TestLingerFlood: small frames that come in masses do not hold up the end, nor a
// kill.
func TestLingerFlood(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		peer, c, closed, done := serveHalf(t, Config{}, 1, ok)
		takeData(t, peer, frameData, nil)
		go io.Copy(io.Discard, peer)
		c.Drain()
		<-closed
		flood := bytes.Repeat(rawFrame(0xbb, 0, 0, nil), 3000)
		var start time.Time
		go func() {
			time.Sleep(10 * time.Second)
			start = time.Now()
			c.Kill()
		}()
		for {
			if _, err := peer.Write(flood); err != nil {
				break
			}
		}
		<-done
		if got := time.Since(start); start.IsZero() || got > lastGasp+lingerPause {
			t.Errorf("it ended %v after Kill, want at most %v", got, lastGasp+lingerPause)
		}
	})
}

// A halfConn is a connection in memory whose sending side can end alone, as
// that of TCP can.
type halfConn struct {
	net.Conn
	closed chan struct{} // by CloseWrite
}

func (c *halfConn) CloseWrite() error {
	close(c.closed)
	return nil
}

// serveHalf serves a connection in memory whose sending side can end. On it
// the client has sent requests for n streams, and reads nothing yet.
func serveHalf(t *testing.T, cfg Config, n int, handle func(*ServerStream)) (peer net.Conn, c *ServerConn, closed, done chan struct{}) {
	t.Helper()
	peer, ours := net.Pipe()
	half := &halfConn{ours, make(chan struct{})}
	cfg = cfg.WithDefaults()
	c = NewServerConn(half, &cfg, nil, handle)
	done = make(chan struct{})
	go func() { defer close(done); c.Serve() }()
	t.Cleanup(func() { c.Kill(); peer.Close(); <-done })
	raw := newRawPeer(t, &scriptConn{})
	peer.Write(hello(setting{settingInitialWindowSize, 1 << 20}))
	peer.Write(appendWindowUpdate(nil, 0, 1<<20))
	for i := range n {
		peer.Write(raw.request(uint32(2*i+1), true))
	}
	synctest.Wait()
	return peer, c, half.closed, done
}

// takeData reads frames until one of a type, and returns how much data came.
func takeData(t *testing.T, nc net.Conn, until frameType, last []byte) (n int) {
	t.Helper()
	var head [frameHeaderLen]byte
	for {
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			t.Errorf("after %d bytes of data: %v", n, err)
			return n
		}
		h, _ := consumeFrameHeader(head[:])
		p := make([]byte, h.length)
		if _, err := io.ReadFull(nc, p); err != nil {
			t.Errorf("after %d bytes of data: %v", n, err)
			return n
		}
		if h.typ == frameData {
			n += h.length
		}
		if h.typ == until && (last == nil || string(p) == string(last)) {
			return n
		}
	}
}

// TestGoodEndWaits: a client that is slow to take the rest gets it, whoever has
// asked for the end, as long as it takes some.
func TestGoodEndWaits(t *testing.T) {
	t.Parallel()
	const size = 60_000
	for _, tt := range []struct {
		name string
		end  func(peer net.Conn, c *ServerConn)
	}{
		{"drained", func(_ net.Conn, c *ServerConn) { c.Drain() }},
		{"client goes away", func(peer net.Conn, _ *ServerConn) { peer.Write(appendGoAway(nil, 0, NoError, "")) }},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			peer, c, closed, done := serveHalf(t, Config{WriteTimeout: 10 * time.Second}, 1, func(s *ServerStream) { sendBytes(s, size) })
			tt.end(peer, c)
			n := 0
			for range 4 { // 25 s in which it takes 4 kB now and then
				time.Sleep(6 * time.Second)
				k, err := io.ReadFull(peer, make([]byte, 4000))
				if n += k; err != nil {
					t.Fatalf("after %d bytes: %v", n, err)
				}
			}
			k, err := io.ReadFull(peer, make([]byte, size-n))
			if err != nil {
				t.Fatalf("after %d bytes: %v", n+k, err)
			}
			takeRest := make(chan struct{})
			go func() { defer close(takeRest); io.Copy(io.Discard, peer) }()
			<-closed
			start := time.Now()
			select {
			case <-done:
				t.Error("closed before the client has said that it has everything")
			case <-time.After(9 * time.Second):
			}
			peer.Write(join(appendWindowUpdate(nil, 0, 1), appendPing(nil, flagAck, lastPing)))
			<-done
			if got := time.Since(start); got != 9*time.Second {
				t.Errorf("it took %v after the answer to the PING, want nothing", got-9*time.Second)
			}
			<-takeRest
		})
	}
	inBubble(t, "takes nothing", func(t *testing.T) {
		_, c, _, done := serveHalf(t, Config{WriteTimeout: 10 * time.Second}, 1, func(s *ServerStream) { sendBytes(s, size) })
		start := time.Now()
		c.Drain()
		<-done
		if got := time.Since(start); got > 12*time.Second {
			t.Errorf("it took %v, want WriteTimeout", got)
		}
	})
	inBubble(t, "takes next to nothing", func(t *testing.T) {
		peer, c, _, done := serveHalf(t, Config{WriteTimeout: 10 * time.Second}, 1, func(s *ServerStream) { sendBytes(s, size) })
		start := time.Now()
		c.Drain()
		taken := make(chan struct{})
		go func() {
			defer close(taken)
			for {
				if _, err := peer.Read(make([]byte, 100)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		<-done
		if got := time.Since(start); got > 12*time.Second {
			t.Errorf("it took %v, want WriteTimeout", got)
		}
		<-taken
	})
	inBubble(t, "after an error", func(t *testing.T) {
		peer, _, _, done := serveHalf(t, Config{WriteTimeout: 10 * time.Second}, 1, func(s *ServerStream) { sendBytes(s, size) })
		start := time.Now()
		peer.Write(rawFrame(framePushPromise, 0, 1, nil))
		<-done
		if got := time.Since(start); got > 2*lastWords {
			t.Errorf("it took %v, want %v at most", got, 2*lastWords)
		}
	})
}

// TestLingerTimes: how long a connection that has ended in good order waits for the
// client to close.
func TestLingerTimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, peer net.Conn, c *ServerConn)
		want time.Duration // from the last frame on
	}{
		{"has heard of the end", func(t *testing.T, peer net.Conn, c *ServerConn) {
			c.Drain()
			takeData(t, peer, framePing, drainPing)
			peer.Write(appendPing(nil, flagAck, drainPing))
		}, lastGasp},
		{"has been idle for long", func(t *testing.T, peer net.Conn, c *ServerConn) {}, lastGasp},
		{"has just had an answer", func(t *testing.T, peer net.Conn, c *ServerConn) {
			peer.Write(appendGoAway(nil, 0, NoError, ""))
		}, 10 * time.Second},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			peer, c, closed, done := serveHalf(t, Config{WriteTimeout: 10 * time.Second, IdleTimeout: 20 * time.Second}, 1, ok)
			takeData(t, peer, frameData, nil)
			tt.do(t, peer, c)
			takeData(t, peer, frameGoAway, nil)
			<-closed
			start := time.Now()
			<-done
			if got := time.Since(start); got != tt.want {
				t.Errorf("it took %v, want %v", got, tt.want)
			}
		})
	}
}

// TestKillSaysSo: a client that reads hears of it.
func TestKillSaysSo(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{}, slow)
		s.send(s.headers(1, true, ":method=GET", ":scheme=http", ":path=/1h", ":authority=h"))
		s.sync()
		synctest.Wait()
		s.conn.Kill()
		s.want("GOAWAY 1 NO_ERROR", "end")
	})
}
