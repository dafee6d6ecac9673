// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A programRun is one of our subcommands, run in this process.
type programRun struct {
	t   *testing.T
	in  *io.PipeWriter
	dec *json.Decoder
}

// runProgram starts program and ends it with the test.
func runProgram(t *testing.T, program func(io.Reader, io.Writer) error) *programRun {
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := program(inRead, outWrite)
		outWrite.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		_ = inWrite.Close()
		if err := <-ended; err != nil {
			t.Errorf("program ended: %v", err)
		}
	})
	return &programRun{t, inWrite, json.NewDecoder(outRead)}
}

// ask sends line unless it is empty and decodes the answer.
func (p *programRun) ask(line string, answer any) {
	p.t.Helper()
	if line != "" {
		if _, err := io.WriteString(p.in, line+"\n"); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.dec.Decode(answer); err != nil {
		p.t.Fatal(err)
	}
}

func startOrigins(t *testing.T) (*programRun, []string) {
	p, ready := startReadyOrigins(t)
	return p, ready.Addrs
}

// startReadyOrigins starts the origin program and returns all of its addresses.
func startReadyOrigins(t *testing.T) (*programRun, originReady) {
	p := runProgram(t, func(in io.Reader, out io.Writer) error { return runOrigin(originCount, in, out) })
	var ready originReady
	p.ask("", &ready)
	if len(ready.Addrs) != originCount || len(ready.H2) != originCount || len(ready.GRPC) != originCount {
		t.Fatalf("origins %+v, want %d of each kind", ready, originCount)
	}
	return p, ready
}

// The load program against an origin, with no proxy between.
func TestLoadAndOrigin(t *testing.T) {
	tests := []scenario{
		{Name: "get", conns: 4, response: 100},
		{Name: "post", conns: 4, response: 0, post: 1 << 10},
		{Name: "large post", conns: 2, response: 0, post: 3 << 20},
		{Name: "large", conns: 2, response: 3 << 20},
	}
	for _, s := range tests {
		t.Run(s.Name, func(t *testing.T) {
			origin, addrs := startOrigins(t)
			load := runProgram(t, runLoad)
			job, err := json.Marshal(loadJob{
				Addr: addrs[0], Conns: s.conns, Request: s.request(), Body: s.post, Response: s.response,
				Warmup: time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			var ready, report loadReport
			load.ask(string(job), &ready)
			var before, after originStats
			origin.ask("stats", &before)
			load.ask(loadGo+" 10ms", &report)
			origin.ask("stats", &after)
			if report.Errors != 0 || report.Requests < int64(s.conns) || report.P50 <= 0 {
				t.Errorf("report = %+v, want at least a request on each of %d connections", report, s.conns)
			}
			if got := after.Requests - before.Requests; got != report.Requests {
				t.Errorf("origin answered %d requests, load counted %d", got, report.Requests)
			}
			if after.Accepts != int64(s.conns) {
				t.Errorf("origin accepted %d connections, want %d", after.Accepts, s.conns)
			}
		})
	}
}

func TestIdleLoad(t *testing.T) {
	origin, addrs := startOrigins(t)
	load := runProgram(t, runLoad)
	s := scenario{conns: 10, response: 100}
	job, _ := json.Marshal(loadJob{Addr: addrs[1], Conns: s.conns, Request: s.request(), Response: 100, Idle: true})
	var report loadReport
	load.ask(string(job), &report)
	if report.Requests != 10 || report.Errors != 0 {
		t.Errorf("report = %+v, want 10 requests", report)
	}
	load.ask(loadCheck, &report)
	if report.Closed != 0 {
		t.Errorf("%d connections closed, want 0", report.Closed)
	}
	var stats originStats
	origin.ask("stats", &stats)
	if stats.Accepts != 10 || stats.Requests != 10 {
		t.Errorf("origin = %+v, want 10 and 10", stats)
	}
}

func TestNewConnections(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	load := runProgram(t, runLoad)
	s := scenario{response: 5, newConn: true}
	job, _ := json.Marshal(loadJob{
		Addr: server.Listener.Addr().String(), Conns: 2, Request: s.request(), Response: 5,
		NewConn: true, Warmup: time.Millisecond,
	})
	var report loadReport
	load.ask(string(job), &report)
	load.ask(loadGo+" 10ms", &report)
	if report.Requests < 2 || report.Errors != 0 {
		t.Errorf("report = %+v, want requests and no errors", report)
	}
}

func TestLoadReportsErrors(t *testing.T) {
	_, addrs := startOrigins(t)
	load := runProgram(t, runLoad)
	job, _ := json.Marshal(loadJob{
		Addr: addrs[0], Conns: 3, Request: buildRequest("/b/7", "keep-alive", 0), Response: 8, Warmup: time.Second,
	})
	var report loadReport
	load.ask(string(job), &report)
	if report.Errors != 3 || report.Requests != 0 || !strings.Contains(report.Error, "Content-Length is 7, want 8") {
		t.Errorf("report = %+v, want 3 errors", report)
	}
}
