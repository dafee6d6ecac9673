// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The demo's own load.
const (
	demoRate     = 20               // requests per second
	demoInFlight = 64               // at most; more are not sent
	demoPatience = 10 * time.Second // with one request; after it, it is lost
	demoAgent    = "belay-demo"     // how the demo knows its own requests
)

// A demoClient sends requests to the load balancer and counts what becomes of
// them, as a client sees it.
type demoClient struct {
	url      string
	http     http.Client
	sent     atomic.Int64
	lost     atomic.Int64
	inFlight sync.WaitGroup
	slots    chan struct{}
	onLoss   func(why string) // called from several goroutines
}

// newDemoClient returns a client that makes a connection for each request: on
// one that it kept, package http would quietly repeat a request that was lost.
func newDemoClient(addr string, onLoss func(why string)) *demoClient {
	return &demoClient{
		url:    "http://" + addr + "/",
		http:   http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: demoPatience},
		slots:  make(chan struct{}, demoInFlight),
		onLoss: onLoss,
	}
}

// get sends one request and returns the name of the origin that answered it,
// or "" if the request was lost.
func (c *demoClient) get() string {
	c.sent.Add(1)
	origin, err := c.try()
	if err != nil {
		c.lost.Add(1)
		c.onLoss(err.Error())
	}
	return origin
}

func (c *demoClient) try() (origin string, err error) {
	req, err := http.NewRequest("GET", c.url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", demoAgent)
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answer is %s", res.Status)
	}
	return res.Header.Get("X-Origin"), nil
}

// run sends demoRate requests per second until ctx ends, and returns when all
// are answered.
func (c *demoClient) run(ctx context.Context) {
	tick := time.NewTicker(time.Second / demoRate)
	defer tick.Stop()
	defer c.inFlight.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case c.slots <- struct{}{}:
			c.inFlight.Go(func() {
				c.get()
				<-c.slots
			})
		default:
		}
	}
}
