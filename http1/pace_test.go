// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// A client that sends its body slower than MinBodyRate is given up, though no
// single wait takes long; one that is a little faster is not.
func TestMinBodyRate(t *testing.T) {
	t.Parallel()
	const post = "POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n"
	tests := []struct {
		name     string
		rate     int
		pause    time.Duration // before each piece
		piece    int
		pieces   int
		answered int // the head of the response goes first, if not 0
		cut      bool
	}{
		{"fast enough", 0, time.Second, 240, 600, 0, false},
		{"too slow", 0, time.Second, 239, 2000, 0, true},
		{"within the grace", 0, 200 * time.Millisecond, 1, 20, 0, false},
		{"beyond the grace", 0, 200 * time.Millisecond, 1, 40, 0, true},
		{"a byte a minute", 0, 59 * time.Second, 1, 3, 0, true},
		{"late, then whole", 0, 59 * time.Second, 1, 2, 0, false},
		{"pauses between large pieces", 0, 59 * time.Second, 240 * 60, 20, 0, false},
		{"other rate", 10, time.Second, 9, 100, 0, true},
		{"other rate, fast enough", 10, time.Second, 10, 100, 0, false},
		{"any rate", -1, 59 * time.Second, 1, 100, 0, false},
		{"behind the answer", 0, 59 * time.Second, 1, 100, 200, false},
		{"behind 101", 0, 59 * time.Second, 1, 3, 101, true},
	}
	for _, tt := range tests {
		for _, chunks := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				cfg := ServerConfig{MinBodyRate: tt.rate, DrainTimeout: -1}.WithDefaults()
				var err error
				var wg sync.WaitGroup
				wg.Go(func() {
					NewServerConn(server, &cfg, func(s *ServerStream) {
						if tt.answered != 0 {
							res := header.Response{Status: tt.answered, Length: 0}
							res.Fields.Add("Upgrade", "echo")
							s.WriteHead(&res, false)
						}
						_, err = readBody(s.ReadBody)
						s.CloseAfter()
					}).Serve()
				})
				wg.Go(func() { io.Copy(io.Discard, client) })
				piece := strings.Repeat("x", tt.piece)
				open, end := "Content-Length: "+strconv.Itoa(tt.piece*tt.pieces)+"\r\n\r\n", ""
				if chunks {
					open, end = "Transfer-Encoding: chunked\r\n\r\n"+strconv.FormatInt(int64(tt.piece*tt.pieces), 16)+"\r\n", "\r\n0\r\n\r\n"
				}
				io.WriteString(client, post+open)
				for i := range tt.pieces {
					time.Sleep(tt.pause)
					if i == tt.pieces-1 {
						piece += end
					}
					if _, err := io.WriteString(client, piece); err != nil {
						break
					}
				}
				wg.Wait()
				if e, ok := errors.AsType[*proxyerr.Error](err); tt.cut != ok || ok && (e.Kind != proxyerr.ReadTimeout || e.Status != 408) {
					t.Errorf("%s, chunked %v: %v; want it cut: %v", tt.name, chunks, err, tt.cut)
				}
			})
		}
	}
}

// The time for which a client waits for 100 (Continue) does not count.
func TestMinBodyRateContinue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		cfg := ServerConfig{}.WithDefaults()
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewServerConn(server, &cfg, func(s *ServerStream) {
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					time.Sleep(30 * time.Second)
					s.WriteContinue()
				}()
				_, err := readBody(s.ReadBody)
				<-sent
				if err == nil {
					answer(s, 200, "")
				}
			}).Serve()
		}()
		br := bufio.NewReader(client)
		io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		recvHead(t, br)
		for range 3 {
			time.Sleep(time.Second)
			io.WriteString(client, "x")
		}
		if res, body := recvResponse(t, br, "POST"); res.StatusCode != 200 {
			t.Errorf("got %d %q, want 200", res.StatusCode, body)
		}
		client.Close()
		<-done
	})
}

// A client that takes a response slower than MinSendRate is given up, though
// no single wait takes long.
func TestMinSendRate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		rate  int
		pause time.Duration // before each read
		read  int           // bytes
		cut   bool
	}{
		{"fast enough", 0, time.Second, 256, false},
		{"too slow", 0, time.Second, 200, true},
		{"a byte now and then", 0, 10 * time.Second, 1, true},
		{"pauses", 0, 50 * time.Second, 16 << 10, false},
		{"other rate", 1000, time.Second, 500, true},
		{"any rate", -1, 50 * time.Second, 1000, false},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			cfg := ServerConfig{MinSendRate: tt.rate, WriteTimeout: time.Hour, DrainTimeout: -1}.WithDefaults()
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				NewServerConn(server, &cfg, func(s *ServerStream) {
					const piece, n = 20_000, 10 // more than is kept
					s.WriteHead(&header.Response{Status: 200, Length: piece * n}, false)
					for i := 0; i < n && err == nil; i++ {
						err = s.WriteBody(make([]byte, piece), i == n-1)
					}
					s.CloseAfter()
				}).Serve()
			}()
			io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			buf := make([]byte, tt.read)
			for rerr := error(nil); rerr == nil; {
				time.Sleep(tt.pause)
				_, rerr = io.ReadFull(client, buf)
			}
			<-done
			if tt.cut != errors.Is(err, proxyerr.WriteTimeout) || !tt.cut && err != nil {
				t.Errorf("%s: %v; want it cut: %v", tt.name, err, tt.cut)
			}
		})
	}
}

// A tunnel may be as slow as it likes.
func TestMinRatesInTunnel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		cfg := ServerConfig{}.WithDefaults()
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewServerConn(server, &cfg, func(s *ServerStream) {
				res := header.Response{Status: 101}
				res.Fields.Add("Upgrade", "echo")
				s.WriteHead(&res, false)
				s.StartTunnelReads(time.Hour)
				s.StartTunnelWrites(time.Hour)
				for err == nil {
					var piece []byte
					var last bool
					if piece, last, err = s.ReadBody(); last {
						return
					}
					if err == nil {
						err = errors.Join(s.WriteBody(piece, false), s.Flush())
					}
				}
			}).Serve()
		}()
		br := bufio.NewReader(client)
		io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		recvHead(t, br)
		for range 20 {
			time.Sleep(30 * time.Second)
			io.WriteString(client, "x")
			time.Sleep(30 * time.Second)
			if b, err := br.ReadByte(); b != 'x' || err != nil {
				t.Fatalf("got %q, %v, want x", b, err)
			}
		}
		client.Close()
		<-done
		if err != nil {
			t.Errorf("the tunnel ended with %v", err)
		}
	})
}

// SetLimits holds for one request and the wait for the next.
func TestSetLimits(t *testing.T) {
	t.Parallel()
	const post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n"
	for _, tt := range []struct {
		name   string
		limits StreamLimits
		ends   time.Duration // after the body's first byte, if no more comes
		idle   time.Duration // how long the connection stays after a request
	}{
		{"none", StreamLimits{}, 60 * time.Second, 75 * time.Second},
		{"longer", StreamLimits{BodyTimeout: 90 * time.Second, IdleTimeout: 100 * time.Second}, 90 * time.Second, 100 * time.Second},
		{"shorter", StreamLimits{BodyTimeout: 2 * time.Second, IdleTimeout: 3 * time.Second}, 2 * time.Second, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, whole := range []bool{false, true} {
					client, server := net.Pipe()
					cfg := ServerConfig{DrainTimeout: -1}.WithDefaults()
					go NewServerConn(server, &cfg, func(s *ServerStream) {
						s.SetLimits(tt.limits)
						echo(s)
					}).Serve()
					br := bufio.NewReader(client)
					io.WriteString(client, post)
					want := tt.ends
					if whole {
						io.WriteString(client, strings.Repeat("x", 100))
						recvResponse(t, br, "POST")
						want = tt.idle
					} else {
						io.WriteString(client, "x")
					}
					start := time.Now()
					io.Copy(io.Discard, br)
					if took := time.Since(start); took < want-want/50 || took > want+want/50 {
						t.Errorf("whole %v: ended after %v, want %v", whole, took, want)
					}
					client.Close()
				}
			})
		})
	}
}

// The request after one with limits of its own has those of the connection.
func TestSetLimitsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		cfg := ServerConfig{}.WithDefaults()
		first := true
		go NewServerConn(server, &cfg, func(s *ServerStream) {
			if first {
				first = false
				s.SetLimits(StreamLimits{IdleTimeout: time.Second, MinSendRate: -1})
			}
			echo(s)
		}).Serve()
		br := bufio.NewReader(client)
		for range 2 {
			io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			recvResponse(t, br, "GET")
		}
		start := time.Now()
		io.Copy(io.Discard, br)
		if took := time.Since(start); took < 74*time.Second || took > 76*time.Second {
			t.Errorf("ended after %v, want 75s", took)
		}
		client.Close()
	})
}
