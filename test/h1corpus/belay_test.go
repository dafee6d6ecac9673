// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// belay returns a rig with a proxy that is configured by nothing but its peer.
func belay(t *testing.T, origin string) Rig { return belayWith(t, origin, proxy.Config{}) }

// belayTunnels lets CONNECT pass.
func belayTunnels(t *testing.T, origin string) Rig {
	return belayWith(t, origin, proxy.Config{Downstream: proxy.Downstream{AllowConnect: true}})
}

func belayWith(t *testing.T, origin string, cfg proxy.Config) Rig {
	t.Helper()
	peer := &upstream.Peer{Addr: origin}
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	p, err := proxy.New(cfg, proxy.Hooks[struct{}]{
		UpstreamPeer: func(*proxy.Session, *struct{}) (*upstream.Peer, error) { return peer, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	url, end := proxytest.Serve(p)
	stop := func() {
		end()
		p.Connector().Close()
	}
	t.Cleanup(stop)
	return Rig{Addr: strings.TrimPrefix(url, "http://"), Stop: stop}
}

func TestRequests(t *testing.T)  { RunRequests(t, belay) }
func TestConnects(t *testing.T)  { RunConnects(t, belayTunnels) }
func TestResponses(t *testing.T) { RunResponses(t, belay) }
