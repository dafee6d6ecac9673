// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package grpcweb lets browsers call gRPC services through the proxy: it
// translates grpc-web, which needs neither HTTP/2 nor trailers, to gRPC.
//
//	p, err := proxy.New(cfg, proxy.Chain(grpcweb.Filter[state](), myHooks))
//
// The peer must speak HTTP/2, as gRPC servers do (upstream.Peer.ALPN).
//
// # What it does
//
// A request is grpc-web if it is a POST with the content type
// application/grpc-web or application/grpc-web-text, with or without a suffix
// such as "+proto". The peer receives it as application/grpc, with TE:
// trailers and without Accept-Encoding. A body of the text form is base64 and
// is decoded as it arrives; one that is not valid is answered with 400.
//
// The trailers of the response become the last frame of its body. So do the
// grpc-status fields of a response that is nothing but a head. The response
// is of the form, binary or text, that Accept asks for, otherwise that of the
// request; in the text form each piece is base64 of its own, with padding, so
// that no byte of a message waits for the next one. An answer that is not
// application/grpc passes as it is.
//
// Nothing is buffered: besides a piece of body, at most three characters of
// base64 wait for the fourth, and the last frame is as large as the peer's
// trailers may be.
//
// # What it does not do
//
// CORS, which browsers ask for across origins, is left to other hooks.
//
// All other requests pass as they are. But as the filter has body hooks, their
// bodies lose Content-Length and are not spliced. Where that matters give the
// filter a Proxy of its own:
//
//	proxy.NewSwitch(cfg, func(head *header.Request) *proxy.Proxy {
//		if grpcweb.Match(head) {
//			return web
//		}
//		return plain
//	})
//
// The protocol is described in PROTOCOL-WEB.md of github.com/grpc/grpc.
package grpcweb
