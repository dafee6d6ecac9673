// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseOptions(t *testing.T) {
	opts, err := parseOptions([]string{"--scenario", "a*", "--scenario", "b,c", "--peers", "nginx,belay", "--belay", "x=y"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(opts.scenarios, []string{"a*", "b", "c"}) || !slices.Equal(opts.peers, []string{"nginx", "belay"}) ||
		opts.rounds != 5 || opts.duration != 2*time.Second || opts.cores != 1 {
		t.Errorf("options = %+v", opts)
	}
}

func TestQuickShortensOnlyWhatIsNotSet(t *testing.T) {
	opts, err := parseOptions([]string{"--quick"}, io.Discard)
	if err != nil || opts.rounds != 5 || opts.duration != 400*time.Millisecond ||
		!slices.Equal(opts.scenarios, []string{quickScenario}) || !slices.Equal(opts.peers, []string{nginxName, belayName}) {
		t.Errorf("--quick: %+v, %v", opts, err)
	}
	opts, err = parseOptions([]string{"--quick", "--rounds", "3", "--scenario", "x", "--duration", "5s", "--peers", "belay"}, io.Discard)
	if err != nil || opts.rounds != 3 || opts.duration != 5*time.Second ||
		!slices.Equal(opts.scenarios, []string{"x"}) || !slices.Equal(opts.peers, []string{belayName}) {
		t.Errorf("--quick with others: %+v, %v", opts, err)
	}
}

func TestWhatRunsByDefault(t *testing.T) {
	tests := []struct {
		args                        string
		latency, growth, noScenario bool
	}{
		{"", true, false, false},
		{"--quick", false, false, false},
		{"--scenario x", false, false, false},
		{"--scenario x --latency", true, false, false},
		{"--latency=false", false, false, false},
		{"--growth", true, true, true},
		{"--growth --scenario x", false, true, false},
		{"--all", true, true, false},
	}
	for _, tt := range tests {
		opts, err := parseOptions(strings.Fields(tt.args), io.Discard)
		if err != nil || opts.latency != tt.latency || opts.growth != tt.growth || opts.noScenario != tt.noScenario {
			t.Errorf("%q: latency %t, growth %t, no scenario %t, %v; want %t, %t, %t", tt.args,
				opts.latency, opts.growth, opts.noScenario, err, tt.latency, tt.growth, tt.noScenario)
		}
	}
}

func TestParseOptionsRejects(t *testing.T) {
	tests := []struct{ args, want string }{
		{"--rounds 0", "--rounds is 0"},
		{"--duration 99ms", "--duration is 99ms"},
		{"--duration 11m", "--duration is 11m"},
		{"--idle-wait -1s", "--idle-wait is -1s"},
		{"--cores 0", "--cores is 0"},
		{"--cores 0 --rounds 1001", "--rounds is 1001"},
		{"--nonsense", "nonsense"},
		{"--quick extra", `"extra"`},
	}
	for _, tt := range tests {
		_, err := parseOptions(strings.Fields(tt.args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestHelpListsScenarios(t *testing.T) {
	var b strings.Builder
	if _, err := parseOptions([]string{"-h"}, &b); err == nil {
		t.Error("-h is no error")
	}
	for _, s := range scenarios {
		if !strings.Contains(b.String(), s.Name) {
			t.Errorf("no %s in the usage", s.Name)
		}
	}
}

func TestSelectScenarios(t *testing.T) {
	all := []scenario{{Name: "h1-a"}, {Name: "h1-b", optional: true}, {Name: "idle"}}
	tests := []struct {
		patterns []string
		want     string // names, or "error"
	}{
		{nil, "h1-a idle"},
		{[]string{"h1-*"}, "h1-a h1-b"},
		{[]string{"idle", "h1-b"}, "h1-b idle"},
		{[]string{"h2-*"}, "error"},
		{[]string{"["}, "error"},
	}
	for _, tt := range tests {
		chosen, err := selectScenarios(all, tt.patterns)
		var got []string
		for _, s := range chosen {
			got = append(got, s.Name)
		}
		if err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q selects %v (%v), want %s", tt.patterns, got, err, tt.want)
		}
	}
}
