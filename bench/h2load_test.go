// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

const h2loadOutput = `starting benchmark...
Application protocol: h2c
progress: 100% done

finished in 40.21ms, 12732.00 req/s, 3.24MB/s
requests: 512 total, 512 started, 512 done, 512 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 512 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 130.00KB (133120) total, 48.00KB (49152) headers (space savings 50.00%), 50.00KB (51200) data
`

func TestParseH2load(t *testing.T) {
	tests := []struct {
		name, old, new   string // what to replace in the output
		requests, errors int64
		fails            bool
	}{
		{"good", "", "", 512, 0, false},
		{"failed", "512 succeeded, 0 failed", "500 succeeded, 12 failed", 500, 12, false},
		{"errored", "512 succeeded, 0 failed, 0 errored", "510 succeeded, 0 failed, 2 errored", 510, 2, false},
		{"status", "512 2xx, 0 3xx, 0 4xx, 0 5xx", "500 2xx, 0 3xx, 0 4xx, 12 5xx", 512, 12, false},
		{"other", "requests:", "Requests:", 0, 0, true},
		{"no time", "40.21ms", "soon", 0, 0, true},
		{"zero", "40.21ms", "0us", 0, 0, true},
	}
	for _, tt := range tests {
		got, err := parseH2load([]byte(strings.Replace(h2loadOutput, tt.old, tt.new, 1)))
		if (err != nil) != tt.fails {
			t.Errorf("%s: error %v, want one: %t", tt.name, err, tt.fails)
		}
		if err == nil && (got.Requests != tt.requests || got.Errors != tt.errors || got.Elapsed != 40210*time.Microsecond) {
			t.Errorf("%s: %+v, want %d requests, %d errors", tt.name, got, tt.requests, tt.errors)
		}
	}
}

func TestBelayArgs(t *testing.T) {
	set := setup{listen: "127.0.0.1:1", origins: []string{"127.0.0.1:2"}, certs: certificates{cert: "c", key: "k"}}
	const rest = " --to 127.0.0.1:2 --host bench.example --health-check=false"
	for a, want := range map[access]string{
		{}:                    "proxy --listen 127.0.0.1:1" + rest,
		{H2: true}:            "proxy --h2c --listen 127.0.0.1:1" + rest,
		{TLS: true}:           "proxy --https 127.0.0.1:1 --cert c --key k" + rest,
		{TLS: true, H2: true}: "proxy --https 127.0.0.1:1 --cert c --key k" + rest,
	} {
		set.access = a
		if got := strings.Join(belayArgs(set), " "); got != want {
			t.Errorf("%+v: %s, want %s", a, got, want)
		}
	}
}
