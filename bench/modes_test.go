// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// loadOrigin runs the load program with job against an origin that speaks u.
func loadOrigin(t *testing.T, u upstream, job loadJob) (ready, report loadReport, stats originStats) {
	t.Helper()
	origin, addrs := startReadyOrigins(t)
	job.Addr = (&originSet{originReady: addrs}).addresses(u)[0]
	line, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	load := runProgram(t, runLoad)
	load.ask(string(line), &ready)
	load.ask(loadGo+" 20ms", &report)
	origin.ask("stats", &stats)
	return ready, report, stats
}

func TestLoadModes(t *testing.T) {
	tests := []struct {
		name string
		s    scenario
	}{
		{"websocket", scenario{conns: 3, response: 100, mode: webSocketMode, upstream: toWebSocket}},
		{"large messages", scenario{conns: 3, response: 4 << 10, mode: webSocketMode, upstream: toWebSocket}},
		{"grpc unary", scenario{conns: 2, streams: 2, response: 100, mode: grpcUnaryMode, upstream: toGRPC}},
		{"grpc stream", scenario{conns: 2, streams: 2, response: 100, mode: grpcStreamMode, upstream: toGRPC}},
		{"slow", scenario{conns: 3, response: 100, slow: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &tt.s
			ready, report, stats := loadOrigin(t, s.upstream, loadJob{
				Conns: s.conns, Streams: s.streams, Request: s.request(), Response: s.response, Mode: s.mode, Warmup: time.Millisecond,
			})
			if report.Errors > 0 || report.Requests < int64(s.conns) {
				t.Errorf("report = %+v, want requests on %d connections", report, s.conns)
			}
			if got := stats.Requests; got != ready.Requests+report.Requests {
				t.Errorf("origin answered %d, load counted %d and %d", got, ready.Requests, report.Requests)
			}
			if stats.Accepts != int64(s.conns) {
				t.Errorf("origin accepted %d connections, want %d", stats.Accepts, s.conns)
			}
			if s.slow && report.P50 < originDelay {
				t.Errorf("p50 = %v, want at least %v", report.P50, originDelay)
			}
		})
	}
}

// The origin for HTTP/2 keeps to flow control, checks bodies, and echoes.
func TestH2Origin(t *testing.T) {
	_, ready := startReadyOrigins(t)
	addr := ready.H2[0]
	for _, s := range []scenario{
		{h2: true, response: 100},
		{h2: true, response: 0},
		{h2: true, response: 5 << 20},
		{h2: true, response: 10, post: 3 << 20},
	} {
		if err := verifyBodies(&s, addr); err != nil {
			t.Errorf("response of %d, body of %d bytes: %v", s.response, s.post, err)
		}
	}
	client, done := access{H2: true}.httpClient()
	defer done()
	res, err := client.Post("http://"+addr+checkTarget+"1", "text/plain", strings.NewReader("wrong"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("wrong body: status %d, want 400", res.StatusCode)
	}
	res, err = client.Get("http://" + addr + echoTarget)
	if err != nil {
		t.Fatal(err)
	}
	echo, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if !strings.HasPrefix(string(echo), "GET "+echoTarget+" HTTP/1.1\r\nHost: "+addr) || err != nil {
		t.Errorf("echo = %q, %v", echo, err)
	}
}

func TestH2OriginUnderOpenLoop(t *testing.T) {
	_, ready := startReadyOrigins(t)
	s := scenario{response: 100, h2: true}
	loop, err := newOpenLoop(&loadJob{Addr: ready.H2[0], Conns: 2, Target: s.target(), Streams: 8, Response: 100, Access: s.access()})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.close()
	if report, err := openReport(loop, 2000, 100*time.Millisecond); err != nil || report.Requests != 200 {
		t.Errorf("report = %+v, %v; want 200 requests", report, err)
	}
}

func TestWebSocketMessages(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 4096, 65535} {
		message := appendMessage(nil, size, true)
		for _, n := range []int{0, 1, 2, 3, len(message) - 1} {
			if _, used, err := consumeMessage(bytes.Clone(message[:n])); used != 0 || err != nil {
				t.Errorf("%d of %d bytes: used %d, %v; want 0", n, len(message), used, err)
			}
		}
		payload, used, err := consumeMessage(append(message, 'x'))
		if err != nil || used != len(message) || !bytes.Equal(payload, filler[:size]) {
			t.Errorf("size %d: %d bytes used, %d of payload, %v", size, used, len(payload), err)
		}
	}
	for _, bad := range []string{"\x81\x80", "\x82\x01", "\x82\xff"} {
		if _, _, err := consumeMessage([]byte(bad)); err == nil {
			t.Errorf("frame %x is accepted", bad)
		}
	}
	r := newMessageReader(3)
	if done, err := r.advance(copy(r.space(), "\x82\x03a")); done || err != nil {
		t.Errorf("half a message: %t, %v", done, err)
	}
	if done, err := r.advance(copy(r.space(), "bc")); !done || err != nil {
		t.Errorf("the other half: %t, %v", done, err)
	}
	if _, err := r.advance(copy(r.space(), "\x82\x03abd")); err == nil {
		t.Error("another message is accepted")
	}
	if got := webSocketAccept(webSocketKey); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455, section 1.3
		t.Errorf("accept = %s", got)
	}
}

// A survivor counts lost requests, and sends again what a closed connection did
// not take.
func TestSurvivor(t *testing.T) {
	tests := []struct {
		name         string
		handler      func(n int64, w http.ResponseWriter)
		lost, resent bool
	}{
		{"good", func(int64, http.ResponseWriter) {}, false, false},
		{"closes as it says", func(_ int64, w http.ResponseWriter) { w.Header().Set("Connection", "close") }, false, false},
		{"error", func(n int64, w http.ResponseWriter) {
			if n == 5 {
				w.WriteHeader(http.StatusBadGateway)
			}
		}, true, false},
		{"closes idle connections", func(n int64, w http.ResponseWriter) {
			if n%7 == 0 {
				conn, out, _ := w.(http.Hijacker).Hijack()
				_, _ = out.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
				_ = out.Flush()
				_ = conn.Close()
				panic(http.ErrAbortHandler)
			}
		}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var count atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tt.handler(count.Add(1), w)
				_, _ = io.WriteString(w, "abc")
			}))
			defer server.Close()
			v := newSurvivor(&loadJob{Addr: server.Listener.Addr().String(), Conns: 2, Request: buildRequest("/b/3", "keep-alive", 0), Response: 3})
			defer v.close()
			report, err := openReport(v, 500, 200*time.Millisecond)
			if err != nil || report.Requests+report.Failed != 100 || report.Unfinished > 0 {
				t.Errorf("report = %+v, %v; want 100 requests", report, err)
			}
			if (report.Failed > 0) != tt.lost || (report.Resent > 0) != tt.resent {
				t.Errorf("%d lost, %d sent again, first %q; want some: %t, %t", report.Failed, report.Resent, report.FirstFailure, tt.lost, tt.resent)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	plain, all := peer{}, peer{features: featureSet(accessLog, h2Upstream, webSocket, gRPC, reloading, upgrading)}
	for _, s := range scenarios {
		if why := all.cannot(s); why != "" {
			t.Errorf("%s: a peer with all features cannot run it: %s", s.Name, why)
		}
		if why := plain.cannot(s); (why == "") != (len(s.needs()) == 0) {
			t.Errorf("%s needs %v, but a peer without features says %q", s.Name, s.needs(), why)
		}
	}
}

func TestBelayFeatures(t *testing.T) {
	got := belayFeatures("--access-log file\n --to h2c://host:port")
	if !got[accessLog] || !got[gRPC] || !got[h2Upstream] || got[upgrading] || got[reloading] {
		t.Errorf("features = %v", got)
	}
}

func TestH2FieldsAreThoseOfARequest(t *testing.T) {
	want := echoFields()
	for _, f := range h2Fields("/", "https") {
		if !strings.HasPrefix(f.Name, ":") && want.Get(f.Name) != f.Value {
			t.Errorf("field %v, want %q", hpack.HeaderField{Name: f.Name, Value: f.Value}, want.Get(f.Name))
		}
	}
}
