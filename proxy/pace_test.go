// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/upstream"
)

// A client of HTTP/2 whose request body trickles is answered with 408. The rate is that of HTTP/1 unless HTTP/2 has one of
// its own, or the program another one for the request.
func TestMinBodyRateH2(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		h1, h2 int
		own    int // by SetLimits
		want   int // status
	}{
		{"by default", 0, 0, 0, 408},
		{"set once", 10, 0, 0, 200},
		{"off for both", -1, 0, 0, 200},
		{"off for HTTP/2", 0, -1, 0, 200},
		{"off for HTTP/1", -1, 240, 0, 408},
		{"off for one", 0, 0, -1, 200},
		{"on for one", -1, 0, 240, 408},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				downstream := proxy.Downstream{H2C: true, HTTP1: http1.ServerConfig{MinBodyRate: tt.h1}, HTTP2: http2.Config{MinBodyRate: tt.h2}}
				status, err := trickle(t, downstream, tt.own)
				if status != tt.want {
					t.Errorf("status %d, want %d", status, tt.want)
				}
				if tt.want == 408 && !errors.Is(err, proxyerr.ReadTimeout) || tt.want == 200 && err != nil {
					t.Errorf("Log was told %v", err)
				}
			})
		})
	}
}

// trickle sends a body of 100 bytes, 10 of them in each second, through a proxy. It
// returns the status of the answer and what Log was told.
func trickle(t *testing.T, cfg proxy.Downstream, own int) (status int, logged error) {
	connector, err := upstream.New(upstream.Config{Dial: dialCounting})
	must(t, err)
	defer connector.Close()
	ended := make(chan error, 1)
	p, err := proxy.New(proxy.Config{Downstream: cfg, Connector: connector}, hooks{
		RequestFilter: func(s *proxy.Session, _ *none) (bool, error) {
			s.SetLimits(http1.StreamLimits{MinBodyRate: own})
			return false, nil
		},
		UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return &upstream.Peer{Addr: "192.0.2.1:80"}, nil },
		Log:          func(_ *proxy.Session, _ *none, err error) { ended <- err },
	})
	must(t, err)
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() { defer close(served); p.ServeConn(far) }()
	h2 := http2.Config{}.WithDefaults()
	client := http2.NewClientConn(near, &h2, "http")
	s := client.NewStream(nil, 0, 0)
	head := &header.Request{Method: "POST", Target: "/", Length: 100}
	head.SetHost("a")
	must(t, s.WriteHead(head, "", false, false))
	for i := range 10 {
		time.Sleep(time.Second)
		must(t, s.WriteBody(make([]byte, 10), i == 9)) // nil also when the answer has come
	}
	var res header.Response
	must(t, s.ReadHead(&res))
	s.Finish()
	client.Close()
	<-served
	return res.Status, <-ended
}

// dialCounting connects to an origin that answers a request with 100 bytes of
// body when it has read them.
func dialCounting(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	cfg := http1.ServerConfig{MinBodyRate: -1}.WithDefaults()
	go http1.NewServerConn(far, &cfg, func(s *http1.ServerStream) {
		for {
			if _, last, err := s.ReadBody(); err != nil {
				return
			} else if last {
				break
			}
		}
		s.WriteHead(&header.Response{Status: 200, Length: 0}, true)
	}).Serve() // ends with the connection
	return near, nil
}
