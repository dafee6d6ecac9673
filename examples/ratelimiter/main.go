// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Command ratelimiter lets each app, named by the field "appid", send so many
// requests per second, and answers further ones with 429. Requests without
// that field pass.
//
//	go run ./examples/ratelimiter --http 127.0.0.1:6188 --backend 127.0.0.1:8081 --limit 10
package main

import (
	"flag"
	"log"
	"strconv"
	"time"

	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/server"
	"github.com/belay-proxy/belay/upstream"
)

type limiter struct {
	peer   *upstream.Peer
	limit  int // requests per second of one app
	counts counter
}

// requestFilter answers requests beyond the limit. It closes their connection,
// too, so that a client that does not stop has to pay for a new one each time.
func (l *limiter) requestFilter(s *proxy.Session, _ *struct{}) (responded bool, err error) {
	app, ok := s.Request().Fields.Lookup("appid")
	if !ok {
		return false, nil
	}
	if l.counts.add(app, time.Now()) <= l.limit {
		return false, nil
	}
	s.CloseDownstream()
	return true, s.Respond(429, "too many requests\n",
		"X-Rate-Limit-Limit", strconv.Itoa(l.limit),
		"X-Rate-Limit-Remaining", "0",
		"X-Rate-Limit-Reset", "1") // in seconds, at most
}

func (l *limiter) upstreamPeer(*proxy.Session, *struct{}) (*upstream.Peer, error) {
	return l.peer, nil
}

func newProxy(cfg proxy.Config, backend string, limit int) (*proxy.Proxy, error) {
	l := &limiter{peer: &upstream.Peer{Addr: backend}, limit: limit}
	if err := l.peer.Validate(); err != nil {
		return nil, err
	}
	return proxy.New(cfg, proxy.Hooks[struct{}]{
		RequestFilter: l.requestFilter,
		UpstreamPeer:  l.upstreamPeer,
	})
}

func main() {
	var addr, backend string
	var limit int
	opts := server.ParseOrExit(func(fs *flag.FlagSet) {
		fs.StringVar(&addr, "http", "127.0.0.1:6188", "`host:port` to listen on")
		fs.StringVar(&backend, "backend", "127.0.0.1:8081", "`host:port` of the origin")
		fs.IntVar(&limit, "limit", 1, "`requests` per second of one app")
	})
	srv, err := server.New(server.Config{Options: opts})
	if err != nil {
		log.Fatal(err)
	}
	p, err := newProxy(srv.ProxyConfig(), backend, limit)
	if err != nil {
		log.Fatal(err)
	}
	srv.Listen("rate limiter", p, listener.Config{Addr: addr})
	srv.RunForever()
}
