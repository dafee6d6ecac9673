// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Command modifyresponse turns JSON responses into YAML on their way to the
// client. It shows how to change a body as a whole: collect its chunks, send
// nothing meanwhile, and send the result with the last one.
//
//	go run ./examples/modifyresponse --http 127.0.0.1:6188 --backend 127.0.0.1:8081
package main

import (
	"flag"
	"log"
	"strings"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/server"
	"github.com/belay-proxy/belay/upstream"
)

// maxBody is the largest body that is collected, in bytes. Without a limit an
// origin could fill the memory of the proxy.
const maxBody = 1 << 20

// state is what one request remembers: the part of the body that has come.
type state struct {
	convert bool
	body    []byte
}

// upstreamRequestFilter asks for a body that can be read: not compressed, and
// not a part of one.
func upstreamRequestFilter(_ *proxy.Session, _ *state, head *header.Request) error {
	head.Fields.Del("Accept-Encoding")
	head.Fields.Del("Range")
	return nil
}

// responseFilter decides by the head, and changes there what will no longer be
// true. The length is not known before the end, so the proxy sends the body in
// chunks; the answer to HEAD must not promise the old length either.
func responseFilter(_ *proxy.Session, st *state, head *header.Response) error {
	mediaType, _ := header.CutParams(head.Fields.Get("Content-Type"))
	st.convert = head.Status == 200 && strings.EqualFold(mediaType, "application/json") && !head.Fields.Has("Content-Encoding")
	if st.convert {
		head.Length = header.UnknownLength
		head.Fields.Set("Content-Type", "application/yaml")
		head.Fields.Del("ETag")
		head.Fields.Del("Accept-Ranges")
	}
	return nil
}

// responseBodyFilter holds back all chunks but the last.
func responseBodyFilter(_ *proxy.Session, st *state, chunk []byte, last bool) ([]byte, error) {
	if !st.convert {
		return chunk, nil
	}
	if len(st.body)+len(chunk) > maxBody {
		return nil, proxyerr.WithStatus(502, "response is too large to be converted")
	}
	st.body = append(st.body, chunk...) // a copy: chunk is only valid until we return
	if !last {
		return nil, nil
	}
	return yamlFromJSON(st.body)
}

func newProxy(cfg proxy.Config, backend string) (*proxy.Proxy, error) {
	peer := &upstream.Peer{Addr: backend}
	if err := peer.Validate(); err != nil {
		return nil, err
	}
	return proxy.New(cfg, proxy.Hooks[state]{
		UpstreamPeer:          func(*proxy.Session, *state) (*upstream.Peer, error) { return peer, nil },
		UpstreamRequestFilter: upstreamRequestFilter,
		ResponseFilter:        responseFilter,
		ResponseBodyFilter:    responseBodyFilter,
	})
}

func main() {
	var addr, backend string
	opts := server.ParseOrExit(func(fs *flag.FlagSet) {
		fs.StringVar(&addr, "http", "127.0.0.1:6188", "`host:port` to listen on")
		fs.StringVar(&backend, "backend", "127.0.0.1:8081", "`host:port` of the origin")
	})
	srv, err := server.New(server.Config{Options: opts})
	if err != nil {
		log.Fatal(err)
	}
	p, err := newProxy(srv.ProxyConfig(), backend)
	if err != nil {
		log.Fatal(err)
	}
	srv.Listen("modify response", p, listener.Config{Addr: addr})
	srv.RunForever()
}
