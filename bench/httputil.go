// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// stdlibPeer is the standard library's ReverseProxy, in this program.
func stdlibPeer() peer {
	return peer{
		Name:    stdlibName,
		Version: runtime.Version(),
		command: func(set setup) (*exec.Cmd, error) {
			return selfCommand("run-httputil", set.cores, "-listen", set.listen, "-origins", strings.Join(set.origins, ","),
				"-tls="+strconv.FormatBool(set.access.TLS), "-cert", set.certs.cert, "-key", set.certs.key)
		},
	}
}

// runHTTPUtil is the program of stdlibPeer: httputil.ReverseProxy as one
// writes it, with a transport that keeps as many connections as are in use.
func runHTTPUtil(args []string) error {
	flags := flag.NewFlagSet("run-httputil", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address")
	list := flags.String("origins", "", "addresses, separated by commas")
	secure := flags.Bool("tls", false, "serve TLS, with HTTP/2 for those who want it")
	cert := flags.String("cert", "", "file")
	key := flags.String("key", "", "file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list == "" {
		return errors.New("run-httputil: no -origins")
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	proxy := newReverseProxy(strings.Split(*list, ","))
	server := &http.Server{Handler: proxy, ErrorLog: proxy.ErrorLog, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if *secure {
		return server.ServeTLS(ln, *cert, *key)
	}
	return server.Serve(ln)
}

// newReverseProxy returns a proxy that uses origins in turn. It logs nothing.
func newReverseProxy(origins []string) *httputil.ReverseProxy {
	var turn atomic.Uint64
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = origins[turn.Add(1)%uint64(len(origins))]
			r.Out.Host = hostWanted
			appendForwardedFor(r)
		},
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024,
			DisableCompression:  true,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// appendForwardedFor appends the client's address to the X-Forwarded-For of
// the client, as the other peers do; ReverseProxy has removed it from Out.
func appendForwardedFor(r *httputil.ProxyRequest) {
	client, _, err := net.SplitHostPort(r.In.RemoteAddr)
	if err != nil {
		return
	}
	chain := slices.Concat(r.In.Header["X-Forwarded-For"], []string{client})
	r.Out.Header.Set("X-Forwarded-For", strings.Join(chain, ", "))
}
