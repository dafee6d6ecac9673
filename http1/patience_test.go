// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
)

// While another process has taken over, a connection that is drained may have
// one more request, for as long as Patience says.
func TestServerConnPatience(t *testing.T) {
	t.Parallel()
	const get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	const second = time.Second
	for _, tt := range []struct {
		name     string
		patience time.Duration
		used     bool          // the connection has had a request
		pause    time.Duration // from Drain to the next
		hurry    time.Duration // from Drain to one without patience; 0: none
		answered bool
		ends     time.Duration // after Drain
	}{
		{"at once", 15 * second, true, 0, 0, true, 0},
		{"in time", 15 * second, true, 14999 * time.Millisecond, 0, true, 14999 * time.Millisecond},
		{"too late", 15 * second, true, 15001 * time.Millisecond, 0, false, 15 * second},
		{"never", 15 * second, true, time.Hour, 0, false, 15 * second},
		{"without patience", 0, true, time.Hour, 0, false, 0},
		{"fresh, in time", 15 * second, false, 14 * second, 0, true, 14 * second},
		{"fresh, little patience", second / 2, false, 900 * time.Millisecond, 0, true, 900 * time.Millisecond},
		{"fresh, never", 15 * second, false, time.Hour, 0, false, 15 * second},
		{"hurried", 15 * second, true, time.Hour, 5 * second, false, 5 * second},
		{"fresh, hurried", 15 * second, false, time.Hour, 5 * second, false, 6 * second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				var patience atomic.Int64
				cfg := ServerConfig{IdleTimeout: -1, HeadTimeout: -1, Patience: func() time.Duration {
					return time.Duration(patience.Load())
				}}.WithDefaults()
				c := NewServerConn(server, &cfg, echo)
				go c.Serve()
				br := bufio.NewReader(client)
				if tt.used {
					go io.WriteString(client, get)
					recvResponse(t, br, "GET")
				}
				synctest.Wait()
				patience.Store(int64(tt.patience))
				start := time.Now()
				c.Drain()
				if tt.hurry > 0 {
					time.AfterFunc(tt.hurry, func() {
						patience.Store(0)
						c.Drain()
					})
				}
				go func() {
					time.Sleep(tt.pause)
					io.WriteString(client, get)
				}()
				want := ""
				if tt.answered {
					want = echoed(`GET /a h "" ""`, closes)
				}
				if got := recvAll(t, br); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if took := time.Since(start); took != tt.ends {
					t.Errorf("ended after %v, want %v", took, tt.ends)
				}
				time.Sleep(2 * time.Hour) // let the writer end
			})
		})
	}
}

// A response whose head has promised to keep the connection, sent while it was
// drained, is followed by one more request, too.
func TestServerConnPatienceBusy(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		const get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
		var c *ServerConn
		ready := make(chan struct{})
		cfg := ServerConfig{IdleTimeout: -1, DrainTimeout: -1, Patience: func() time.Duration { return time.Hour }}
		c, done := serve(t, server, cfg, func(s *ServerStream) {
			<-ready
			s.WriteHead(&header.Response{Status: 200, Length: 2}, false)
			c.Drain()
			s.WriteBody([]byte("ok"), true)
		})
		close(ready)
		br := bufio.NewReader(client)
		send(t, client, get)
		if res, body := recvResponse(t, br, "GET"); body != "ok" || res.Close {
			t.Errorf("first response %q, close %t, want %q and an open connection", body, res.Close, "ok")
		}
		send(t, client, get)
		if res, body := recvResponse(t, br, "GET"); body != "ok" || !res.Close {
			t.Errorf("second response %q, close %t, want %q and the end", body, res.Close, "ok")
		}
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("read = %v, want EOF", err)
		}
		waitFor(t, "Serve after the last request", done)
	})
}
