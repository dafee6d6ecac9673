// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// TestServerStreamSends looks at the frames of responses.
func TestServerStreamSends(t *testing.T) {
	t.Parallel()
	res := func(status int, length int64) *header.Response {
		return &header.Response{Status: status, Length: length}
	}
	const get, connect = ":method=GET", ":method=CONNECT"
	tests := []struct {
		name   string
		method string
		write  func(s *ServerStream) error
		want   string // frames on stream 1
	}{
		{"head and body", get, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(200, 5), false), s.WriteBody([]byte("hel"), false), s.WriteBody([]byte("lo"), true))
		}, `HEADERS 1 4 :status=200 content-length=5|DATA 1 0 "hel"|DATA 1 1 "lo"`},
		{"unknown length", get, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(200, -1), false), s.WriteBody([]byte("x"), false), s.WriteBody(nil, false), s.WriteBody(nil, true))
		}, `HEADERS 1 4 :status=200|DATA 1 0 "x"|DATA 1 1 ""`},
		{"flushed", get, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(200, -1), false), s.Flush(), s.Flush(), s.WriteBody([]byte("x"), true))
		}, `HEADERS 1 4 :status=200|DATA 1 1 "x"`},
		{"no body", get, func(s *ServerStream) error { return s.WriteHead(res(200, -1), true) }, "HEADERS 1 5 :status=200 content-length=0"},
		{"204", get, func(s *ServerStream) error { return s.WriteHead(res(204, 0), false) }, "HEADERS 1 5 :status=204"},
		{"304", get, func(s *ServerStream) error { return s.WriteHead(res(304, 7), false) }, "HEADERS 1 5 :status=304 content-length=7"},
		{"HEAD", ":method=HEAD", func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(200, 7), false), s.WriteBody([]byte("ignored"), true))
		}, "HEADERS 1 5 :status=200 content-length=7"},
		{"HEAD of unknown length", ":method=HEAD", func(s *ServerStream) error { return s.WriteHead(res(200, -1), true) }, "HEADERS 1 5 :status=200"},
		{"informational", get, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(103, -1), false), s.WriteHead(res(100, -1), false), s.WriteHead(res(200, 0), true))
		}, "HEADERS 1 4 :status=103|HEADERS 1 4 :status=100|HEADERS 1 5 :status=200 content-length=0"},
		{"trailers", get, func(s *ServerStream) error {
			var trailers header.Fields
			trailers.Add("Grpc-Status", "0")
			trailers.Add("Trailer", "x")
			return errors.Join(s.WriteHead(res(200, -1), false), s.WriteBody([]byte("x"), false), s.WriteTrailers(&trailers), s.WriteTrailers(nil))
		}, `HEADERS 1 4 :status=200|DATA 1 0 "x"|HEADERS 1 5 grpc-status=0`},
		{"no trailers", get, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(200, -1), false), s.WriteTrailers(nil))
		}, "HEADERS 1 5 :status=200"},
		{"no trailers after a flush", get, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(200, -1), false), s.Flush(), s.WriteTrailers(nil))
		}, `HEADERS 1 4 :status=200|DATA 1 1 ""`},
		{"tunnel", connect, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(200, 7), false), s.StartTunnelWrites(time.Minute), s.WriteBody([]byte("x"), false), s.WriteBody([]byte("y"), true))
		}, `HEADERS 1 4 :status=200|DATA 1 0 "x"|DATA 1 1 "y"`},
		{"CONNECT refused", connect, func(s *ServerStream) error {
			return errors.Join(s.WriteHead(res(403, 2), false), s.WriteBody([]byte("no"), true))
		}, `HEADERS 1 4 :status=403 content-length=2|DATA 1 1 "no"`},
		{"aborted", get, func(s *ServerStream) error {
			err := errors.Join(s.WriteHead(res(200, -1), false), s.WriteBody([]byte("x"), false))
			s.Abort()
			return err
		}, `HEADERS 1 4 :status=200|DATA 1 0 "x"|RST_STREAM 1 INTERNAL_ERROR`},
		{"killed", get, func(s *ServerStream) error { s.Kill(); return nil }, "RST_STREAM 1 CANCEL"},
		{"nothing", get, func(s *ServerStream) error { return nil }, "RST_STREAM 1 INTERNAL_ERROR"},
		{"only a head", get, func(s *ServerStream) error { return s.WriteHead(res(200, -1), false) }, "RST_STREAM 1 INTERNAL_ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serveTCP(t, Config{}, func(s *ServerStream) {
				if err := tt.write(s); err != nil {
					t.Errorf("write: %v", err)
				}
			})
			if tt.method == connect {
				s.send(s.headers(1, false, connect, ":authority=h:1"))
			} else {
				s.send(s.headers(1, true, tt.method, ":scheme=http", ":path=/", ":authority=h"))
			}
			s.want(strings.Split(tt.want, "|")...)
		})
	}
}

// TestServerStreamMisuse: what a program does wrong is an error, and the client
// never takes what it gets for a complete response.
func TestServerStreamMisuse(t *testing.T) {
	t.Parallel()
	res := func(status int, length int64) *header.Response {
		return &header.Response{Status: status, Length: length}
	}
	tests := []struct {
		name string
		do   func(s *ServerStream) error
	}{
		{"status 99", func(s *ServerStream) error { return s.WriteHead(res(99, -1), true) }},
		{"status 101", func(s *ServerStream) error { return s.WriteHead(res(101, -1), true) }},
		{"status 1000", func(s *ServerStream) error { return s.WriteHead(res(1000, -1), true) }},
		{"second head", func(s *ServerStream) error {
			s.WriteHead(res(200, -1), false)
			return s.WriteHead(res(200, -1), false)
		}},
		{"length without body", func(s *ServerStream) error { return s.WriteHead(res(200, 5), true) }},
		{"body too long", func(s *ServerStream) error {
			s.WriteHead(res(200, 3), false)
			return s.WriteBody([]byte("1234"), true)
		}},
		{"body too short", func(s *ServerStream) error {
			s.WriteHead(res(200, 3), false)
			return s.WriteBody([]byte("12"), true)
		}},
		{"trailers too early", func(s *ServerStream) error {
			var trailers header.Fields
			trailers.Add("a", "b")
			s.WriteHead(res(200, 3), false)
			return s.WriteTrailers(&trailers)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serveTCP(t, Config{}, func(s *ServerStream) {
				if err := tt.do(s); err == nil {
					t.Error("no error")
				}
			})
			s.send(s.request(1, true))
			if got := s.until("RST_STREAM"); got != "RST_STREAM 1 INTERNAL_ERROR" {
				t.Errorf("got %s, want RST_STREAM", got)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	s := serveTCP(t, Config{}, func(s *ServerStream) {
		if !s.ExpectsContinue() {
			t.Error("ExpectsContinue = false")
		}
		if err := s.WriteContinue(); err != nil {
			t.Error(err)
		}
		echo(s)
	})
	s.send(s.post(1, "expect=100-Continue"))
	s.want("HEADERS 1 4 :status=100")
	s.send(dataFrame(1, true, "x"))
	s.want("HEADERS 1 4 :status=200 content-length=16", `DATA 1 1 "POST /p h \"x\" \"\""`)

	s = serveTCP(t, Config{}, func(s *ServerStream) {
		for !s.BodyBuffered() {
			time.Sleep(time.Millisecond)
		}
		if s.ExpectsContinue() || s.WriteContinue() != nil { // the client has not waited
			t.Error("ExpectsContinue = true")
		}
		echo(s)
	})
	s.send(join(s.post(1, "expect=100-continue"), dataFrame(1, true, "x")))
	s.want("HEADERS 1 4 :status=200 content-length=16")
}

// TestServerStreamRead looks at what a handler sees of a body.
func TestServerStreamRead(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		step := make(chan string)
		s := servePipe(t, Config{ReadTimeout: 10 * time.Second}, func(s *ServerStream) {
			for what := range step {
				switch what {
				case "nothing":
					if s.BodyBuffered() || s.BodyComplete() {
						t.Error("there is a body already")
					}
				case "piece":
					piece, last, err := s.ReadBody()
					if string(piece) != "hello" || last || err != nil {
						t.Errorf("ReadBody = %q, %v, %v", piece, last, err)
					}
				case "interrupt":
					time.AfterFunc(time.Second, s.InterruptReading)
					if _, _, err := s.ReadBody(); err == nil {
						t.Error("ReadBody was not interrupted")
					}
					if _, _, err := s.ReadBody(); err == nil {
						t.Error("ReadBody was not interrupted again")
					}
					s.ResumeReading()
				case "timeout":
					start := time.Now()
					_, _, err := s.ReadBody()
					e, ok := errors.AsType[*proxyerr.Error](err)
					if !ok || e.Kind != proxyerr.ReadTimeout || e.Status != 408 || time.Since(start) != 10*time.Second {
						t.Errorf("ReadBody = %v after %v, want 408 after 10s", err, time.Since(start))
					}
				case "end":
					if !s.BodyBuffered() || !s.BodyComplete() {
						t.Error("the body is not complete")
					}
					piece, last, err := s.ReadBody()
					if string(piece) != "x" || !last || err != nil || s.BodyReceived() != 6 {
						t.Errorf("ReadBody = %q, %v, %v after %d bytes", piece, last, err, s.BodyReceived())
					}
					if piece, last, err = s.ReadBody(); len(piece) != 0 || !last || err != nil {
						t.Errorf("ReadBody after the end = %q, %v, %v", piece, last, err)
					}
				}
			}
			if s.Conn().NetConn() == nil || s.Nominates() {
				t.Error("Conn or Nominates")
			}
			s.CloseAfter()
			ok(s)
			if !s.HeadSent() || s.BytesSent() != 2 || s.BodySent() != 2 {
				t.Errorf("HeadSent = %v, BytesSent = %d, want true and 2", s.HeadSent(), s.BytesSent())
			}
		})
		s.send(s.post(1))
		s.sync()
		step <- "nothing"
		synctest.Wait()
		s.send(dataFrame(1, false, "hello"))
		s.sync()
		for _, what := range []string{"piece", "interrupt", "timeout"} {
			step <- what
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		s.send(dataFrame(1, true, "x"))
		s.sync()
		step <- "end"
		close(step)
		s.want(okFrames(1)...)
	})
}

// TestReadAndWriteAtOnce: one goroutine may read while another writes, also
// when both have to wait.
func TestReadAndWriteAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		s := servePipe(t, Config{ReadTimeout: 20 * time.Second, WriteTimeout: 10 * time.Second}, func(s *ServerStream) {
			start := time.Now()
			read := make(chan time.Duration)
			go func() {
				s.ReadBody()
				read <- time.Since(start)
			}()
			s.WriteHead(&header.Response{Status: 200, Length: -1}, false)
			err := s.WriteBody(make([]byte, 70_000), false)
			// The first wait has seen some of it go, so there is a second.
			if !errors.Is(err, proxyerr.WriteTimeout) || time.Since(start) != 20*time.Second {
				t.Errorf("WriteBody = %v after %v, want a timeout after 20s", err, time.Since(start))
			}
			if got := <-read; got != 20*time.Second {
				t.Errorf("ReadBody took %v, want 20s", got)
			}
		})
		s.send(s.post(1))
		s.until("RST_STREAM 1")
	})
}
