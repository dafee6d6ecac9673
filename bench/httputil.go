// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
)

// stdlibPeer is the standard library's ReverseProxy, in this program, with the
// settings of the garbage collector that every Go program has by default.
func stdlibPeer(context.Context, workshop) peer { return stdlibPeerGC("100") }

// stdlibGC400Peer is the same with the GOGC that the program belay has.
func stdlibGC400Peer(context.Context, workshop) peer { return stdlibPeerGC("400") }

func stdlibPeerGC(gogc string) peer {
	return peer{
		features: featureSet(webSocket),
		Version:  runtime.Version() + ", GOGC=" + gogc,
		command: func(set setup) (*exec.Cmd, error) {
			cmd, err := selfCommand("run-httputil", set.cores, "-listen", set.listen, "-origins", strings.Join(set.origins, ","),
				"-tls="+strconv.FormatBool(set.access.TLS), "-cert", set.certs.cert, "-key", set.certs.key, "-idle", strconv.Itoa(set.pool()))
			if err != nil {
				return nil, err
			}
			cmd.Env = append(cmd.Env, "GOGC="+gogc)
			return cmd, nil
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
	idle := flags.Int("idle", 1024, "idle connections to keep to each origin")
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
	proxy := newReverseProxy(strings.Split(*list, ","), *idle)
	server := &http.Server{Handler: proxy, ErrorLog: proxy.ErrorLog, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if *secure {
		return server.ServeTLS(ln, *cert, *key)
	}
	return server.Serve(ln)
}

// newReverseProxy returns a proxy that uses origins in turn and keeps idle
// connections to each. It logs nothing.
func newReverseProxy(origins []string, idle int) *httputil.ReverseProxy {
	var turn atomic.Uint64
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = origins[turn.Add(1)%uint64(len(origins))]
			r.Out.Host = hostWanted
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			MaxIdleConnsPerHost: idle,
			DisableCompression:  true,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
}
