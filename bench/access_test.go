// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// startServer starts a server of package net/http for an access, with a
// certificate of ours.
func startServer(t *testing.T, a access, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.EnableHTTP2 = a.H2 && a.TLS
	if a.TLS {
		certs, err := newCertificates(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = serverTLS(t, certs)
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func serverTLS(t *testing.T, certs certificates) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certs.cert, certs.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(certs.both, certs.both); err != nil {
		t.Errorf("file with both: %v", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func TestExchangers(t *testing.T) {
	for _, a := range []access{{}, {TLS: true}, {H2: true}, {TLS: true, H2: true}} {
		addr := startServer(t, a, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Host+r.URL.Path)
		})
		exchange, done, err := a.exchanger(addr)
		if err != nil {
			t.Fatalf("%+v: %v", a, err)
		}
		for range 2 {
			res, err := exchange()
			if err != nil {
				t.Fatalf("%+v: %v", a, err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(body) != hostSent+echoTarget || err != nil || (res.ProtoMajor == 2) != a.H2 {
				t.Errorf("%+v: %s %q, %v, want the host and the target", a, res.Proto, body, err)
			}
		}
		done()
	}
}

// The load program over TLS, and with HTTP/2 on idle connections.
func TestLoadAccesses(t *testing.T) {
	tests := []struct {
		name string
		s    scenario
	}{
		{"tls", scenario{conns: 2, response: 100, tls: true}},
		{"handshakes", scenario{conns: 2, response: 100, tls: true, newConn: true}},
		{"idle tls", scenario{conns: 2, response: 100, tls: true, idle: true}},
		{"idle h2", scenario{conns: 2, response: 100, tls: true, h2: true, idle: true}},
		{"idle h2c", scenario{conns: 2, response: 100, h2: true, idle: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.s.access()
			addr := startServer(t, a, func(w http.ResponseWriter, r *http.Request) {
				if r.Host != hostSent || r.UserAgent() != userAgent {
					w.WriteHeader(http.StatusBadRequest)
				}
				_, _ = io.WriteString(w, strings.Repeat("x", 100))
			})
			job, _ := json.Marshal(loadJob{
				Addr: addr, Conns: tt.s.conns, Request: tt.s.request(), Response: 100, NewConn: tt.s.newConn,
				Idle: tt.s.idle, Access: a, Warmup: time.Millisecond,
			})
			load := runProgram(t, runLoad)
			var report loadReport
			load.ask(string(job), &report)
			if report.Requests < 2 || report.Errors != 0 {
				t.Errorf("report = %+v, want requests and no errors", report)
			}
			if tt.s.idle {
				load.ask(loadCheck, &report)
				if report.Closed != 0 {
					t.Errorf("%d connections closed, want 0", report.Closed)
				}
			}
		})
	}
}

func TestH2ExchangeRejects(t *testing.T) {
	headers := slices.Clip(appendFrame(nil, h2Headers, h2FlagEndHeaders, 1, []byte{0x20, 0x88}))
	tests := []struct {
		name, in string
		err      string // part of it; "" for none
	}{
		{"good", string(appendFrame(headers, h2Data, h2FlagEndStream, 1, []byte("hello"))), ""},
		{"wide size update", string(appendFrame(appendFrame(nil, h2Headers, h2FlagEndHeaders, 1, []byte{0x3f, 0xe1, 0x1f, 0x88}), h2Data, h2FlagEndStream, 1, []byte("hello"))), ""},
		{"short", string(appendFrame(headers, h2Data, h2FlagEndStream, 1, []byte("hell"))), "4 bytes, want 5"},
		{"status", string(appendFrame(nil, h2Headers, h2FlagEndHeaders, 1, []byte{0x8d})), ":status 200"},
		{"cut size update", string(appendFrame(nil, h2Headers, h2FlagEndHeaders, 1, []byte{0x3f, 0xff})), ":status 200"},
		{"reset", string(appendFrame(nil, h2Reset, 0, 1, make([]byte, 4))), "type 3"},
		{"goaway", string(appendFrame(nil, h2GoAway, 0, 0, make([]byte, 8))), "type 7"},
		{"cut", string(headers), "EOF"},
		{"huge", "\xff\xff\xff\x00\x00\x00\x00\x00\x01", "at most 16 KiB"},
	}
	for _, tt := range tests {
		conn := struct {
			io.Reader
			io.Writer
		}{strings.NewReader(tt.in), io.Discard}
		err := h2Exchange(conn, nil, 5)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
	}
}
