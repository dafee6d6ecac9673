// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h2spec

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/upstream"
)

// serve calls handle for each connection, after the handshake if there is TLS,
// and returns where. At the end of the test all have ended.
func serve(t *testing.T, useTLS bool, handle func(net.Conn)) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Addr: ln.Addr().String(), TLS: useTLS}
	if useTLS {
		srv := httptest.NewUnstartedServer(nil)
		srv.StartTLS() // for its certificate
		srv.Close()
		ln = tls.NewListener(ln, &tls.Config{Certificates: srv.TLS.Certificates, NextProtos: []string{"h2"}})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if tc, ok := nc.(*tls.Conn); ok && tc.Handshake() != nil {
					nc.Close()
					return
				}
				handle(nc)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return target
}

// TestEngine tests the server side of package http2 alone.
func TestEngine(t *testing.T) {
	for _, useTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", useTLS), func(t *testing.T) {
			cfg := http2.Config{}.WithDefaults()
			Run(t, serve(t, useTLS, func(nc net.Conn) { http2.NewServerConn(nc, &cfg, nil, hello).Serve() }))
		})
	}
}

func hello(s *http2.ServerStream) {
	for last := false; !last; {
		var err error
		if _, last, err = s.ReadBody(); err != nil {
			return
		}
	}
	if s.WriteHead(&header.Response{Status: 200, Length: 5}, false) == nil {
		s.WriteBody([]byte("hello"), true)
	}
}

// TestProxy tests a proxy in front of an origin that speaks HTTP/1.1.
func TestProxy(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	}))
	defer origin.Close()
	peer := &upstream.Peer{Addr: origin.Listener.Addr().String()}
	p, err := proxy.New(proxy.Config{
		Downstream: proxy.Downstream{H2C: true},
		Logger:     slog.New(slog.DiscardHandler),
	}, proxy.Hooks[struct{}]{
		UpstreamPeer: func(*proxy.Session, *struct{}) (*upstream.Peer, error) { return peer, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Connector().Close()
	for _, useTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", useTLS), func(t *testing.T) {
			Run(t, serve(t, useTLS, p.ServeConn))
		})
	}
}

func TestParse(t *testing.T) {
	const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="4. Messages" package="generic/4" id="4" tests="3" skipped="1" failures="1" errors="0">
    <testcase package="generic/4" classname="Sends a GET request" time="0.0004"></testcase>
    <testcase package="generic/4" classname="Sends a PUT request" time="0"><skipped></skipped></testcase>
    <testcase package="generic/4" classname="Sends a POST request" time="0.1"><failure>Expect: this
  Actual: that</failure></testcase>
  </testsuite>
  <testsuite package="http2/3.5"></testsuite>
</testsuites>`
	got, err := parse([]byte(report))
	want := []Case{
		{Section: "generic/4", Title: "Sends a GET request"},
		{Section: "generic/4", Title: "Sends a PUT request", Skipped: true},
		{Section: "generic/4", Title: "Sends a POST request", Failure: "failed: Expect: this\n  Actual: that"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := parse([]byte("<testsuites")); err == nil {
		t.Error("a report that is cut off: no error")
	}
}
