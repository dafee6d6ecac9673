// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// TestRejectedH2: what clients of HTTP/2 send that is no request is counted by
// reason and logged, and reaches no hook.
func TestRejectedH2(t *testing.T) {
	proxytest.CheckLeaks(t)
	get := []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "h"}
	for _, tt := range []struct {
		name, send string
		want       proxy.Rejections
		log        string
	}{
		{"malformed", requestFrame(append(get, "connection", "x")...), proxy.Rejections{Malformed: 1}, "request refused"},
		{"too large", requestFrame(append(get, "a", strings.Repeat("b", 3000))...), proxy.Rejections{TooLarge: 1}, "request refused"},
		{"flood", strings.Repeat("\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678", 2000), proxy.Rejections{Flood: 1}, "connection ended"},
		{"mistake", "\x00\x00\x00\x05\x00\x00\x00\x00\x01", proxy.Rejections{Malformed: 1}, "connection ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			logs := &logRecords{level: -8}
			cfg := proxy.Config{Logger: slogTo(logs), Downstream: proxy.Downstream{H2C: true, HTTP2: http2.Config{MaxHeaderBytes: 1024}}}
			p, err := proxy.New(cfg, hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) {
				t.Error("a hook ran")
				return nil, io.EOF
			}})
			must(t, err)
			client, done := serveOne(t, p)
			defer client.Close()
			io.WriteString(client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+tt.send)
			eventually(t, "the rejection", func() bool { return p.Stats().Rejected > 0 })
			client.Close()
			<-done
			if got := p.Stats(); got.RejectedBy != tt.want || got.Rejected != 1 || got.Requests != 0 {
				t.Errorf("Stats = %+v, want %+v and no request", got, tt.want)
			}
			if got := logs.take(); len(got) != 1 || got[0].Level != slog.LevelInfo || got[0].Message != tt.log {
				t.Errorf("records %v, want %q at info level", got, tt.log)
			}
		})
	}
}

// serveOne serves one connection over loopback and returns the client's end.
func serveOne(t *testing.T, p *proxy.Proxy) (client net.Conn, done chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	client, err = net.DialTimeout("tcp", ln.Addr().String(), time.Minute)
	must(t, err)
	nc, err := ln.Accept()
	must(t, err)
	done = make(chan struct{})
	go func() { defer close(done); p.ServeConn(nc) }()
	return client, done
}

// requestFrame returns HEADERS for a request on stream 1, given as names and
// values.
func requestFrame(fields ...string) string {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	n := b.Len()
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), 1, 5, 0, 0, 0, 1}) + b.String()
}
