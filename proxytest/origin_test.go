// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestModes(t *testing.T) {
	CheckLeaks(t)
	Run(t, func(t *testing.T, m Mode) {
		origin := NewOrigin(t, Speak(m.Upstream), Body("hello"))
		client := NewClient(t, origin.Addr(), As(m.Downstream))
		client.Get("/").Check(t, 200, "hello")
		if got, want := To(origin).Addr, origin.Addr(); got != want {
			t.Errorf("To(origin).Addr = %q, want %q", got, want)
		}
	})
}

func TestOriginAnswers(t *testing.T) {
	long := string(Pattern(100_000))
	tests := []struct {
		name    string
		opts    []OriginOption
		request string // "" is GET /
		status  int
		body    string
		framing Framing
		open    bool // the connection may be used again
	}{
		{name: "default", status: 200, framing: ByLength, open: true},
		{name: "body", opts: []OriginOption{BodySize(100_000)}, status: 200, body: long, framing: ByLength, open: true},
		{name: "delay", opts: []OriginOption{Delay(time.Millisecond)}, status: 200, framing: ByLength, open: true},
		{name: "chunked", opts: []OriginOption{BodySize(100_000), Chunked(7000)}, status: 200, body: long, framing: ByChunks, open: true},
		{name: "drip", opts: []OriginOption{Body("abcdef"), Drip(2, time.Millisecond)}, status: 200, body: "abcdef", framing: ByLength, open: true},
		{name: "HTTP/1.0", opts: []OriginOption{HTTP10(), Body("x")}, status: 200, body: "x", framing: ByLength},
		{name: "close-delimited", opts: []OriginOption{CloseDelimited(), Body("x")}, status: 200, body: "x", framing: ByClose},
		{name: "no content", opts: []OriginOption{Status(204)}, status: 204, framing: NoBody, open: true},
		{name: "not modified", opts: []OriginOption{Status(304), Body("x")}, status: 304, framing: NoBody, open: true},
		{name: "HEAD", opts: []OriginOption{Body("x")}, request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", status: 200, framing: NoBody, open: true},
		{name: "client closes", request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", status: 200, framing: ByLength},
		{name: "early", opts: []OriginOption{AnswerEarly()}, request: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", status: 200, framing: ByLength, open: true},
		{name: "violation", request: "GET / HTTP/1.1\r\n\r\n", status: 400, framing: ByLength},
		{name: "handle", opts: []OriginOption{Handle(func(req RecordedRequest) []byte {
			return []byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + req.Target)
		})}, status: 200, body: "/", framing: ByLength, open: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := NewClient(t, NewOrigin(t, tt.opts...).Addr())
			request := tt.request
			if request == "" {
				request = client.Request("GET", "/", "")
			}
			for range 2 {
				res := client.Do(request)
				res.Check(t, tt.status, tt.body)
				if res.Framing != tt.framing {
					t.Errorf("framing = %q, want %q", res.Framing, tt.framing)
				}
			}
			want := 2
			if tt.open {
				want = 1
			}
			if got := client.Connections(); got != want {
				t.Errorf("%d connections for two requests, want %d", got, want)
			}
		})
	}
}

func TestOriginCutsBody(t *testing.T) {
	reset := func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
	ended := func(err error) bool { return err == io.ErrUnexpectedEOF }
	tests := []struct {
		name string
		opts []OriginOption
		want func(error) bool
	}{
		{"reset", []OriginOption{ResetAfter(5)}, reset},
		{"reset at once", []OriginOption{ResetAfter(0)}, reset},
		{"reset in chunks", []OriginOption{ResetAfter(5), Chunked(2)}, reset},
		{"reset close-delimited", []OriginOption{ResetAfter(5), CloseDelimited()}, reset},
		{"close", []OriginOption{CloseAfter(5)}, ended},
		{"close in chunks", []OriginOption{CloseAfter(5), Chunked(3)}, ended},
		{"too long a length", []OriginOption{ContentLength(11)}, ended},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			origin := NewOrigin(t, append(tt.opts, Body("0123456789"))...)
			res := NewClient(t, origin.Addr()).Get("/")
			if res.Complete || !tt.want(res.Err) || !strings.HasPrefix("0123456789", res.Text()) {
				t.Errorf("got %v", res)
			}
		})
	}
}

func TestOriginWithoutAnswer(t *testing.T) {
	tests := []struct {
		name string
		opt  OriginOption
		want error
	}{
		{"refused", Refuse(), syscall.ECONNREFUSED},
		{"reset", ResetBeforeHead(), syscall.ECONNRESET},
		{"closed", Handle(func(RecordedRequest) []byte { return nil }), io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if res := NewClient(t, NewOrigin(t, tt.opt).Addr()).Get("/"); !errors.Is(res.Err, tt.want) {
				t.Errorf("Get: %v, want %v", res.Err, tt.want)
			}
		})
	}
}

func TestOriginThatHangs(t *testing.T) {
	CheckLeaks(t)
	for name, opt := range map[string]OriginOption{"never answer": NeverAnswer(), "never read": NeverRead()} {
		t.Run(name, func(t *testing.T) {
			origin := NewOrigin(t, opt)
			res := NewClient(t, origin.Addr(), Timeout(50*time.Millisecond)).Get("/")
			if ne, ok := errors.AsType[net.Error](res.Err); !ok || !ne.Timeout() {
				t.Errorf("Get: %v, want a timeout", res.Err)
			}
			origin.WaitConnections(1)
		})
	}
}

func TestTrailersAndInformational(t *testing.T) {
	origin := NewOrigin(t, Informational(103, "Link", "</a>"), Trailer("Sum", "1f"), Body("x"), Field("X-A", "b"))
	res := NewClient(t, origin.Addr()).Get("/")
	res.Check(t, 200, "x")
	if got := res.Trailers.Get("Sum"); got != "1f" {
		t.Errorf("trailer Sum = %q, want 1f", got)
	}
	if got := res.Fields.Get("X-A"); got != "b" {
		t.Errorf("field X-A = %q, want b", got)
	}
	if len(res.Informational) != 1 || res.Informational[0].Status != 103 || res.Informational[0].Fields.Get("Link") != "</a>" {
		t.Errorf("informational = %v, want 103 with a link", res.Informational)
	}
}

func TestExpectContinue(t *testing.T) {
	origin := NewOrigin(t)
	conn := NewClient(t, origin.Addr()).Dial()
	if err := conn.Send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	conn.Next("PUT").Check(t, 100, "")
	if err := conn.SendPieces(time.Millisecond, "h", "i"); err != nil {
		t.Fatal(err)
	}
	conn.Next("PUT").Check(t, 200, "")
	if got := origin.WaitRequests(1)[0].Text(); got != "hi" {
		t.Errorf("body = %q, want hi", got)
	}
}

func TestStaleConnections(t *testing.T) {
	for name, opt := range map[string]OriginOption{"closed when idle": CloseIdle(), "closed on reuse": CloseOnReuse()} {
		t.Run(name, func(t *testing.T) {
			client := NewClient(t, NewOrigin(t, opt).Addr())
			if first := client.Get("/"); !first.KeepAlive() {
				t.Errorf("first response: %v, want one that keeps the connection", first)
			}
			if second := client.Get("/"); second.Err == nil {
				t.Errorf("second response: %v, want an error", second)
			}
		})
	}
}

func TestExtraBytes(t *testing.T) {
	tests := map[string][]OriginOption{
		"extra":              {Extra("more")},
		"too short a length": {Body("more"), ContentLength(0)},
	}
	for name, opts := range tests {
		t.Run(name, func(t *testing.T) {
			conn := NewClient(t, NewOrigin(t, opts...).Addr()).Dial()
			if err := conn.Send("GET / HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			conn.Next("GET").Check(t, 200, "")
			if got, err := conn.Rest(); got != "more" || err != nil {
				t.Errorf("after the response: %q, %v; want more", got, err)
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	CheckLeaks(t)
	origin := NewOrigin(t, Upgrade("echo"))
	client := NewClient(t, origin.Addr())
	client.Get("/").Check(t, 200, "")
	conn := client.Dial()
	if err := conn.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly"); err != nil {
		t.Fatal(err)
	}
	if res := conn.Response("GET"); res.Status != 101 {
		t.Fatalf("got %v, want 101", res)
	}
	if got, err := conn.ReadFull(5); got != "early" || err != nil {
		t.Errorf("ReadFull = %q, %v; want early", got, err)
	}
	if err := errors.Join(conn.Send("late"), conn.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if got, err := conn.Rest(); got != "late" || err != nil {
		t.Errorf("Rest = %q, %v; want late", got, err)
	}
}

func TestRecording(t *testing.T) {
	origin := NewOrigin(t)
	client := NewClient(t, origin.Addr())
	for _, res := range client.Pipeline(client.Request("GET", "/1", ""), client.Request("POST", "/2", "body")) {
		res.Check(t, 200, "")
	}
	client.Close()
	client.Get("/3", "X-A", "b").Check(t, 200, "")
	type seen struct {
		conn, index int
		target      string
	}
	var got []seen
	for _, req := range origin.WaitRequests(3) {
		got = append(got, seen{req.Conn, req.Index, req.Target})
	}
	if want := []seen{{1, 1, "/1"}, {1, 2, "/2"}, {2, 1, "/3"}}; !slices.Equal(got, want) {
		t.Errorf("requests = %v, want %v", got, want)
	}

	conn := client.Dial()
	if err := errors.Join(conn.Send("GET / HTTP/1.1\r\nHo"), conn.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if rest, err := conn.Rest(); rest != "" || err != nil {
		t.Errorf("answer to half a request: %q, %v; want none", rest, err)
	}
	client.Do("GET / HTTP/1.1\nHost: a\n\n").Check(t, 400, "")
	if got := origin.Cut(); len(got) != 1 || string(got[0].Head) != "GET / HTTP/1.1\r\nHo" {
		t.Errorf("cut requests = %v, want the first half of one", got)
	}
	if got := origin.Violations(); len(got) != 1 || got[0].Conn != 2 || got[0].Index != 2 || string(got[0].Raw) != "GET / HTTP/1.1\n" {
		t.Errorf("violations = %v, want a bare LF in request 2 of connection 2", got)
	}
	if got := origin.BytesReceived(); got == 0 {
		t.Error("BytesReceived = 0, want more")
	}
}

func TestScript(t *testing.T) {
	origin := NewOrigin(t, Script(func(c net.Conn, br *bufio.Reader) {
		req, err := ReadRequest(br)
		if err == nil {
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n"+req.Target)
		}
		Reset(c)
	}))
	if res := NewClient(t, origin.Addr()).Get("/"); !errors.Is(res.Err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", res)
	}
}

func TestStopAndStart(t *testing.T) {
	CheckLeaks(t)
	for name, opts := range map[string][]OriginOption{"tcp": nil, "unix": {OnUnix()}} {
		t.Run(name, func(t *testing.T) {
			origin := NewOrigin(t, opts...)
			client := NewClient(t, origin.Addr())
			client.Get("/").Check(t, 200, "")
			origin.WaitOpen(1)
			origin.Drop()
			origin.WaitOpen(0)
			if res := client.Get("/"); res.Err == nil {
				t.Errorf("on a dropped connection: %v, want an error", res)
			}
			origin.Stop()
			if res := client.Get("/"); res.Err == nil {
				t.Errorf("from a stopped origin: %v, want an error", res)
			}
			origin.Start()
			client.Get("/").Check(t, 200, "")
		})
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewOrigin(t).Wait(ctx, func() bool { return false }); err != context.Canceled {
		t.Errorf("Wait = %v, want %v", err, context.Canceled)
	}
}
