// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
)

// start returns a client of the proxy in front of an origin.
func start(t *testing.T, opts ...proxytest.OriginOption) (*proxytest.Client, *proxytest.Origin) {
	t.Helper()
	origin := proxytest.NewOrigin(t, opts...)
	p, err := newProxy(proxy.Config{}, origin.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return proxytest.NewClient(t, proxytest.Listen(t, p)), origin
}

func TestConverts(t *testing.T) {
	t.Parallel()
	const body = `{"name":"belay","ports":[80,443],"tls":null}`
	const want = "\"name\": \"belay\"\n\"ports\":\n  - 80\n  - 443\n\"tls\": null\n"
	for name, opt := range map[string]proxytest.OriginOption{
		"at once":        proxytest.Body(body),
		"byte by byte":   proxytest.Drip(1, 0),
		"in chunks of 7": proxytest.Chunked(7),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, origin := start(t, proxytest.Field("Content-Type", "application/json; charset=utf-8"),
				proxytest.Field("ETag", `"1"`), proxytest.Body(body), opt)
			res := client.Get("/", "Accept-Encoding", "gzip", "Range", "bytes=0-3")
			res.Check(t, 200, want)
			if got := res.Fields.Get("Content-Type"); got != "application/yaml" {
				t.Errorf("Content-Type is %q, want application/yaml", got)
			}
			if res.Fields.Has("ETag") || res.Fields.Has("Content-Length") {
				t.Errorf("response has fields of the old body: %v", &res.Fields)
			}
			req := origin.WaitRequests(1)[0]
			if req.Fields.Has("Accept-Encoding") || req.Fields.Has("Range") {
				t.Errorf("origin was asked for part of the body, or compressed: %v", &req.Fields)
			}
			if again := client.Get("/"); again.Conn != res.Conn {
				t.Error("the second request needed another connection, want the first one kept")
			}
		})
	}
}

func TestLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	client, _ := start(t, proxytest.Field("Content-Type", "text/plain"), proxytest.Body(`{"a":1}`))
	client.Get("/").Check(t, 200, `{"a":1}`)
	client, _ = start(t, proxytest.Field("Content-Type", "application/json"), proxytest.Status(404), proxytest.Body(`{"a":1}`))
	client.Get("/").Check(t, 404, `{"a":1}`)
}

func TestHeadPromisesNoLength(t *testing.T) {
	t.Parallel()
	client, _ := start(t, proxytest.Field("Content-Type", "application/json"), proxytest.Body(`{"a":1}`))
	res := client.Do(client.Request("HEAD", "/", ""))
	res.Check(t, 200, "")
	if res.Fields.Has("Content-Length") {
		t.Errorf("Content-Length is %q, want none", res.Fields.Get("Content-Length"))
	}
}

// TestBadBody makes sure that the client can tell that it has not got a body:
// the head has been sent by then.
func TestBadBody(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"not JSON":  `{"a":`,
		"too large": `"` + strings.Repeat("x", maxBody) + `"`,
	} {
		client, _ := start(t, proxytest.Field("Content-Type", "application/json"), proxytest.Body(body))
		if res := client.Get("/"); res.Complete {
			t.Errorf("%s: got %v, want a response that is cut", name, res)
		}
	}
}

func TestYAMLFromJSON(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{`1.50`, "1.50\n"},
		{`"a\nb"`, "\"a\\nb\"\n"},
		{`{}`, "{}\n"},
		{`[[],{}]`, "- []\n- {}\n"},
		{`[[1,2],[3]]`, "- - 1\n  - 2\n- - 3\n"},
		{`{"b":{"c":[1]},"a":true}`, "\"a\": true\n\"b\":\n  \"c\":\n    - 1\n"},
		{`[{"a":1,"b":2}]`, "- \"a\": 1\n  \"b\": 2\n"},
	}
	for _, tt := range tests {
		if got, err := yamlFromJSON([]byte(tt.in)); err != nil || string(got) != tt.want {
			t.Errorf("yamlFromJSON(%s) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "{", "1 2", "nul"} {
		if got, err := yamlFromJSON([]byte(in)); err == nil {
			t.Errorf("yamlFromJSON(%q) = %q, want an error", in, got)
		}
	}
}

// TestBackendIsChecked: what no request could be sent to is found at the start.
func TestBackendIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := newProxy(proxy.Config{}, "nowhere"); err == nil {
		t.Error("newProxy takes a backend without a port")
	}
}
