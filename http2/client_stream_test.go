// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxyerr"
)

// TestClientStreamSends looks at the frames of requests.
func TestClientStreamSends(t *testing.T) {
	t.Parallel()
	const head = " :method=POST :scheme=http :path=/p :authority=h"
	tests := []struct {
		name   string
		length int64
		write  func(s *ClientStream, head *header.Request) error
		want   []string
	}{
		{"head and body together", 5, func(s *ClientStream, head *header.Request) error {
			return errors.Join(s.WriteHead(head, "", true, false), s.WriteBody([]byte("hello"), true))
		}, []string{"HEADERS 1 4" + head + " te=trailers content-length=5", `DATA 1 1 "hello"`}},
		{"flushed", -1, func(s *ClientStream, head *header.Request) error {
			return errors.Join(s.WriteHead(head, "", false, false), s.Flush(), s.Flush(), s.WriteBody(nil, false), s.WriteBody([]byte("x"), false), s.WriteBody(nil, true))
		}, []string{"HEADERS 1 4" + head, `DATA 1 0 "x"`, `DATA 1 1 ""`}},
		{"without a body", 0, func(s *ClientStream, head *header.Request) error {
			return s.WriteHead(head, "", false, true)
		}, []string{"HEADERS 1 5" + head + " content-length=0"}},
		{"trailers", -1, func(s *ClientStream, head *header.Request) error {
			var trailers header.Fields
			trailers.Add("A", "b")
			trailers.Add("Content-Length", "7")
			return errors.Join(s.WriteHead(head, "", false, false), s.WriteBody([]byte("x"), false), s.WriteTrailers(&trailers))
		}, []string{"HEADERS 1 4" + head, `DATA 1 0 "x"`, "HEADERS 1 5 a=b"}},
		{"no trailers", -1, func(s *ClientStream, head *header.Request) error {
			return errors.Join(s.WriteHead(head, "", false, false), s.WriteTrailers(nil))
		}, []string{"HEADERS 1 4" + head, `DATA 1 1 ""`}},
		{"finished without a word", 5, func(s *ClientStream, head *header.Request) error {
			s.Finish()
			return nil
		}, nil},
		{"finished in the middle", 5, func(s *ClientStream, head *header.Request) error {
			defer s.Finish()
			return errors.Join(s.WriteHead(head, "", false, false), s.WriteBody([]byte("hel"), false))
		}, []string{"HEADERS 1 4" + head + " content-length=5", `DATA 1 0 "hel"`, "RST_STREAM 1 CANCEL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := dialTCP(t, Config{})
			s := d.conn.NewStream(nil, 0, 0)
			if s.Conn() != d.conn {
				t.Error("Conn is another")
			}
			if err := tt.write(s, newRequest("POST", "/p", tt.length)); err != nil {
				t.Errorf("write: %v", err)
			}
			d.want(tt.want...)
			if strings.HasPrefix(tt.name, "finished") {
				d.conn.mu.Lock()
				defer d.conn.mu.Unlock()
				if d.conn.reserved != 0 || len(d.conn.streams) != 0 {
					t.Errorf("%d reserved, %d open, want none", d.conn.reserved, len(d.conn.streams))
				}
				return
			}
			s.Finish()
		})
	}
}

// TestClientStreamMisuse: what a program does wrong is an error of its own and
// nothing is sent that would be malformed.
func TestClientStreamMisuse(t *testing.T) {
	t.Parallel()
	d := dialTCP(t, Config{})
	for _, tt := range []struct {
		name string
		do   func(s *ClientStream) error
	}{
		{"method", func(s *ClientStream) error { return s.WriteHead(newRequest("GE T", "/", 0), "", false, true) }},
		{"target", func(s *ClientStream) error { return s.WriteHead(newRequest("GET", "/ x", 0), "", false, true) }},
		{"star", func(s *ClientStream) error { return s.WriteHead(newRequest("GET", "*", 0), "", false, true) }},
		{"body too long", func(s *ClientStream) error {
			s.WriteHead(newRequest("PUT", "/", 3), "", false, false)
			return s.WriteBody([]byte("1234"), true)
		}},
		{"body too short", func(s *ClientStream) error {
			s.WriteHead(newRequest("PUT", "/", 3), "", false, false)
			return s.WriteBody([]byte("12"), true)
		}},
		{"trailers too early", func(s *ClientStream) error {
			var trailers header.Fields
			trailers.Add("a", "b")
			s.WriteHead(newRequest("PUT", "/", 3), "", false, false)
			return s.WriteTrailers(&trailers)
		}},
		{"body after the end", func(s *ClientStream) error {
			s.WriteHead(newRequest("PUT", "/", -1), "", false, true)
			return s.WriteBody([]byte("12"), true)
		}},
	} {
		s := d.conn.NewStream(nil, 0, 0)
		if err := tt.do(s); err == nil || proxyerr.CanRetry(err, true) {
			t.Errorf("%s: %v, want an error that cannot be retried", tt.name, err)
		}
		s.Finish()
	}
}

// TestEarlyResponse: an origin may answer before it has got the request, and
// say that it does not want the rest.
func TestEarlyResponse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		after func(d *dialed) []byte // the response
		want  response
		err   bool // of WriteBody
	}{
		{"and NO_ERROR", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=413"), dataFrame(1, true, "no"), appendRSTStream(nil, 1, NoError))
		}, response{statuses: "413;", body: "no"}, false},
		{"and nothing", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=413"), dataFrame(1, true, "no"))
		}, response{statuses: "413;", body: "no"}, true}, // the window stays closed
		{"and CANCEL in the middle", func(d *dialed) []byte {
			return join(d.headers(1, false, ":status=413"), dataFrame(1, false, "n"), appendRSTStream(nil, 1, Cancel))
		}, response{statuses: "413;", body: "n", err: &ResetError{Code: Cancel}}, false},
		{"reset without a response", func(d *dialed) []byte { return appendRSTStream(nil, 1, InternalError) }, response{err: &ResetError{Code: InternalError}}, true},
	}
	for _, tt := range tests {
		inBubble(t, tt.name, func(t *testing.T) {
			d := dialPipe(t, Config{})
			s := d.conn.NewStream(nil, 0, 5*time.Second)
			defer s.Finish()
			if err := s.WriteHead(newRequest("PUT", "/", 200_000), "", false, false); err != nil {
				t.Fatal(err)
			}
			written := make(chan error, 1)
			go func() { written <- s.WriteBody(make([]byte, 200_000), true) }()
			synctest.Wait()
			d.send(tt.after(d))
			got := receive(s)
			re, _ := errors.AsType[*ResetError](got.err)
			want, _ := tt.want.err.(*ResetError)
			if (re == nil) != (want == nil) || re != nil && *re != *want {
				t.Errorf("got error %v, want %v", got.err, tt.want.err)
			}
			if got.err = tt.want.err; got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if err := <-written; (err != nil) != tt.err {
				t.Errorf("WriteBody = %v, want an error: %v", err, tt.err)
			}
		})
	}
}

// TestClientStreamTimeouts: the times of the stream replace those of the
// configuration.
func TestClientStreamTimeouts(t *testing.T) {
	t.Parallel()
	inBubble(t, "read", func(t *testing.T) {
		d := dialPipe(t, Config{ReadTimeout: time.Second})
		for _, tt := range []struct{ limit, want time.Duration }{{0, time.Second}, {5 * time.Second, 5 * time.Second}} {
			s := d.conn.NewStream(nil, tt.limit, 0)
			start := time.Now()
			s.WriteHead(newRequest("GET", "/", 0), "", false, true)
			var res header.Response
			if err := s.ReadHead(&res); !errors.Is(err, proxyerr.ReadTimeout) || time.Since(start) != tt.want {
				t.Errorf("got %v after %v, want a timeout after %v", err, time.Since(start), tt.want)
			}
			s.Finish()
			d.sync() // the origin is alive
		}
	})
	inBubble(t, "write", func(t *testing.T) {
		d := dialPipe(t, Config{WriteTimeout: time.Second})
		s := d.conn.NewStream(nil, 0, 0)
		defer s.Finish()
		start := time.Now()
		s.WriteHead(newRequest("PUT", "/", -1), "", false, false)
		// The first wait has seen some of it go, so there is a second.
		if err := s.WriteBody(make([]byte, 70_000), true); !errors.Is(err, proxyerr.WriteTimeout) || time.Since(start) != 2*time.Second {
			t.Errorf("got %v after %v, want a timeout after 2s", err, time.Since(start))
		}
	})
}

// TestClientStreamWatcher: the watcher is asked while the stream waits for the
// origin, and only by the one goroutine that reads.
func TestClientStreamWatcher(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		d := dialPipe(t, Config{ReadTimeout: time.Second})
		gone := proxyerr.New(proxyerr.Downstream, proxyerr.ConnClosed, "wait for peer", nil)
		var sending atomic.Bool
		sending.Store(true)
		s := d.conn.NewStream(watchFunc(func() error {
			if sending.Load() {
				return http1.ErrStillSending
			}
			return gone
		}), 0, time.Hour)
		defer s.Finish()
		s.WriteHead(newRequest("PUT", "/", -1), "", false, false)
		written := make(chan error, 1)
		go func() { written <- s.WriteBody(make([]byte, 70_000), true) }()
		time.AfterFunc(time.Minute, func() { sending.Store(false) })
		var res header.Response
		if err := s.SendAndReadHead(&res); err != error(gone) {
			t.Errorf("ReadHead = %v, want the watcher's error", err)
		}
		s.Kill()
		if err := <-written; !errors.Is(err, proxyerr.ConnClosed) {
			t.Errorf("WriteBody after Kill = %v, want a closed connection", err)
		}
	})
}

// TestReadWhileEnding: what has come before the connection ended can be read.
func TestReadWhileEnding(t *testing.T) {
	eachTransport(t, func(t *testing.T, peer, ours net.Conn) {
		d := dial(t, peer, ours, Config{})
		d.hello()
		s := d.get()
		defer s.Finish()
		d.send(join(d.headers(1, false, ":status=200"), dataFrame(1, false, "hello"), d.headers(1, true, "a=b")))
		d.sync()
		d.nc.Close()
		waitFor(t, "the end", d.conn.Closed())
		if got, want := receive(s), (response{statuses: "200;", body: "hello", trailers: "a: b\n"}); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
