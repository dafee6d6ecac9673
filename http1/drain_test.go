// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A connection that ends reads MaxDrainBytes of what is still coming at once,
// and then a piece now and then until DrainTimeout.
func TestMaxDrainBytes(t *testing.T) {
	t.Parallel()
	const kib = 1 << 10
	for _, tt := range []struct {
		limit int64
		want  int // pieces of 1 KiB that are taken
	}{{0, 64}, {1, 1}, {kib, 1}, {kib + 1, 2}, {10 * kib, 10}, {-1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			cfg := ServerConfig{MaxDrainBytes: tt.limit}.WithDefaults()
			done := make(chan struct{})
			go func() {
				defer close(done)
				NewServerConn(server, &cfg, func(s *ServerStream) { answer(s, 413, "no") }).Serve()
			}()
			go io.Copy(io.Discard, client)
			io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
			synctest.Wait() // it has been answered
			start := time.Now()
			atOnce, later := 0, 0
			for piece := strings.Repeat("x", kib); ; {
				if _, err := io.WriteString(client, piece); err != nil {
					break
				}
				if time.Now().Equal(start) {
					atOnce++
				} else {
					later++
				}
			}
			<-done
			if atOnce != tt.want {
				t.Errorf("limit %d: %d KiB were taken at once, want %d", tt.limit, atOnce, tt.want)
			}
			if most := int(cfg.DrainTimeout / lingerPause); later > most || (later == 0) != (tt.limit < 0) {
				t.Errorf("limit %d: %d KiB were taken in %v, want 1 to %d, and 0 if negative", tt.limit, later, time.Since(start), most)
			}
			if took := time.Since(start); tt.limit >= 0 && (took < cfg.DrainTimeout || took > cfg.DrainTimeout+lingerPause) {
				t.Errorf("limit %d: the connection ended after %v, want %v", tt.limit, took, cfg.DrainTimeout)
			}
		})
	}
}

// A body that nobody has read is skipped for the sake of the connection, if it
// is no larger than MaxDrainBytes.
func TestMaxDrainBytesOfUnreadBody(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]bool{10: true, 11: false} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			cfg := ServerConfig{MaxDrainBytes: 10}.WithDefaults()
			go NewServerConn(server, &cfg, func(s *ServerStream) { answer(s, 200, s.Request().Target) }).Serve()
			br := bufio.NewReader(client)
			go io.WriteString(client, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n"+strings.Repeat("x", size)+
				"GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
			recvResponse(t, br, "POST")
			client.SetReadDeadline(time.Now().Add(time.Second))
			_, err := br.ReadByte()
			if got := err == nil; got != want {
				t.Errorf("a body of %d bytes: the next request is answered: %v (%v), want %v", size, got, err, want)
			}
			client.Close()
		})
	}
}
