// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/upstream"
)

// A TLS connection has no goroutine while it is idle, and goes on.
func TestTLSParked(t *testing.T) {
	p, err := proxy.New(proxy.Config{
		Logger:     quiet,
		Downstream: proxy.Downstream{HTTP1: http1.ServerConfig{ParkAfter: time.Millisecond}},
	}, proxy.Hooks[struct{}]{
		RequestFilter: func(s *proxy.Session, _ *struct{}) (bool, error) { return true, s.Respond(200, "hello") },
		UpstreamPeer:  func(*proxy.Session, *struct{}) (*upstream.Peer, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ca := testcert.NewCA(t, "root")
	tlsHandler := secure(t, TLSConfig{Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))}, p)
	l := listen(t, Config{Addr: "127.0.0.1:0"})
	var loop sync.WaitGroup
	loop.Go(func() { l.ServeOrPark(tlsHandler.ServeOrPark) })

	for i, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second}, Config: &tls.Config{
			RootCAs: ca.Pool(), ServerName: "a", MinVersion: version, MaxVersion: version,
		}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		br := bufio.NewReader(c)
		for range 3 {
			waitParked(t, l, i+1)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(res.Body); string(text) != "hello" || err != nil {
				t.Errorf("%s: got %q, %v", tls.VersionName(version), text, err)
			}
		}
	}
	waitParked(t, l, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := tlsHandler.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	l.Close()
	loop.Wait()
	l.Wait()
}

// waitParked waits until l has n open connections and none has a goroutine.
func waitParked(t *testing.T, l *Listener, n int) {
	t.Helper()
	all := make([]byte, 1<<20)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		stacks := all[:runtime.Stack(all, true)]
		if l.Active() == n && !bytes.Contains(stacks, []byte("(*Listener).serve(")) && !bytes.Contains(stacks, []byte("(*lot).emptied")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections, or not all are parked:\n%s", l.Active(), stacks)
		}
	}
}
