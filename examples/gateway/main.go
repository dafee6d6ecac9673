// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Command gateway asks for a token, sends each request to one of two pools of
// backends, signs the response, and counts what it has done.
//
//	go run ./examples/gateway --token secret --stable 127.0.0.1:8081 --beta 127.0.0.1:8082
//	curl -H 'Authorization: Bearer secret' http://127.0.0.1:6188/beta/
package main

import (
	"crypto/subtle"
	"flag"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/server"
	"github.com/belay-proxy/belay/upstream"
)

type gateway struct {
	token        string // that clients must have
	stable, beta *balancer.Balancer
	log          *slog.Logger

	requests, failures atomic.Int64
}

// state is what one request remembers from phase to phase.
type state struct {
	pool  *balancer.Balancer
	tried balancer.Tried
}

// requestFilter keeps strangers out and chooses the pool: beta for what is
// below /beta/ and for clients that ask for it, stable for the rest.
func (g *gateway) requestFilter(s *proxy.Session, st *state) (responded bool, err error) {
	req := s.Request()
	token, ok := strings.CutPrefix(req.Fields.Get("Authorization"), "Bearer ")
	if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(g.token)) != 1 {
		return true, s.Respond(401, "who are you?\n", "WWW-Authenticate", `Bearer realm="gateway"`)
	}
	st.pool = g.stable
	if strings.HasPrefix(req.Path(), "/beta/") || req.Fields.Get("Beta-Flag") == "1" {
		st.pool = g.beta
	}
	return false, nil
}

func (g *gateway) upstreamPeer(_ *proxy.Session, st *state) (*upstream.Peer, error) {
	return st.pool.Next(nil, &st.tried)
}

// upstreamRequestFilter keeps the token from the backends, whom it does not
// concern.
func (g *gateway) upstreamRequestFilter(_ *proxy.Session, _ *state, head *header.Request) error {
	head.Fields.Del("Authorization")
	return nil
}

func (g *gateway) responseFilter(_ *proxy.Session, _ *state, head *header.Response) error {
	head.Fields.Set("Server", "gateway")
	head.Fields.Del("Alt-Svc") // the backends' own other addresses lead around us
	return nil
}

// logRequest runs once for each request, also for those that were refused.
func (g *gateway) logRequest(s *proxy.Session, _ *state, err error) {
	n := g.requests.Add(1)
	if err != nil {
		g.failures.Add(1)
	}
	d := s.Digest()
	g.log.Info("request", "number", n, "method", s.Request().Method, "path", s.Request().Path(),
		"status", d.Status, "took", d.Total, "attempts", d.Attempts)
}

func (g *gateway) newProxy(cfg proxy.Config) (*proxy.Proxy, error) {
	return proxy.New(cfg, proxy.Hooks[state]{
		RequestFilter:         g.requestFilter,
		UpstreamPeer:          g.upstreamPeer,
		UpstreamRequestFilter: g.upstreamRequestFilter,
		ResponseFilter:        g.responseFilter,
		Log:                   g.logRequest,
	})
}

// newPool returns the balancer of a list of addresses, "host:port,host:port".
func newPool(addrs string, log *slog.Logger) (*balancer.Balancer, error) {
	var backends []balancer.Backend
	for addr := range strings.SplitSeq(addrs, ",") {
		backends = append(backends, balancer.Backend{Addr: strings.TrimSpace(addr)})
	}
	return balancer.New(balancer.Config{Checker: &health.TCPChecker{}, Logger: log}, backends...)
}

func main() {
	var addr, stable, beta string
	g := new(gateway)
	opts := server.ParseOrExit(func(fs *flag.FlagSet) {
		fs.StringVar(&addr, "http", "127.0.0.1:6188", "`host:port` to listen on")
		fs.StringVar(&stable, "stable", "127.0.0.1:8081", "`host:port,…` of the stable pool")
		fs.StringVar(&beta, "beta", "127.0.0.1:8082", "`host:port,…` of the beta pool")
		fs.StringVar(&g.token, "token", "", "`secret` that clients must have (required)")
	})
	if g.token == "" {
		log.Fatal("gateway: --token is missing")
	}
	srv, err := server.New(server.Config{Options: opts})
	check(err)
	g.log = srv.Logger("gateway")
	g.stable, err = newPool(stable, srv.Logger("balancer"))
	check(err)
	g.beta, err = newPool(beta, srv.Logger("balancer"))
	check(err)
	p, err := g.newProxy(srv.ProxyConfig())
	check(err)

	srv.Background("check stable", g.stable)
	srv.Background("check beta", g.beta)
	srv.Listen("gateway", p, listener.Config{Addr: addr})
	srv.RunForever()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
