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

// A connection that ends reads MaxDrainBytes of what is still coming, and no
// more.
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
			taken := 0
			for piece := strings.Repeat("x", kib); ; taken++ {
				if _, err := io.WriteString(client, piece); err != nil {
					break
				}
			}
			<-done
			if taken != tt.want {
				t.Errorf("limit %d: %d KiB were taken, want %d", tt.limit, taken, tt.want)
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
