// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

func TestClient(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		method string
		frames func(d *dialed) []byte
		want   response
		kind   proxyerr.Kind // of the error
	}{
		{"no body", "GET", func(d *dialed) []byte { return d.headers(1, true, ":status=200") }, response{statuses: "200;"}, ""},
		{"body", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200"), dataFrame(1, false, "hel"), dataFrame(1, true, "lo"))
		}, response{statuses: "200;", body: "hello"}, ""},
		{"length", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200", "content-length=5"), dataFrame(1, true, "hello"))
		}, response{statuses: "200;", body: "hello"}, ""},
		{"trailers", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200"), dataFrame(1, false, "x"), d.headers(1, true, "a=b", "host=x"))
		}, response{statuses: "200;", body: "x", trailers: "a: b\n"}, ""},
		{"informational", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=100"), d.headers(1, false, ":status=103", "link=x"), d.headers(1, true, ":status=204"))
		}, response{statuses: "100 103 204;"}, ""},
		{"HEAD", "HEAD", func(d *dialed) []byte { return d.headers(1, true, ":status=200", "content-length=5") }, response{statuses: "200;"}, ""},
		{"HEAD, ended by DATA", "HEAD", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200", "content-length=5"), dataFrame(1, true, ""))
		}, response{statuses: "200;"}, ""},
		{"304", "GET", func(d *dialed) []byte { return d.headers(1, true, ":status=304", "content-length=5") }, response{statuses: "304;"}, ""},
		{"204 with length", "GET", func(d *dialed) []byte { return d.headers(1, true, ":status=204", "content-length=5") }, response{statuses: "204;"}, ""},
		{"complete and then reset", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200"), dataFrame(1, true, "x"), appendRSTStream(nil, 1, NoError))
		}, response{statuses: "200;", body: "x"}, ""},
		{"complete and then gone", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200"), dataFrame(1, true, "x"), appendGoAway(nil, 1, InternalError, ""), rawFrame(frameData, 0, 0, nil))
		}, response{statuses: "200;", body: "x"}, ""},

		{"HEAD with a body", "HEAD", func(d *dialed) []byte { return join(d.headers(1, false, ":status=200"), dataFrame(1, true, "x")) }, response{statuses: "200;"}, proxyerr.BadMessage},
		{"204 with a body", "GET", func(d *dialed) []byte { return join(d.headers(1, false, ":status=204"), dataFrame(1, true, "x")) }, response{statuses: "204;"}, proxyerr.BadMessage},
		{"too long", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200", "content-length=5"), dataFrame(1, true, "hello!"))
		}, response{statuses: "200;"}, proxyerr.BadMessage},
		{"too short", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200", "content-length=5"), dataFrame(1, true, "hell"))
		}, response{statuses: "200;"}, proxyerr.BadMessage},
		{"too short by trailers", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200", "content-length=5"), dataFrame(1, false, "hell"), d.headers(1, true, "a=b"))
		}, response{statuses: "200;", body: "hell"}, proxyerr.BadMessage},
		{"length without content", "GET", func(d *dialed) []byte { return d.headers(1, true, ":status=200", "content-length=5") }, response{}, proxyerr.BadMessage},
		{"DATA before the head", "GET", func(d *dialed) []byte { return dataFrame(1, true, "x") }, response{}, proxyerr.BadMessage},
		{"DATA after 1xx", "GET", func(d *dialed) []byte { return join(d.headers(1, false, ":status=100"), dataFrame(1, true, "x")) }, response{statuses: "100 "}, proxyerr.BadMessage},
		{"1xx ends the stream", "GET", func(d *dialed) []byte { return d.headers(1, true, ":status=100") }, response{}, proxyerr.BadMessage},
		{"101", "GET", func(d *dialed) []byte { return d.headers(1, false, ":status=101") }, response{}, proxyerr.BadMessage},
		{"no status", "GET", func(d *dialed) []byte { return d.headers(1, true, "a=b") }, response{}, proxyerr.BadMessage},
		{"second head", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200"), d.headers(1, false, ":status=200"))
		}, response{statuses: "200;"}, proxyerr.BadMessage},
		{"malformed trailers", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200"), d.headers(1, true, ":path=/"))
		}, response{statuses: "200;"}, proxyerr.BadMessage},
		{"head too large", "GET", func(d *dialed) []byte { return d.headers(1, true, ":status=200", "a="+strings.Repeat("x", 2000)) }, response{}, proxyerr.TooLarge},
		{"1xx without end", "GET", func(d *dialed) []byte {
			b := d.headers(1, false, ":status=103")
			for range maxInformational {
				b = append(b, d.headers(1, false, ":status=103")...)
			}
			return b
		}, response{}, proxyerr.TooLarge},
		{"large 1xx", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=103", "a="+strings.Repeat("x", 1500)), d.headers(1, false, ":status=103", "a="+strings.Repeat("x", 1500)))
		}, response{}, proxyerr.TooLarge},
		{"reset", "GET", func(d *dialed) []byte { return appendRSTStream(nil, 1, InternalError) }, response{}, proxyerr.ConnClosed},
		{"reset in the middle", "GET", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=200"), dataFrame(1, false, "x"), appendRSTStream(nil, 1, NoError))
		}, response{statuses: "200;", body: "x"}, proxyerr.ConnClosed},
		{"refused", "GET", func(d *dialed) []byte { return appendRSTStream(nil, 1, RefusedStream) }, response{}, proxyerr.StreamRefused},
		{"not covered by GOAWAY", "GET", func(d *dialed) []byte { return appendGoAway(nil, 0, NoError, "") }, response{}, proxyerr.StreamRefused},
		{"GOAWAY with an error", "GET", func(d *dialed) []byte {
			return join(appendGoAway(nil, 1, EnhanceYourCalm, "x"), rawFrame(frameData, 0, 0, nil))
		}, response{}, proxyerr.ConnClosed},
		{"HEADERS on idle", "GET", func(d *dialed) []byte { return d.headers(3, true, ":status=200") }, response{}, proxyerr.BadMessage},
		{"HEADERS on a stream of the server", "GET", func(d *dialed) []byte { return d.headers(2, true, ":status=200") }, response{}, proxyerr.BadMessage},
		{"PUSH_PROMISE", "GET", func(d *dialed) []byte { return rawFrame(framePushPromise, flagEndHeaders, 1, []byte{0, 0, 0, 2}) }, response{}, proxyerr.BadMessage},
		{"ENABLE_PUSH", "GET", func(d *dialed) []byte { return appendSettings(nil, setting{settingEnablePush, 1}) }, response{}, proxyerr.BadMessage},
		{"PRIORITY_UPDATE", "GET", func(d *dialed) []byte { return rawFrame(framePriorityUpdate, 0, 0, make([]byte, 4)) }, response{}, proxyerr.BadMessage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := dialTCP(t, Config{MaxHeaderBytes: 2000})
			s := d.conn.NewStream(nil, 0, 0)
			defer s.Finish()
			if err := s.WriteHead(newRequest(tt.method, "/", 0), "", false, true); err != nil {
				t.Fatal(err)
			}
			d.until("HEADERS 1")
			d.send(tt.frames(d))
			d.sync()
			got := receive(s)
			want := tt.want
			if want.err = got.err; got != want && tt.name != "1xx without end" && tt.name != "large 1xx" {
				t.Errorf("got %v, want %v", got, want)
			}
			if kind := kindOf(got.err); kind != tt.kind {
				t.Errorf("got error %v, want a %q", got.err, tt.kind)
			}
			if retry := proxyerr.CanRetry(got.err, false); retry != (tt.kind == proxyerr.StreamRefused) {
				t.Errorf("CanRetry(%v) = %v", got.err, retry)
			}
		})
	}
}

// kindOf returns the kind of an error of the origin's side, "" if there is none.
func kindOf(err error) proxyerr.Kind {
	if e, ok := errors.AsType[*proxyerr.Error](err); ok && e.Source == proxyerr.Upstream {
		return e.Kind
	}
	if err != nil {
		return proxyerr.Kind(err.Error())
	}
	return ""
}

// TestClientMaxStreams: the lower of our limit and the origin's holds, also
// when the origin lowers it later.
func TestClientMaxStreams(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ ours, origins, want int }{{2, 5, 2}, {5, 2, 2}, {5, 0, 0}} {
		d := dialTCP(t, Config{MaxStreams: tt.ours}, setting{settingMaxConcurrentStreams, uint32(tt.origins)})
		if got := d.conn.Available(); got != tt.want {
			t.Errorf("limits %d and %d: %d streams available, want %d", tt.ours, tt.origins, got, tt.want)
		}
	}
	d := dialTCP(t, Config{MaxStreams: 4})
	first, second := d.get(), d.get()
	promised := d.conn.NewStream(nil, 0, 0)
	d.send(appendSettings(nil, setting{settingMaxConcurrentStreams, 1}))
	d.sync()
	if d.conn.Available() != 0 || d.conn.NewStream(nil, 0, 0) != nil || d.conn.Active() != 2 {
		t.Errorf("%d available, %d active, want 0 and 2", d.conn.Available(), d.conn.Active())
	}
	second.Finish()
	promised.Finish()
	first.Finish()
	if d.conn.Available() != 1 || d.conn.Active() != 0 {
		t.Errorf("%d available, %d active, want 1 and 0", d.conn.Available(), d.conn.Active())
	}
	d.until("RST_STREAM 3 CANCEL")
	d.until("RST_STREAM 1 CANCEL")
}

// TestClientGoAway: streams above the last of a GOAWAY may be sent again, the
// others go on.
func TestClientGoAway(t *testing.T) {
	t.Parallel()
	d := dialTCP(t, Config{})
	first, second := d.get(), d.get()
	promised := d.conn.NewStream(nil, 0, 0)
	defer promised.Finish()
	d.send(appendGoAway(nil, 1<<31-1, NoError, ""))
	d.sync()
	if d.conn.Available() != 0 || d.conn.Active() != 2 {
		t.Errorf("%d available, %d active, want 0 and 2", d.conn.Available(), d.conn.Active())
	}
	err := promised.WriteHead(newRequest("GET", "/", 0), "", false, true)
	if !errors.Is(err, ErrNoStream) || !proxyerr.CanRetry(err, false) {
		t.Errorf("WriteHead of a promised stream = %v, want ErrNoStream", err)
	}
	d.send(appendGoAway(nil, 1, NoError, ""))
	if got := receive(second); !proxyerr.CanRetry(got.err, false) {
		t.Errorf("second: %v, want an error that can be retried", got.err)
	}
	d.send(d.headers(1, true, ":status=200"))
	if got := receive(first); got.statuses != "200;" || got.err != nil {
		t.Errorf("first: %v, want a 200", got)
	}
	waitFor(t, "the end of the connection", d.conn.Closed())
}

// TestClientLost: a connection that fails ends its streams; one on which
// nothing of an answer has come may be retried if it was reused.
func TestClientLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(d *dialed)
		want proxyerr.Kind
	}{
		{"closed", func(d *dialed) { d.nc.Close() }, proxyerr.ConnClosed},
		{"reset", func(d *dialed) { d.nc.(*net.TCPConn).SetLinger(0); d.nc.Close() }, proxyerr.ConnClosed},
		{"killed", func(d *dialed) { d.conn.Kill() }, proxyerr.ConnClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := dialTCP(t, Config{})
			fresh, begun := d.get(), d.get()
			defer fresh.Finish()
			defer begun.Finish()
			d.send(join(d.headers(3, false, ":status=200"), dataFrame(3, false, "x")))
			d.sync()
			tt.end(d)
			got := receive(fresh)
			if kindOf(got.err) != tt.want || !proxyerr.CanRetry(got.err, true) || proxyerr.CanRetry(got.err, false) {
				t.Errorf("without an answer: %v, want %v that can be retried if reused", got.err, tt.want)
			}
			got = receive(begun)
			if kindOf(got.err) != tt.want || proxyerr.CanRetry(got.err, true) || got.body != "x" {
				t.Errorf("with an answer: %v, want x and %v that cannot be retried", got, tt.want)
			}
			if d.conn.NewStream(nil, 0, 0) != nil {
				t.Error("NewStream on a connection that has ended")
			}
		})
	}
}

// TestClientManyCancels: cancelling many streams at once, while the origin
// still sends on them, harms no other.
func TestClientManyCancels(t *testing.T) {
	t.Parallel()
	d := dialTCP(t, Config{MaxStreams: 200})
	keep := d.get()
	defer keep.Finish()
	var streams []*ClientStream
	for range 100 {
		streams = append(streams, d.get())
	}
	for _, s := range streams {
		s.Finish()
	}
	for i := range 100 {
		id := uint32(2*i + 3)
		d.send(join(d.headers(id, false, ":status=200"), dataFrame(id, true, "late")))
	}
	d.send(d.headers(1, true, ":status=200"))
	if got := receive(keep); got.err != nil {
		t.Errorf("the other stream: %v", got.err)
	}
}

// TestExtendedConnect waits for the SETTINGS that allow it.
func TestExtendedConnect(t *testing.T) {
	t.Parallel()
	open := func(d *dialed) (*ClientStream, chan error) {
		s := d.conn.NewStream(nil, 0, 0)
		result := make(chan error, 1)
		go func() {
			err := s.WriteHead(newRequest("CONNECT", "/chat", header.UnknownLength), "websocket", false, false)
			if err == nil {
				err = s.Flush()
			}
			result <- err
		}()
		return s, result
	}
	inBubble(t, "taken", func(t *testing.T) {
		peer, ours := net.Pipe()
		d := dial(t, peer, ours, Config{})
		s, result := open(d)
		time.Sleep(5 * time.Second)
		d.hello(setting{settingEnableConnect, 1})
		if err := <-result; err != nil || !d.conn.ConnectProtocol() {
			t.Fatalf("WriteHead: %v", err)
		}
		d.want("HEADERS 1 4 :method=CONNECT :scheme=http :path=/chat :protocol=websocket :authority=h")
		d.send(join(d.headers(1, false, ":status=200", "content-length=0"), dataFrame(1, false, "from origin")))
		var res header.Response
		if err := s.ReadHead(&res); err != nil || res.Status != 200 {
			t.Fatalf("ReadHead: %v", err)
		}
		s.StartTunnelReads(time.Minute)
		s.StartTunnelWrites(time.Minute)
		if piece, last, err := s.ReadBody(); string(piece) != "from origin" || last || err != nil {
			t.Errorf("ReadBody = %q, %v, %v", piece, last, err)
		}
		if err := s.WriteBody([]byte("to origin"), true); err != nil {
			t.Errorf("WriteBody: %v", err)
		}
		d.want(`DATA 1 1 "to origin"`)
		start := time.Now()
		if _, _, err := s.ReadBody(); !errors.Is(err, proxyerr.ReadTimeout) || time.Since(start) != time.Minute {
			t.Errorf("ReadBody: %v after %v, want a timeout after a minute", err, time.Since(start))
		}
		d.send(appendRSTStream(nil, 1, Cancel))
		synctest.Wait()
		if err := s.WriteBody([]byte("x"), false); !errors.Is(err, proxyerr.ConnClosed) {
			t.Errorf("WriteBody of a dead tunnel: %v, want a closed connection", err)
		}
		s.Finish()
	})
	inBubble(t, "not taken", func(t *testing.T) {
		peer, ours := net.Pipe()
		d := dial(t, peer, ours, Config{})
		s, result := open(d)
		d.hello()
		if err := <-result; !errors.Is(err, proxyerr.Unsupported) || proxyerr.CanRetry(err, true) {
			t.Errorf("WriteHead: %v, want it not to be supported", err)
		}
		s.Finish()
	})
	inBubble(t, "no SETTINGS", func(t *testing.T) {
		peer, ours := net.Pipe()
		d := dial(t, peer, ours, Config{HeadTimeout: time.Second})
		s, result := open(d)
		if err := <-result; !errors.Is(err, ErrNoStream) {
			t.Errorf("WriteHead: %v, want ErrNoStream", err)
		}
		s.Finish()
	})
}
