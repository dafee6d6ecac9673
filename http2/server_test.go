// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

const post = ":method=POST|:scheme=http|:path=/p|:authority=h"

// post returns HEADERS for a request with a body.
func (p *rawPeer) post(stream uint32, fields ...string) []byte {
	return p.headers(stream, false, append(strings.Split(post, "|"), fields...)...)
}

func TestServer(t *testing.T) {
	eachTransport(t, func(t *testing.T, peer, ours net.Conn) {
		s := serve(t, peer, ours, Config{}, echo)
		s.send(hello())
		for _, tt := range []struct {
			name   string
			frames []byte
			want   string
		}{
			{"no body", s.request(1, true), `GET / h "" ""`},
			{"empty body", join(s.post(3), dataFrame(3, true, "")), `POST /p h "" ""`},
			{"body", join(s.post(5), dataFrame(5, false, "hel"), dataFrame(5, true, "lo")), `POST /p h "hello" ""`},
			{"body with length", join(s.post(7, "content-length=5"), dataFrame(7, true, "hello")), `POST /p h "hello" ""`},
			{"length 0", join(s.post(9, "content-length=0"), dataFrame(9, true, "")), `POST /p h "" ""`},
			{"trailers", join(s.post(11), dataFrame(11, false, "x"), s.headers(11, true, "a=b", "content-length=7", "host=x")), `POST /p h "x" "a: b\n"`},
			{"only trailers", join(s.post(13), s.headers(13, true, "a=b")), `POST /p h "" "a: b\n"`},
			{"padding", join(s.post(15), rawFrame(frameData, flagPadded|flagEndStream, 15, []byte("\x03hi\x00\x00\x00"))), `POST /p h "hi" ""`},
			{"priority in HEADERS", rawFrame(frameHeaders, flagPriority|flagEndHeaders|flagEndStream, 17, append(make([]byte, 5), s.block(strings.Split(post, "|")...)...)), `POST /p h "" ""`},
		} {
			s.send(tt.frames)
			id, _ := consumeFrameHeader(tt.frames)
			s.want(fmt.Sprintf("HEADERS %d 4 :status=200 content-length=%d", id.stream, len(tt.want)), fmt.Sprintf("DATA %d 1 %q", id.stream, tt.want))
		}
		if got := s.conn.Requests(); got != 9 || s.conn.NetConn() != ours {
			t.Errorf("%d requests, want 9", got)
		}
	})
}

// TestServerMalformed: a request that is malformed ends its stream alone, and
// no handler sees it.
func TestServerMalformed(t *testing.T) {
	t.Parallel()
	s := serveTCP(t, Config{MaxHeaderBytes: 2000, MaxTargetBytes: 300}, ok)
	big := strings.Repeat("x", 1900)
	refused := func(status int) string {
		text := fmt.Sprintf("%d %s\n", status, header.StatusText(status))
		return fmt.Sprintf("HEADERS %%[1]d 4 :status=%d content-type=text/plain; charset=utf-8 cache-control=no-store content-length=%d|DATA %%[1]d 1 %q", status, len(text), text)
	}
	for i, tt := range []struct {
		fields []string
		want   string
	}{
		{[]string{"connection=close"}, "RST_STREAM %d PROTOCOL_ERROR"},
		{[]string{"content-length=5"}, "RST_STREAM %d PROTOCOL_ERROR"},
		{[]string{"a=" + big}, refused(431)},
		{[]string{"a= " + big}, refused(431)},
		{[]string{"a=" + big + big}, refused(431)},
		{[]string{"a=" + strings.Repeat("\x80", 2001)}, refused(431)},
		{[]string{"a=" + strings.Repeat("0", 15_000)}, refused(431)}, // 9 KiB on the wire
		{[]string{strings.Repeat("x", 2001) + "=y"}, refused(431)},
		{[]string{"expect=200-ok"}, refused(417)},
		{[]string{"expect=100-continue", "expect=more"}, refused(417)},
		{[]string{"expect=100-Continue"}, "HEADERS %d 4 :status=200 content-length=2|DATA %[1]d 1 \"ok\""},
		{nil, "HEADERS %d 4 :status=200 content-length=2|DATA %[1]d 1 \"ok\""},
	} {
		id := uint32(2*i + 1)
		s.send(s.request(id, true, tt.fields...))
		s.want(strings.Split(fmt.Sprintf(tt.want, id), "|")...)
	}
	target := func(n int) []string {
		return []string{":method=GET", ":scheme=http", ":path=/" + strings.Repeat("x", n-1), ":authority=h"}
	}
	s.send(s.headers(31, true, target(300)...))
	s.want("HEADERS 31 4 :status=200 content-length=2", `DATA 31 1 "ok"`)
	s.send(s.headers(33, true, target(301)...))
	s.want(strings.Split(fmt.Sprintf(refused(414), 33), "|")...)
	s.send(join(s.post(35, "a="+big), dataFrame(35, false, "x")))
	s.want(append(strings.Split(fmt.Sprintf(refused(431), 35), "|"), "RST_STREAM 35 NO_ERROR")...)
}

// TestServerTrailers: malformed trailers end the stream.
func TestServerTrailers(t *testing.T) {
	t.Parallel()
	errs := make(chan error, 1)
	s := serveTCP(t, Config{MaxHeaderBytes: 2000}, func(s *ServerStream) {
		_, err := readBody(s.ReadBody)
		errs <- err
	})
	for i, tt := range []struct {
		fields []string
		want   string
	}{
		{[]string{":path=/"}, "PROTOCOL_ERROR"},
		{[]string{"Upper=case"}, "PROTOCOL_ERROR"},
		{[]string{"connection=close"}, "PROTOCOL_ERROR"},
		{[]string{"a=" + strings.Repeat("x", 2000)}, "ENHANCE_YOUR_CALM"},
	} {
		id := uint32(2*i + 1)
		s.send(join(s.post(id), s.headers(id, true, tt.fields...)))
		s.want(fmt.Sprintf("RST_STREAM %d %s", id, tt.want))
		if err := <-errs; !errors.Is(err, proxyerr.BadMessage) {
			t.Errorf("trailers %q: ReadBody = %v, want a bad message", tt.fields, err)
		}
	}
}

func TestMaxStreams(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := serveTCP(t, Config{MaxStreams: 2}, func(s *ServerStream) {
		if s.Request().Target == "/p" {
			<-release
		}
		ok(s)
	})
	s.send(join(s.post(1), s.post(3), s.request(5, true)))
	s.want("RST_STREAM 5 REFUSED_STREAM")
	s.send(join(appendRSTStream(nil, 1, Cancel), s.request(7, true)))
	s.want(okFrames(7)...)
	// The handlers of streams that have been reset count too, up to a point.
	s.send(join(appendRSTStream(nil, 3, Cancel), s.post(9), s.post(11), appendRSTStream(nil, 9, Cancel), s.request(13, true)))
	s.want("RST_STREAM 13 REFUSED_STREAM")
	close(release)
	s.want("HEADERS 11 4 :status=200 content-length=2", `DATA 11 1 "ok"`, "RST_STREAM 11 NO_ERROR")
	for {
		s.conn.mu.Lock()
		running := s.conn.running
		s.conn.mu.Unlock()
		if running == 0 {
			break
		}
		s.sync()
	}
	s.send(s.request(15, true))
	s.want(okFrames(15)...)
}

// TestMaxHeld: the heads of all requests in hand together are bounded.
func TestMaxHeld(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := serveTCP(t, Config{MaxStreams: 1000}, func(s *ServerStream) {
		<-release
		ok(s)
	})
	cookie := "cookie=" + strings.Repeat("x", 3900)
	fields := make([]string, 15)
	for i := range fields {
		fields[i] = cookie
	}
	refused := 0
	for i := range 100 {
		s.send(s.request(uint32(2*i+1), true, fields...))
	}
	s.sync()
	s.conn.mu.Lock()
	held, running := s.conn.held, s.conn.running
	s.conn.mu.Unlock()
	if held > maxHeld || held < maxHeld*9/10 {
		t.Errorf("%d bytes are held, want about %d", held, maxHeld)
	}
	close(release)
	for range 100 {
		f, _ := s.next()
		if strings.HasSuffix(f.String(), "REFUSED_STREAM") {
			refused++
		} else if f.typ == frameHeaders {
			s.until("DATA")
		}
	}
	if refused != 100-running {
		t.Errorf("%d of 100 requests were refused, want %d", refused, 100-running)
	}
}

// TestServerReset: a client that resets a stream ends what its handler does.
func TestServerReset(t *testing.T) {
	t.Parallel()
	errs := make(chan error, 1)
	tests := []struct {
		name   string
		handle func(*ServerStream) error
	}{
		{"reading", func(s *ServerStream) error {
			_, err := readBody(s.ReadBody)
			return err
		}},
		{"writing", func(s *ServerStream) error {
			s.WriteHead(&header.Response{Status: 200, Length: -1}, false)
			return s.WriteBody(make([]byte, 1<<20), true)
		}},
		{"waiting", func(s *ServerStream) error {
			for !s.ClientGone() {
				time.Sleep(time.Millisecond)
			}
			return s.WriteHead(&header.Response{Status: 200}, true)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serveTCP(t, Config{}, func(s *ServerStream) { errs <- tt.handle(s) })
			s.send(s.post(1))
			s.sync()
			s.send(appendRSTStream(nil, 1, Cancel))
			err := <-errs
			if re, ok := errors.AsType[*ResetError](err); !ok || re.Code != Cancel || re.Local || !errors.Is(err, proxyerr.ConnClosed) {
				t.Errorf("got %v, want a closed connection by CANCEL", err)
			}
			s.send(s.post(3))
			s.send(appendRSTStream(nil, 3, Cancel))
			<-errs
		})
	}
}

// TestDoubleReset: a stream that its handler ends while the client goes on
// sending on it is reset once.
func TestDoubleReset(t *testing.T) {
	t.Parallel()
	s := serveTCP(t, Config{}, func(s *ServerStream) { s.Abort(); s.Abort() })
	s.send(s.post(1))
	s.want("RST_STREAM 1 INTERNAL_ERROR")
	s.send(join(dataFrame(1, false, "x"), s.headers(1, true, "a=b"), appendWindowUpdate(nil, 1, 5), appendRSTStream(nil, 1, Cancel), appendPing(nil, 0, pingData)))
	s.want(`PING 1 "belay   "`)
}

// TestManyResets: after more resets than are remembered, what is still on its
// way on those streams is no error.
func TestManyResets(t *testing.T) {
	t.Parallel()
	s := serveTCP(t, Config{MaxStreams: 1000, MaxResets: 1000}, func(s *ServerStream) { s.Abort() })
	for i := range 100 {
		s.send(s.post(uint32(2*i + 1)))
	}
	for range 100 {
		s.until("RST_STREAM")
	}
	for i := range 100 {
		s.send(dataFrame(uint32(2*i+1), true, "x"))
	}
	s.send(appendPing(nil, 0, pingData))
	s.want(`PING 1 "belay   "`)
}

// TestServerStreamsReused: a connection uses its streams again and nothing is
// left over from one request to the next.
func TestServerStreamsReused(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		seen := map[*ServerStream]bool{}
		s := servePipe(t, Config{}, func(s *ServerStream) {
			seen[s] = true
			if s.Upgrade() == "websocket" {
				return // without an answer
			}
			if s.HeadSent() || s.BytesSent() != 0 || s.BodyReceived() != 0 || s.Upgrade() != "" || s.ClientGone() {
				t.Error("a stream is not as new")
			}
			echo(s)
		})
		for i := range 10 {
			id := uint32(2*i + 1)
			switch i % 3 {
			case 0:
				s.send(join(s.post(id), dataFrame(id, false, "x"), s.headers(id, true, "a=b")))
				s.until(fmt.Sprintf("DATA %d 1 %q", id, `POST /p h "x" "a: b\n"`))
			case 1:
				s.send(s.headers(id, true, ":method=CONNECT", ":protocol=websocket", ":scheme=http", ":path=/", ":authority=h"))
				s.until(fmt.Sprintf("RST_STREAM %d", id))
			case 2:
				s.send(s.request(id, true))
				s.until(fmt.Sprintf("DATA %d 1 %q", id, `GET / h "" ""`))
			}
			synctest.Wait()
		}
		if len(seen) > 2 {
			t.Errorf("%d streams for requests one after the other, want them reused", len(seen))
		}
	})
}

// TestOnReject: what no handler sees is reported, and what ends a connection.
func TestOnReject(t *testing.T) {
	t.Parallel()
	type report struct {
		status int
		code   ErrCode
	}
	for _, tt := range []struct {
		name string
		send func(p *rawPeer) []byte
		want []report
	}{
		{"request", func(p *rawPeer) []byte { return p.request(1, true) }, nil},
		{"malformed", func(p *rawPeer) []byte { return p.request(1, true, "connection=x") }, []report{{400, ProtocolError}}},
		{"too large", func(p *rawPeer) []byte { return p.request(1, true, "a="+strings.Repeat("b", 2000)) }, []report{{431, EnhanceYourCalm}}},
		{"unknown expectation", func(p *rawPeer) []byte { return p.request(1, true, "expect=x") }, []report{{417, RefusedStream}}},
		{"flood", func(p *rawPeer) []byte { return bytes.Repeat(appendPing(nil, 0, pingData), 20) }, []report{{0, EnhanceYourCalm}}},
		{"mistake", func(p *rawPeer) []byte { return rawFrame(framePushPromise, 0, 1, nil) }, []report{{0, ProtocolError}}},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			var got []report // only one goroutine at a time is at it
			s := servePipe(t, Config{MaxHeaderBytes: 1024, MaxGlitches: 10, OnReject: func(c *ServerConn, status int, err error) {
				if c.NetConn() == nil {
					t.Error("NetConn = nil")
				}
				got = append(got, report{status, CodeOf(err)})
			}}, ok)
			s.send(tt.send(s.rawPeer))
			synctest.Wait()
			s.nc.Close()
			<-s.done
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
