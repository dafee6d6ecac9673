// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Command fasthttp is a round-robin proxy on the package of that name. It does
// the work of the other peers of the benchmark: it rewrites Host, sets the
// X-Forwarded fields, uses the backends in turn over kept connections and logs
// nothing. It speaks HTTP/1.1 alone, as the package does.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// options are what the command line says.
type options struct {
	listen string
	to     string // addresses, separated by commas
	host   string // for the backends
	cert   string // file; "" for plain HTTP
	key    string // file
	conns  int    // connections to each backend at most
	stream bool   // pass bodies on as they come, instead of when they are complete
}

func main() {
	var opts options
	flag.StringVar(&opts.listen, "listen", "127.0.0.1:0", "`address` to accept connections on")
	flag.StringVar(&opts.to, "to", "", "`addresses` of backends, separated by commas")
	flag.StringVar(&opts.host, "host", "", "Host of requests to the backends")
	flag.StringVar(&opts.cert, "cert", "", "`file` with the certificate; serve TLS")
	flag.StringVar(&opts.key, "key", "", "`file` with the key")
	flag.IntVar(&opts.conns, "conns", 1024, "`connections` to each backend at most")
	flag.BoolVar(&opts.stream, "stream", false, "pass bodies on as they come")
	flag.Parse()
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "fasthttp:", err)
		os.Exit(1)
	}
}

// run serves until it fails.
func run(opts options) error {
	if opts.to == "" || opts.host == "" {
		return errors.New("needs -to and -host")
	}
	ln, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return err
	}
	scheme := "http"
	if opts.cert != "" {
		pair, err := tls.LoadX509KeyPair(opts.cert, opts.key)
		if err != nil {
			return err
		}
		ln, scheme = tls.NewListener(ln, tlsConfig(pair)), "https"
	}
	return newServer(opts, scheme).Serve(ln)
}

// tlsConfig allows TLS 1.3 alone, without resumption. The cipher suite is the
// client's choice.
func tlsConfig(pair tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{pair},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
	}
}

func newServer(opts options, scheme string) *fasthttp.Server {
	b := &balancer{host: opts.host, scheme: scheme}
	for addr := range strings.SplitSeq(opts.to, ",") {
		b.backends = append(b.backends, &fasthttp.HostClient{
			Addr:                     addr,
			MaxConns:                 opts.conns,
			MaxIdleConnDuration:      time.Hour,
			NoDefaultUserAgentHeader: true,
			StreamResponseBody:       opts.stream,
			// The path goes through as it is.
			DisablePathNormalizing: true,
		})
	}
	return &fasthttp.Server{
		Handler:                      b.serve,
		Logger:                       log.New(io.Discard, "", 0),
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true,
		NoDefaultContentType:         true,
		StreamRequestBody:            opts.stream,
		DisablePreParseMultipartForm: true,
	}
}

// A balancer sends each request to the next backend.
type balancer struct {
	backends []*fasthttp.HostClient
	turn     atomic.Uint64
	host     string
	scheme   string
}

func (b *balancer) serve(ctx *fasthttp.RequestCtx) {
	req, res := &ctx.Request, &ctx.Response
	req.Header.Del(fasthttp.HeaderConnection)
	req.Header.SetBytesV(fasthttp.HeaderXForwardedHost, req.Header.Host())
	req.Header.Set(fasthttp.HeaderXForwardedProto, b.scheme)
	req.Header.Set(fasthttp.HeaderXForwardedFor, ctx.RemoteIP().String())
	req.URI().SetScheme("http")
	req.Header.SetHost(b.host)
	req.UseHostHeader = true
	backend := b.backends[b.turn.Add(1)%uint64(len(b.backends))]
	if err := backend.Do(req, res); err != nil {
		ctx.Error("bad gateway", fasthttp.StatusBadGateway)
		return
	}
	res.Header.Del(fasthttp.HeaderConnection)
}
