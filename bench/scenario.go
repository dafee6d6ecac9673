// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// A scenario is one kind of load.
type scenario struct {
	Name string `json:"name"`
	What string `json:"what"` // one line for the report

	conns    int   // connections of the load generator
	post     int64 // bytes of request body; 0 means GET
	response int64 // bytes of response body, or of a message
	newConn  bool  // a new connection for each request
	tls      bool  // TLS 1.3
	resume   bool  // TLS: resume a session
	h2       bool  // HTTP/2
	streams  int   // HTTP/2: requests at a time on each connection, by h2load; gRPC: calls or streams
	idle     bool  // measure memory of idle connections instead of CPU

	mode     loadMode // what is sent, if not requests
	upstream upstream // what the origins speak
	backends int      // 0 means originCount
	slow     bool     // origins answer after originDelay
	log      bool     // the proxy writes an access log
	event    event    // what happens meanwhile

	fields, fieldBytes int // more fields in each request, and the bytes of each value

	rated bool    // with --latency also at constant rates
	rate  float64 // requests a second of an open loop; 0 means a closed one

	optional  bool // runs only if named by --scenario
	maxRounds int  // 0 means as many as --rounds says
}

var scenarios = []scenario{
	{Name: "h1-64-100B", What: "GET, 64 kept connections, 100 byte response", conns: 64, response: 100, rated: true},
	{Name: "h1-512-100B", What: "GET, 512 kept connections, 100 byte response", conns: 512, response: 100},
	{Name: "h1-5000-100B", What: "GET, 5,000 kept connections, 100 byte response", conns: 5000, response: 100},
	{Name: "h1-64-4KiB", What: "GET, 64 kept connections, 4 KiB response", conns: 64, response: 4 << 10},
	{Name: "h1-512-4KiB", What: "GET, 512 kept connections, 4 KiB response", conns: 512, response: 4 << 10},
	{Name: "h1-log-64", What: "GET, 64 kept connections, 100 byte response, with an access log", conns: 64, response: 100, log: true},
	{Name: "h1-post-64", What: "POST of 1 KiB, 64 kept connections, 100 byte response", conns: 64, post: 1 << 10, response: 100},
	{Name: "post-64KiB", What: "POST of 64 KiB, 16 kept connections, 100 byte response", conns: 16, post: 64 << 10, response: 100},
	{Name: "post-1MiB", What: "POST of 1 MiB, 8 kept connections, 100 byte response", conns: 8, post: 1 << 20, response: 100},
	{Name: "body-1MiB", What: "GET, 8 kept connections, 1 MiB response", conns: 8, response: 1 << 20},
	{Name: "body-100MiB", What: "GET, 2 kept connections, 100 MiB response", conns: 2, response: 100 << 20},
	{Name: "new-conn-64", What: "GET, a new connection for each request, 64 at a time, 100 byte response", conns: 64, response: 100, newConn: true},
	{Name: "slow-5000", What: "GET, 5,000 kept connections, origins that answer after 100 ms, 100 byte response", conns: 5000, response: 100, slow: true},
	{Name: "backends-1000", What: "GET, 64 kept connections, 1,000 backends, 100 byte response", conns: 64, response: 100, backends: 1000},
	{Name: "tls-h1-64", What: "GET over TLS 1.3, 64 kept connections, 100 byte response", conns: 64, response: 100, tls: true, rated: true},
	{Name: "tls-handshake", What: "GET, a new connection and full TLS 1.3 handshake for each request, 16 at a time, 100 byte response", conns: 16, response: 100, tls: true, newConn: true},
	{Name: "tls-resumed", What: "GET, a new connection and resumed TLS 1.3 handshake for each request, 16 at a time, 100 byte response", conns: 16, response: 100, tls: true, newConn: true, resume: true},
	{Name: "h2-16x32", What: "GET over HTTP/2 and TLS 1.3, 16 connections of 32 streams, 100 byte response", conns: 16, response: 100, tls: true, h2: true, streams: 32, rated: true},
	{Name: "h2c-16x32", What: "GET over HTTP/2 without TLS, 16 connections of 32 streams, 100 byte response", conns: 16, response: 100, h2: true, streams: 32},
	{Name: "h2-h2-16x32", What: "GET over HTTP/2 and TLS 1.3 to origins over HTTP/2, 16 connections of 32 streams, 100 byte response", conns: 16, response: 100, tls: true, h2: true, streams: 32, upstream: toH2},
	{Name: "websocket-64", What: "WebSocket, 64 connections, messages of 100 bytes there and back", conns: 64, response: 100, mode: webSocketMode, upstream: toWebSocket},
	{Name: "grpc-unary", What: "gRPC without TLS, 16 connections of 4 calls at a time, messages of 100 bytes", conns: 16, response: 100, h2: true, streams: 4, mode: grpcUnaryMode, upstream: toGRPC},
	{Name: "grpc-stream", What: "gRPC without TLS, 16 connections of 4 streams, messages of 100 bytes there and back", conns: 16, response: 100, h2: true, streams: 4, mode: grpcStreamMode, upstream: toGRPC},
	{Name: "reload", What: "3 reloads under 2,000 requests/s, half on 16 kept connections, half on new ones", conns: 16, response: 100, mode: surviveMode, rate: eventRate, event: reloadEvent},
	{Name: "upgrade", What: "3 upgrades under 2,000 requests/s, half on 16 kept connections, half on new ones", conns: 16, response: 100, mode: surviveMode, rate: eventRate, event: upgradeEvent},
	{Name: "idle-10000", What: "memory of 10,000 idle connections after one GET on each", conns: 10_000, response: 100, idle: true, maxRounds: 1},
	{Name: "idle-tls-10000", What: "memory of 10,000 idle TLS connections after one GET on each", conns: 10_000, response: 100, tls: true, idle: true, maxRounds: 1},
	{Name: "idle-h2-10000", What: "memory of 10,000 idle HTTP/2 connections over TLS after one GET on each", conns: 10_000, response: 100, tls: true, h2: true, idle: true, maxRounds: 1},
	{Name: "idle-100000", What: "memory of 100,000 idle connections after one GET on each", conns: 100_000, response: 100, idle: true, maxRounds: 1},
}

// bytes returns how many bytes of bodies one request moves.
func (s *scenario) bytes() int64 { return s.response + s.post }

// closedLoopH2 reports whether h2load does the load.
func (s *scenario) closedLoopH2() bool { return s.streams > 0 && s.rate == 0 && s.mode == requestMode }

// echoes reports whether origins can be asked for an echo, to verify the proxy.
func (s *scenario) echoes() bool { return s.upstream != toGRPC }

// access returns how clients reach the proxy.
func (s *scenario) access() access { return access{TLS: s.tls, H2: s.h2, Resume: s.resume} }

// quickScenario is the one that --quick runs if none is named.
const quickScenario = "h1-64-100B"

// selectScenarios returns the scenarios that match any of the glob patterns,
// in the order of the list. Without a pattern it returns those that are not
// optional. A pattern that matches nothing is an error.
func selectScenarios(all []scenario, patterns []string) ([]scenario, error) {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Name
	}
	matched, err := matchNames("scenario", names, patterns)
	if err != nil {
		return nil, err
	}
	var chosen []scenario
	for i, s := range all {
		if matched[i] && !(len(patterns) == 0 && s.optional) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// matchNames reports for each name whether a pattern matches it; without
// patterns all do. what names the kind of thing in the error for a pattern
// that is malformed or matches no name.
func matchNames(what string, names, patterns []string) ([]bool, error) {
	matched := make([]bool, len(names))
	if len(patterns) == 0 {
		for i := range matched {
			matched[i] = true
		}
		return matched, nil
	}
	for _, pattern := range patterns {
		hit := false
		for i, name := range names {
			ok, err := path.Match(pattern, name)
			if err != nil {
				return nil, fmt.Errorf("%s pattern %q: %w", what, pattern, err)
			}
			if ok {
				matched[i], hit = true, true
			}
		}
		if !hit {
			return nil, fmt.Errorf("no %s matches %q; there are: %s", what, pattern, strings.Join(names, ", "))
		}
	}
	return matched, nil
}

// hostSent is the Host that the load generator sends, hostWanted the one that
// every proxy has to make of it.
const (
	hostSent   = "www.example.com"
	hostWanted = "bench.example"
)

const userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

// request returns the bytes of one request but for its body, with a head of the
// size that a browser sends.
func (s *scenario) request() []byte {
	connection := "keep-alive"
	switch {
	case s.mode == webSocketMode:
		return appendMessage(nil, int(s.response), true)
	case s.newConn:
		connection = "close"
	case s.h2:
		return h2Request(s.target(), s.access().scheme())
	}
	return s.addFields(buildRequest(s.target(), connection, s.post))
}

// addFields returns head with the fields that s has beyond the usual ones.
func (s *scenario) addFields(head []byte) []byte {
	if s.fields == 0 {
		return head
	}
	head = head[:len(head)-2]
	for i := range s.fields {
		head = fmt.Appendf(head, "X-Field-%d: %s\r\n", i+1, filler[:s.fieldBytes])
	}
	return append(head, "\r\n"...)
}

// target returns what every request asks for.
func (s *scenario) target() string {
	prefix := bodyTarget
	if s.slow {
		prefix = delayTarget
	}
	return prefix + strconv.FormatInt(s.response, 10)
}

// buildRequest returns the head of a request for target, of a POST if post, the
// bytes of its body, is not 0.
func buildRequest(target, connection string, post int64) []byte {
	method := "GET"
	if post > 0 {
		method = "POST"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	b.WriteString("Host: " + hostSent + "\r\n" +
		"User-Agent: " + userAgent + "\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
		"Accept-Language: en-GB,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate, br\r\n" +
		"Connection: " + connection + "\r\n" +
		"Cookie: session=4f3c2b1a09f8e7d6\r\n")
	if post > 0 {
		fmt.Fprintf(&b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", post)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}
