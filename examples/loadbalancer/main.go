// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Command loadbalancer spreads requests over three backends, in turn, and
// leaves out those that do not answer a health check. It is the program of the
// quick start; flags.go has its command line.
//
//	go run ./examples/loadbalancer --http 127.0.0.1:6188 --https 127.0.0.1:6189 --backend 127.0.0.1:8081 --backend 127.0.0.1:8082
//	curl --insecure --http2 https://127.0.0.1:6189
package main

import (
	"log"
	"log/slog"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/server"
	"github.com/belay-proxy/belay/upstream"
)

type loadBalancer struct {
	backends *balancer.Balancer
	log      *slog.Logger
}

// state is what one request remembers from phase to phase.
type state struct {
	tried balancer.Tried // so that each attempt goes to another backend
}

func (lb *loadBalancer) upstreamPeer(_ *proxy.Session, st *state) (*upstream.Peer, error) {
	peer, err := lb.backends.Next(nil, &st.tried)
	if err == nil {
		lb.log.Info("upstream peer chosen", "peer", peer.Addr, "sni", peer.ServerName)
	}
	return peer, err
}

func (lb *loadBalancer) upstreamRequestFilter(_ *proxy.Session, _ *state, head *header.Request) error {
	head.SetHost("example.com")
	return nil
}

func newPeer(addr string) *upstream.Peer {
	return &upstream.Peer{Addr: addr, ServerName: "example.com"}
}

func main() {
	var f flags
	srv, err := server.New(server.Config{Options: server.ParseOrExit(f.add)})
	check(err)
	check(f.complete())

	backends, err := balancer.New(balancer.Config{
		Checker: f.checker(),
		NewPeer: newPeer,
		Logger:  srv.Logger("balancer"),
	}, f.backends()...)
	check(err)
	lb := &loadBalancer{backends: backends, log: srv.Logger("loadbalancer")}
	cfg := srv.ProxyConfig()
	cfg.MaxRetries = f.maxRetries(cfg.MaxRetries)
	p, err := proxy.New(cfg, proxy.Hooks[state]{
		UpstreamPeer:          lb.upstreamPeer,
		UpstreamRequestFilter: lb.upstreamRequestFilter,
	})
	check(err)

	srv.Background("health check", backends)
	srv.Listen("load balancer", p, listener.Config{Addr: f.http})
	if f.https != "" {
		certs, err := f.certificates(srv)
		check(err)
		secure, err := listener.NewTLS(listener.TLSConfig{Certificates: certs}, p)
		check(err)
		srv.Listen("load balancer with TLS", secure, listener.Config{Addr: f.https})
	}
	srv.RunForever()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
