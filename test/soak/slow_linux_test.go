// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxPerExchange is what docs/guide/08-limits.md says that a request in hand
// takes at most, with heads of a kibibyte: five buffers and two stacks.
const maxPerExchange = 256 << 10

// bigBody is more than all buffers between an origin and a client hold, those
// of the system included.
const bigBody = 16 << 20

// slowOrigin answers /big with a body in chunks, which cannot be spliced, reads
// /sink slowly, and answers /wait when it is told to.
type slowOrigin struct {
	*httptest.Server
	begun   atomic.Int64
	release chan struct{}
}

func newSlowOrigin(t *testing.T) *slowOrigin {
	o := &slowOrigin{release: make(chan struct{})}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/" {
			return
		}
		o.begun.Add(1)
		switch req.URL.Path {
		case "/big":
			piece := make([]byte, 32<<10)
			for n := 0; n < bigBody; n += len(piece) {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		case "/sink":
			_, _ = io.ReadFull(req.Body, make([]byte, 1))
			<-o.release
		default:
			<-o.release
		}
	}))
	t.Cleanup(func() {
		close(o.release)
		o.CloseClientConnections()
		o.Close()
	})
	return o
}

// TestSlowMemory holds the memory that belay needs for requests whose client or
// origin takes its time: it is bounded for each, and twice as many need at most
// twice as much.
func TestSlowMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of slow connections")
	}
	tests := []struct {
		name    string
		conns   int // of each of the two batches
		streams int // on each
		open    func(t *testing.T, addr string, streams int) net.Conn
	}{
		{"clients that read nothing", 100, 1, func(t *testing.T, addr string, _ int) net.Conn {
			return sendTo(t, addr, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
		}},
		{"clients that send slowly", 100, 1, func(t *testing.T, addr string, _ int) net.Conn {
			return sendTo(t, addr, "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n"+strings.Repeat("x", 100<<10))
		}},
		{"origins that take their time", 200, 1, func(t *testing.T, addr string, _ int) net.Conn {
			return sendTo(t, addr, "GET /wait HTTP/1.1\r\nHost: a\r\nX-Fill: "+strings.Repeat("x", 900)+"\r\n\r\n")
		}},
		{"HTTP/2 clients that open no window", 4, 50, openStalled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			origin := newSlowOrigin(t)
			addr, pid := startBelay(t, origin.Listener.Addr().String(), "--h2c")
			before := residentBytes(t, pid)
			for batch := 1; batch <= 2; batch++ {
				for range tt.conns {
					c := tt.open(t, addr, tt.streams)
					t.Cleanup(func() { _ = c.Close() })
				}
				n := batch * tt.conns * tt.streams
				for end := time.Now().Add(patience); origin.begun.Load() < int64(n); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%d of %d requests have reached the origin", origin.begun.Load(), n)
					}
				}
				grown := settledBytes(t, pid) - before
				t.Logf("%d requests: %d KiB each", n, grown/n>>10)
				if grown > n*maxPerExchange {
					t.Errorf("%d slow requests take %d bytes each, want at most %d", n, grown/n, maxPerExchange)
				}
			}
		})
	}
}

// settledBytes returns the memory of a process when it no longer grows.
func settledBytes(t *testing.T, pid int) int {
	t.Helper()
	var last []int
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		last = append(last, residentBytes(t, pid))
		if n := len(last); n >= 10 && slices.Max(last[n-5:]) <= slices.Max(last[n-10:n-5]) || time.Now().After(end) {
			return slices.Max(last)
		}
	}
}

// sendTo opens a connection with small buffers and sends what fits.
func sendTo(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// openStalled opens an HTTP/2 connection with many requests and takes no more
// than the first 64 KiB of all their responses.
func openStalled(t *testing.T, addr string, streams int) net.Conn {
	t.Helper()
	var out, block bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, nil)
	enc := hpack.NewEncoder(&block)
	err := framer.WriteSettings()
	for i := range streams {
		block.Reset()
		for _, f := range []hpack.HeaderField{
			{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/big"},
			{Name: ":authority", Value: fmt.Sprint("a", i)},
		} {
			_ = enc.WriteField(f) // to memory
		}
		if err == nil {
			err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		}
	}
	if err == nil {
		err = framer.WriteSettingsAck()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sendTo(t, addr, out.String())
}
