// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/upstream"
)

func ExampleNewTLS() {
	c, err := cert.SelfSigned("localhost") // usually from files: see cert.Pair
	if err != nil {
		log.Fatal(err)
	}
	store, err := cert.New(cert.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		log.Fatal(err)
	}
	p, err := proxy.New(proxy.Config{}, proxy.Hooks[struct{}]{
		RequestFilter: func(s *proxy.Session, _ *struct{}) (bool, error) {
			return true, s.Respond(200, "hello over "+tls.VersionName(s.TLSDigest().Version))
		},
		UpstreamPeer: func(*proxy.Session, *struct{}) (*upstream.Peer, error) { return nil, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	secure, err := listener.NewTLS(listener.TLSConfig{Certificates: store}, p)
	if err != nil {
		log.Fatal(err)
	}
	l, err := listener.Listen(context.Background(), listener.Config{Addr: "127.0.0.1:0"}) // or server.Server.Listen
	if err != nil {
		log.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { l.Serve(secure.ServeConn) })

	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: true}}
	res, err := client.Get("https://" + l.Addr().String() + "/")
	if err != nil {
		log.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	fmt.Println(res.Proto, string(text))
	client.CloseIdleConnections()

	l.Close()
	secure.Shutdown(context.Background())
	serving.Wait()
	// Output: HTTP/2.0 hello over TLS 1.3
}

func ExampleNewTicketKeys() {
	old, fresh := listener.NewTicketKeys(), listener.NewTicketKeys()
	err := fresh.Import(old.Export()) // in another process, for one
	fmt.Println(err)
	// Output: <nil>
}
