// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"cmp"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxyerr"
)

// A client that sends its body slower than MinBodyRate is given up, though no
// single wait takes long; one that is a little faster is not.
func TestMinBodyRate(t *testing.T) {
	t.Parallel()
	const (
		grpc    = post + "|content-type=application/grpc+proto"
		connect = ":method=CONNECT|:protocol=websocket|:scheme=http|:path=/|:authority=h"
	)
	tests := []struct {
		name   string
		rate   int
		head   string        // post if empty
		pause  time.Duration // before each piece
		piece  int
		pieces int
		begin  func(*ServerStream) // before reading
		read   time.Duration       // that the handler takes for each piece
		cut    bool
	}{
		{name: "fast enough", pause: time.Second, piece: 240, pieces: 600},
		{name: "too slow", pause: time.Second, piece: 239, pieces: 2000, cut: true},
		{name: "within the grace", pause: 200 * time.Millisecond, piece: 1, pieces: 20},
		{name: "beyond the grace", pause: 200 * time.Millisecond, piece: 1, pieces: 40, cut: true},
		{name: "a byte a minute", pause: 59 * time.Second, piece: 1, pieces: 3, cut: true},
		{name: "late, then whole", pause: 59 * time.Second, piece: 1, pieces: 2},
		{name: "pauses between large pieces", pause: 59 * time.Second, piece: 240 * 60, pieces: 20},
		{name: "other rate", rate: 10, pause: time.Second, piece: 9, pieces: 100, cut: true},
		{name: "other rate, fast enough", rate: 10, pause: time.Second, piece: 10, pieces: 100},
		{name: "any rate", rate: -1, pause: 59 * time.Second, piece: 1, pieces: 100},
		{name: "behind the answer", pause: 59 * time.Second, piece: 1, pieces: 100, begin: func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: 0}, false)
		}},
		{name: "behind an informational answer", pause: 59 * time.Second, piece: 1, pieces: 100, begin: func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 103}, false)
		}, cut: true},
		{name: "slow reader", pause: time.Second, piece: 1, pieces: 100, read: time.Second},
		{name: "gRPC", head: grpc, pause: 59 * time.Second, piece: 1, pieces: 100},
		{name: "gRPC by HTTP/1 rules", head: grpc, pause: 59 * time.Second, piece: 1, pieces: 100, begin: func(s *ServerStream) {
			s.SetLimits(http1.StreamLimits{MinBodyRate: 240})
		}, cut: true},
		{name: "extended CONNECT", head: connect, pause: 59 * time.Second, piece: 1, pieces: 100},
		{name: "other rate for one", pause: time.Second, piece: 9, pieces: 100, begin: func(s *ServerStream) {
			s.SetLimits(http1.StreamLimits{MinBodyRate: 9})
		}},
		{name: "any rate for one", pause: 59 * time.Second, piece: 1, pieces: 100, begin: func(s *ServerStream) {
			s.SetLimits(http1.StreamLimits{MinBodyRate: -1})
		}},
		{name: "longer waits for one", rate: -1, pause: 61 * time.Second, piece: 1, pieces: 3, begin: func(s *ServerStream) {
			s.SetLimits(http1.StreamLimits{BodyTimeout: 62 * time.Second})
		}},
	}
	for _, tt := range tests {
		inBubble(t, tt.name, func(t *testing.T) {
			done := make(chan error, 1)
			s := servePipe(t, Config{MinBodyRate: tt.rate}, func(s *ServerStream) {
				if tt.begin != nil {
					tt.begin(s)
				}
				_, err := readBody(func() ([]byte, bool, error) {
					time.Sleep(tt.read)
					return s.ReadBody()
				})
				done <- err
			})
			s.send(s.headers(1, false, strings.Split(cmp.Or(tt.head, post), "|")...))
			for i := range tt.pieces {
				time.Sleep(tt.pause)
				s.send(dataFrame(1, i == tt.pieces-1, strings.Repeat("x", tt.piece)))
			}
			err := <-done
			if e, ok := errors.AsType[*proxyerr.Error](err); tt.cut != ok || ok && (e.Kind != proxyerr.ReadTimeout || e.Status != 408) {
				t.Errorf("%v; want it cut: %v", err, tt.cut)
			}
		})
	}
}

// The limits of one stream are not those of the next that has its memory.
func TestSetLimitsEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		done := make(chan error, 1)
		first := true
		s := servePipe(t, Config{}, func(s *ServerStream) {
			if first {
				first = false
				s.SetLimits(http1.StreamLimits{BodyTimeout: time.Hour, MinBodyRate: -1, WriteTimeout: time.Hour})
			}
			_, err := readBody(s.ReadBody)
			done <- err
			ok(s)
		})
		for i, want := range []bool{true, false} {
			stream := uint32(2*i + 1)
			s.send(join(s.post(stream), dataFrame(stream, false, "x")))
			time.Sleep(61 * time.Second)
			s.send(dataFrame(stream, true, "x"))
			if err := <-done; (err == nil) != want {
				t.Errorf("stream %d: %v; want it to be read: %v", stream, err, want)
			}
			s.until("HEADERS ")
		}
	})
}

// Time counts only as far as the client can send: not while other streams, whose
// readers are slow, fill the window of the connection.
func TestMinBodyRateCrowded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		crowd   int // bytes that others leave unread, of 128 KiB
		crowded time.Duration
		alone   time.Duration
		cut     bool
	}{
		{"not crowded", 95 << 10, 30 * time.Second, 0, true},
		{"crowded", 97 << 10, 55 * time.Second, 0, false},
		{"full", 127 << 10, 55 * time.Second, 0, false},
		{"crowded, then in time", 127 << 10, 50 * time.Second, 4 * time.Second, false},
		{"crowded, then too late", 127 << 10, 50 * time.Second, 6 * time.Second, true},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			done := make(chan error, 1)
			release := make(chan struct{})
			s := servePipe(t, Config{ConnWindow: 1 << 17, MaxConnWindow: 1 << 17, StreamWindow: 1 << 17}, func(s *ServerStream) {
				if s.Request().Target == "/slow" {
					<-release
					return
				}
				_, err := readBody(s.ReadBody)
				done <- err
			})
			s.send(s.headers(3, false, ":method=POST", ":scheme=http", ":path=/slow", ":authority=h"))
			for n := tt.crowd; n > 0; n -= min(n, 1<<14) {
				s.send(dataFrame(3, false, strings.Repeat("x", min(n, 1<<14))))
			}
			s.send(s.post(5))
			s.send(dataFrame(5, false, "x"))
			time.Sleep(tt.crowded)
			close(release)
			time.Sleep(tt.alone)
			s.send(dataFrame(5, false, "x"))
			synctest.Wait()
			s.send(dataFrame(5, true, "x"))
			if err := <-done; (err != nil) != tt.cut {
				t.Errorf("%v; want it cut: %v", err, tt.cut)
			}
		})
	}
}

func TestStopwatch(t *testing.T) {
	t.Parallel()
	inBubble(t, "", func(t *testing.T) {
		var w stopwatch
		for i, step := range []struct {
			on   bool
			want time.Duration // a second later
		}{{false, 0}, {true, 1}, {true, 2}, {false, 2}, {false, 2}, {true, 3}, {false, 3}} {
			w.run(step.on)
			time.Sleep(time.Second)
			if got := w.total(); got != step.want*time.Second {
				t.Errorf("step %d: %v, want %d s", i, got, step.want)
			}
		}
	})
}
