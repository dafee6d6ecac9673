// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestVerify(t *testing.T) {
	o, origins := startOrigins(t)
	good, oneOrigin := newReverseProxy(origins, 8), newReverseProxy(origins[:1], 8)
	forgetful := newReverseProxy(origins, -1) // keeps no idle connection
	accepts := func() (int64, error) {
		var stats originStats
		o.ask("stats", &stats)
		return stats.Accepts, nil
	}
	tests := []struct {
		name    string
		handler http.Handler
		differs string
		err     string // part of it, "" for none
	}{
		{"good", good, "", ""},
		{"one origin", oneOrigin, "used 1 of 3 origins for 6 requests", ""},
		{"connections not kept", forgetful, "", "made 6 connections to 3 origins"},
		{"origin closed", echo(func(r *http.Request) { r.Close = true }), "", "asked to close"},
		{"error", http.NotFoundHandler(), "", "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.handler)
			defer server.Close()
			differs, err := verify(access{}, server.Listener.Addr().String(), originCount, accepts)
			if got := strings.Join(differs, "; "); got != tt.differs && err == nil {
				t.Errorf("differs: %q, want %q", got, tt.differs)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
	good.Transport.(*http.Transport).CloseIdleConnections()
	oneOrigin.Transport.(*http.Transport).CloseIdleConnections()
}

func TestDeviations(t *testing.T) {
	tests := []struct {
		name   string
		change func(*http.Request)
		want   string
	}{
		{"none", func(*http.Request) {}, ""},
		{"host", func(r *http.Request) { r.Host = hostSent }, `sends Host "www.example.com", not "bench.example"`},
		{"lacking", func(r *http.Request) { r.Header.Del("X-Forwarded-For") }, "sends no X-Forwarded-For"},
		{"added", func(r *http.Request) { r.Header.Set("Via", "1.1 x") }, "adds Via"},
		{"hop by hop", func(r *http.Request) { r.Header.Set("Connection", "keep-alive") }, "adds Connection"},
		{"value", func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") }, `sends X-Forwarded-Proto "https", not "http"`},
		{"twice", func(r *http.Request) { r.Header.Add("X-Forwarded-Host", "b") }, `sends X-Forwarded-Host "www.example.com, b", not "www.example.com"`},
	}
	for _, tt := range tests {
		got := &http.Request{Host: hostWanted, Header: wantedFields(access{})}
		tt.change(got)
		if list := strings.Join(deviations(access{}, got), "; "); list != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, list, tt.want)
		}
	}
}

// echo answers with the head that a proper proxy would send, after change.
func echo(change func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		r.Header.Set("X-Forwarded-For", host)
		r.Header.Set("X-Forwarded-Proto", "http")
		r.Header.Set("X-Forwarded-Host", r.Host)
		r.Host = hostWanted
		change(r)
		_ = r.Write(w)
	})
}

func TestNote(t *testing.T) {
	failed := errors.New("no\nsuccess")
	p := peer{Differs: []string{"a"}}
	p.note(access{}, []string{"b"}, nil)
	p.note(access{H2: true}, []string{"b", "a"}, failed)
	if !slices.Equal(p.Differs, []string{"a", "b"}) || p.Skipped != "" {
		t.Errorf("peer = %+v, want the differences a and b", p)
	}
	if why := p.cannot(scenario{h2: true}); why != "failed when verified: no success" {
		t.Errorf("cannot do HTTP/2: %q", why)
	}
	if why := p.cannot(scenario{tls: true}); why != "" {
		t.Errorf("cannot do TLS: %q", why)
	}
	p.note(access{}, nil, failed)
	if p.Failed != "failed when verified: no success" {
		t.Errorf("failed: %q", p.Failed)
	}
}

func TestAccessesOf(t *testing.T) {
	h2 := scenario{tls: true, h2: true}
	if got := accessesOf([]scenario{h2, {}, h2}); !slices.Equal(got, []access{{}, {TLS: true, H2: true}}) {
		t.Errorf("accesses = %+v, want the plain one and HTTP/2 over TLS", got)
	}
}
