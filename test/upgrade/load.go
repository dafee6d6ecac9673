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
// downloads, uploads, a tunnel, and long pauses between requests; for TLS also
// one with HTTP/2.
func StartLoad(addrs []string, n int) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cancel: cancel}
	number := 0
	start := func(addr string, run func(*Client)) {
		number++
		c := NewClient(number, addr, &l.Tally)
		l.clients.Go(func() { run(c) })
	}
	for _, addr := range addrs {
		for range n {
			start(addr, func(c *Client) { c.KeepAlive(ctx) })
		}
		for range (n + 1) / 2 {
			start(addr, func(c *Client) { c.OneShot(ctx) })
		}
		start(addr, func(c *Client) { c.Download(ctx) })
		start(addr, func(c *Client) { c.Upload(ctx) })
		start(addr, func(c *Client) { c.Tunnel(ctx, 3*time.Second) })
		start(addr, func(c *Client) {
			c.Pause = func() time.Duration { return time.Duration(c.rand.IntN(2000)) * time.Millisecond }
			c.KeepAlive(ctx)
		})
		if strings.HasPrefix(addr, "tls:") {
			start(addr, func(c *Client) { c.HTTP2(ctx, 4) })
		}
	}
	return l
}

// Stop ends the clients, each after the request that it has in hand.
func (l *Load) Stop() {
	l.cancel()
	l.clients.Wait()
}
