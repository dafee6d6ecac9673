// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// HTTP2 sends requests on several streams of one connection, until ctx ends.
//
// The client of the standard library sends a request again, on a new connection,
// if GOAWAY or REFUSED_STREAM says that the server has not begun it (RFC 9113
// section 8.7). That is how a connection ends in HTTP/2, and no failure; the
// Tally says how often it happens.
func (c *Client) HTTP2(ctx context.Context, streams int) {
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   c.tls,
		Protocols:         new(http.Protocols),
	}
	transport.Protocols.SetHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	var all sync.WaitGroup
	for n := range streams {
		one := NewClient(1000*n+c.rand.IntN(1000), c.Addr, c.Tally) // for its random numbers
		one.name = c.name
		all.Go(func() {
			for ctx.Err() == nil {
				one.attempt(true, func() error { return one.getH2(client) })
				sleep(ctx, min(one.Pause(), 20*time.Millisecond))
			}
		})
	}
	all.Wait()
}

// downloadH2 gets one content that takes so many milliseconds, on a connection of
// its own.
func (c *Client) downloadH2(size uint64, ms int) error {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: c.tls, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	res, err := client.Get(fmt.Sprintf("https://%s/slow/7/%d/%d", strings.TrimPrefix(c.Addr, "tls:"), size, ms))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 {
		return fmt.Errorf("%s status %d", res.Proto, res.StatusCode)
	}
	return c.checkBody(res.Body, 7, size)
}

// getH2 gets a content and checks it.
func (c *Client) getH2(client *http.Client) error {
	id, size := c.rand.Uint64()>>1, uint64(c.rand.IntN(2000))
	conns := 0
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if conns++; conns > 1 {
			c.Tally.repeated.Add(1)
		}
	}})
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("https://%s/content/%d/%d", strings.TrimPrefix(c.Addr, "tls:"), id, size), nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 {
		return fmt.Errorf("%s status %d", res.Proto, res.StatusCode)
	}
	return c.checkBody(res.Body, id, size)
}
