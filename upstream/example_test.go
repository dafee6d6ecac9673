// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/upstream"
)

func ExampleNew() {
	connector, err := upstream.New(upstream.Config{
		ConnectTimeout: 2 * time.Second,
		MaxIdlePerPeer: 64,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer connector.Close()
	fmt.Println(connector.Stats().Idle, "idle connections")

	_, err = upstream.New(upstream.Config{IdleTimeout: time.Millisecond})
	fmt.Println(err)
	// Output:
	// 0 idle connections
	// upstream: IdleTimeout is 1ms, want at least 1s
}

func ExampleConnector_Get() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello from the origin")
	}))
	defer origin.Close()
	peer := &upstream.Peer{Addr: origin.Listener.Addr().String()}

	connector, err := upstream.New(upstream.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer connector.Close()
	for range 2 {
		conn, err := connector.Get(context.Background(), peer, nil)
		if err != nil {
			log.Fatal(err)
		}
		body, err := fetch(conn, peer.Authority())
		if err != nil {
			conn.Discard()
			log.Fatal(err)
		}
		fmt.Println(body, conn.Reused())
		conn.Release(time.Now())
	}
	// Output:
	// hello from the origin false
	// hello from the origin true
}

// fetch sends a request and returns the body of the response.
func fetch(conn *upstream.Conn, host string) (string, error) {
	req := &header.Request{Method: "GET", Target: "/"}
	req.SetHost(host)
	if err := conn.WriteHead(req, "", false, true); err != nil {
		return "", err
	}
	var res header.Response
	if err := conn.SendAndReadHead(&res); err != nil {
		return "", err
	}
	var body []byte
	for {
		piece, last, err := conn.ReadBody()
		if err != nil {
			return "", err
		}
		if body = append(body, piece...); last {
			return string(body), nil
		}
	}
}
