// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"strings"
	"sync"
	"time"
)

// A Load is a mixture of clients that runs until Stop.
type Load struct {
	Tally
	cancel  context.CancelFunc
	clients sync.WaitGroup
}

// StartLoad starts, for each of the addresses, n clients with kept connections,
// half as many with one connection for each request, and one each with
// downloads, uploads, WebSockets, and long pauses between requests; for TLS also
// one with HTTP/2, and one with WebSockets on it. If admin is not empty, one more
// asks there again and again whether the server is ready.
func StartLoad(addrs []string, n int, admin string) *Load {
	return StartLoadWithout(addrs, n, admin, "")
}

// withoutH2WebSocket is what StartLoadWithout leaves out for servers that do not
// know it.
const withoutH2WebSocket = "WebSocket on HTTP/2"

// StartLoadWithout is StartLoad without one kind of clients.
func StartLoadWithout(addrs []string, n int, admin, without string) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cancel: cancel}
	number := 0
	start := func(name, addr string, run func(*Client)) {
		if name == without {
			return
		}
		number++
		c := NewClient(number, addr, &l.Tally)
		c.name = name + ", " + kindOf(addr)
		l.expect(c.name)
		l.clients.Go(func() { run(c) })
	}
	if admin != "" {
		start("readiness", admin, func(c *Client) { c.Ready(ctx) })
	}
	for _, addr := range addrs {
		for range n {
			start("keep-alive", addr, func(c *Client) { c.KeepAlive(ctx) })
		}
		for range (n + 1) / 2 {
			start("one-shot", addr, func(c *Client) { c.OneShot(ctx) })
		}
		start("download", addr, func(c *Client) { c.Download(ctx) })
		start("upload", addr, func(c *Client) { c.Upload(ctx) })
		start("WebSocket", addr, func(c *Client) { c.WebSocket(ctx, 3*time.Second) })
		start("pauses", addr, func(c *Client) {
			c.Pause = func() time.Duration { return time.Duration(c.rand.IntN(2000)) * time.Millisecond }
			c.KeepAlive(ctx)
		})
		if strings.HasPrefix(addr, "tls:") {
			start("HTTP/2", addr, func(c *Client) { c.HTTP2(ctx, 4) })
			start(withoutH2WebSocket, addr, func(c *Client) { c.WebSocketH2(ctx, 3*time.Second) })
		}
	}
	return l
}

// kindOf returns the kind of an address: TCP, TLS or Unix.
func kindOf(addr string) string {
	switch {
	case strings.HasPrefix(addr, "unix:"):
		return "Unix"
	case strings.HasPrefix(addr, "tls:"):
		return "TLS"
	}
	return "TCP"
}

// Stop ends the clients, each after the request that it has in hand.
func (l *Load) Stop() {
	l.cancel()
	l.clients.Wait()
}
