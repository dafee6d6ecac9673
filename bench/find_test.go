// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestSelectCandidates(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name          string
		peers, belays []string
		has, hasNot   string // names
		err           string // part of it, "" for none
	}{
		{"all", nil, []string{"x=" + self}, "nginx pingora belay belay:x", "httputil-gogc400", ""},
		{"optional", []string{"httputil*"}, nil, "httputil httputil-gogc400", "nginx belay", ""},
		{"quick", quickPeers, nil, "nginx belay", "haproxy pingora caddy", ""},
		{"revision", []string{"belay:*"}, []string{"old@HEAD~3"}, "belay:old", "belay", ""},
		{"twice", nil, []string{"x=" + self, "x@main"}, "", "", "two peers are called belay:x"},
		{"unknown", []string{"apache"}, nil, "", "", "there are: nginx"},
		{"no file", nil, []string{"x=/nonexistent"}, "", "", "no such file"},
		{"no program", nil, []string{os.TempDir()}, "", "", "is not a program"},
		{"no revision", nil, []string{"x@"}, "", "", "is not NAME@REV"},
		{"flag as revision", nil, []string{"x@--all"}, "", "", "is not NAME@REV"},
	}
	for _, tt := range tests {
		chosen, err := selectCandidates(options{peers: tt.peers, belays: tt.belays})
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
		var got []string
		for _, c := range chosen {
			got = append(got, c.name)
		}
		for name := range strings.FieldsSeq(tt.has) {
			if !slices.Contains(got, name) {
				t.Errorf("%s: %v lacks %s", tt.name, got, name)
			}
		}
		for name := range strings.FieldsSeq(tt.hasNot) {
			if slices.Contains(got, name) {
				t.Errorf("%s: %v has %s", tt.name, got, name)
			}
		}
	}
}
