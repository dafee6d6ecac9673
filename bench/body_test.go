// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

func TestBodyBytes(t *testing.T) {
	for _, size := range []int64{0, 1, 64 << 10, 64<<10 + 1, int64(len(filler)), int64(len(filler)) + 1, 3*int64(len(filler)) + 7} {
		var written bytes.Buffer
		written.Write(bodyStart([]byte("head"), size))
		if err := writeRest(&written, size); err != nil {
			t.Fatal(err)
		}
		if int64(written.Len()) != size+4 {
			t.Errorf("%d bytes written, want 4 more than %d", written.Len(), size)
		}
		read, err := io.ReadAll(&bodyReader{left: size})
		if err != nil || string(read) != written.String()[4:] {
			t.Errorf("size %d: read and written bodies differ, %v", size, err)
		}
		if _, err := io.Copy(new(bodyChecker), bytes.NewReader(read)); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		if size > 0 {
			read[size-1]++
			if _, err := io.Copy(new(bodyChecker), bytes.NewReader(read)); err == nil {
				t.Errorf("size %d: a wrong last byte passes", size)
			}
		}
	}
}

func TestVerifyBodies(t *testing.T) {
	_, addrs := startOrigins(t)
	target := &url.URL{Scheme: "http", Host: addrs[0]}
	spoil := func(upstream, downstream string) http.HandlerFunc { // replaces the first "abc" of bodies
		return func(w http.ResponseWriter, r *http.Request) {
			proxy := &httputil.ReverseProxy{
				Rewrite: func(p *httputil.ProxyRequest) {
					p.SetURL(target)
					if upstream != "" {
						p.Out.Body = io.NopCloser(io.MultiReader(strings.NewReader(upstream), skip(p.Out.Body, len(upstream))))
					}
				},
				ModifyResponse: func(res *http.Response) error {
					if downstream != "" {
						res.Body = io.NopCloser(io.MultiReader(strings.NewReader(downstream), skip(res.Body, len(downstream))))
					}
					return nil
				},
				Transport: &http.Transport{DisableKeepAlives: true},
			}
			proxy.ServeHTTP(w, r)
		}
	}
	tests := []struct {
		name                 string
		s                    scenario
		upstream, downstream string
		want                 string // part of the error, "" for none
	}{
		{"get", scenario{response: 1 << 20}, "", "", ""},
		{"post", scenario{response: 10, post: 1 << 20}, "", "", ""},
		{"get spoilt", scenario{response: 1 << 20}, "", "xyz", "is wrong"},
		{"post spoilt", scenario{response: 10, post: 1 << 20}, "xyz", "", "400"},
	}
	for _, tt := range tests {
		addr := startServer(t, access{}, spoil(tt.upstream, tt.downstream))
		err := verifyBodies(&tt.s, addr)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

// skip returns r without its first n bytes.
func skip(r io.Reader, n int) io.Reader {
	_, _ = io.CopyN(io.Discard, r, int64(n))
	return r
}
