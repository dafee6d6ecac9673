// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpcweb

import (
	"testing"

	"github.com/belay-proxy/belay/header"
)

func TestParseWebType(t *testing.T) {
	tests := []struct {
		value  string
		text   bool
		suffix string
		ok     bool
	}{
		{"application/grpc-web", false, "", true},
		{"application/grpc-web+proto", false, "+proto", true},
		{"Application/gRPC-Web+json; charset=utf-8", false, "+json", true},
		{"application/grpc-web-text", true, "", true},
		{"application/grpc-web-TEXT+proto", true, "+proto", true},
		{"application/grpc-web-text ; a=\"b;c\"", true, "", true},
		{"application/grpc", false, "", false},
		{"application/grpc+proto", false, "", false},
		{"application/grpc-webs", false, "s", false},
		{"application/grpc-web-texts", true, "s", false},
		{"application/grpc-web/x", false, "/x", false},
		{"text/plain", false, "", false},
		{"", false, "", false},
	}
	for _, tt := range tests {
		text, suffix, ok := parseWebType(tt.value)
		if ok != tt.ok || ok && (text != tt.text || suffix != tt.suffix) {
			t.Errorf("parseWebType(%q) = %v, %q, %v, want %v, %q, %v", tt.value, text, suffix, ok, tt.text, tt.suffix, tt.ok)
		}
	}
}

func TestParseType(t *testing.T) {
	tests := []struct {
		value, suffix string
		ok            bool
	}{
		{"application/grpc", "", true},
		{"application/GRPC+proto", "+proto", true},
		{"application/grpc; x=y", "", true},
		{"application/grpc-web", "", false},
		{"application/grpcx", "", false},
		{"text/html", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if suffix, ok := parseType(tt.value); ok != tt.ok || ok && suffix != tt.suffix {
			t.Errorf("parseType(%q) = %q, %v, want %q, %v", tt.value, suffix, ok, tt.suffix, tt.ok)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		method, contentType string
		want                bool
	}{
		{"POST", "application/grpc-web", true},
		{"POST", "application/grpc", false},
		{"POST", "", false},
		{"GET", "application/grpc-web", false},
		{"OPTIONS", "application/grpc-web", false},
	}
	for _, tt := range tests {
		head := header.Request{Method: tt.method}
		head.Fields.Add("content-type", tt.contentType)
		if got := Match(&head); got != tt.want {
			t.Errorf("Match(%s with %q) = %v, want %v", tt.method, tt.contentType, got, tt.want)
		}
	}
}

func TestWantsText(t *testing.T) {
	tests := []struct {
		accept  string
		request bool
		want    bool
	}{
		{"", false, false},
		{"", true, true},
		{"*/*", true, true},
		{"application/grpc-web-text", false, true},
		{"application/grpc-web", true, false},
		{"text/html, application/grpc-web-text+proto;q=0.5", false, true},
	}
	for _, tt := range tests {
		var head header.Request
		if tt.accept != "" {
			head.Fields.Add("Accept", tt.accept)
		}
		if got := wantsText(&head, tt.request); got != tt.want {
			t.Errorf("Accept %q, request text %v: text = %v, want %v", tt.accept, tt.request, got, tt.want)
		}
	}
}
