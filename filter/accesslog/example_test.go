// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package accesslog_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/belay-proxy/belay/filter/accesslog"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

func ExampleFilter() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer origin.Close()
	peer := &upstream.Peer{Addr: origin.Listener.Addr().String()}

	var lines strings.Builder
	access := accesslog.New(&lines, nil)
	type state struct{}
	p, err := proxy.New(proxy.Config{}, proxy.Chain(accesslog.Filter[state](access), proxy.Hooks[state]{
		UpstreamPeer: func(*proxy.Session, *state) (*upstream.Peer, error) { return peer, nil },
	}))
	if err != nil {
		log.Fatal(err)
	}
	url, stop := proxytest.Serve(p)
	res, err := http.Get(url + "/page")
	if err != nil {
		log.Fatal(err)
	}
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	stop()
	access.Flush() // a server does that by running it as a background service
	_, line, _ := strings.Cut(lines.String(), "] ")
	line, _, _ = strings.Cut(line, " 0.")
	fmt.Println(line)
	// Output: "GET /page HTTP/1.1" 200 5 "-" "Go-http-client/1.1"
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "log")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	access, err := accesslog.Open(filepath.Join(dir, "access.log"), nil)
	if err != nil {
		log.Fatal(err)
	}
	// srv.Background("access log", access)
	// srv.OnReopen("access log", access.Reopen)
	fmt.Println(access.Reopen(), access.Dropped())
	// Output: <nil> 0
}
