// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpcweb_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/belay-proxy/belay/filter/grpcweb"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// retried says of an error that another attempt may follow.
func retried(err error) error {
	e, ok := errors.AsType[*proxyerr.Error](err)
	if !ok {
		return err
	}
	again := *e
	again.Retry = proxyerr.RetryAlways
	return &again
}

func ExampleFilter() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("the origin gets", r.Header.Get("Content-Type"))
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		io.WriteString(w, "\x00\x00\x00\x00\x02hi")
		w.Header().Set("Grpc-Status", "0")
	}))
	defer origin.Close()
	peer := &upstream.Peer{Addr: origin.Listener.Addr().String()} // gRPC servers want ALPN: upstream.ALPNH2

	p, err := proxy.New(proxy.Config{}, proxy.Chain(grpcweb.Filter[struct{}](), proxy.Hooks[struct{}]{
		UpstreamPeer: func(*proxy.Session, *struct{}) (*upstream.Peer, error) { return peer, nil },
	}))
	if err != nil {
		log.Fatal(err)
	}
	url, stop := proxytest.Serve(p)
	defer stop()

	res, err := http.Post(url+"/greeter.Greeter/Hello", "application/grpc-web", strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Printf("the client gets %s, %q\n", res.Header.Get("Content-Type"), body)
	// Output:
	// the origin gets application/grpc
	// the client gets application/grpc-web, "\x00\x00\x00\x00\x02hi\x80\x00\x00\x00\x10grpc-status: 0\r\n"
}
