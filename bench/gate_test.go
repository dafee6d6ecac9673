// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGatePasses(t *testing.T) {
	tests := []struct {
		got, recorded float64
		want          bool
	}{
		{1.5, 1, true},
		{1.51, 1, false},
		{0.5, 1, true},
		{99, 0, true}, // nothing recorded
		{0, 1, false}, // nothing measured
	}
	for _, tt := range tests {
		if got := gatePasses(tt.got, tt.recorded); got != tt.want {
			t.Errorf("gatePasses(%v, %v) = %t, want %t", tt.got, tt.recorded, got, tt.want)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recorded.json")
	samples := append(samplesOf("nginx", 3), samplesOf("belay", 2)...)
	r := &report{Scenarios: []scenarioResult{
		{scenario: scenario{Name: "a"}, Samples: samples, Summary: summarize([]string{"nginx", "belay"}, nil, samples)},
		{scenario: scenario{Name: "idle"}},
	}}
	if err := writeRecord(file, r); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := parseRecord(data)
	if err != nil || len(rec.Ratios) != 1 || rec.Ratios["a"]["belay"] != 0.67 {
		t.Errorf("record = %+v, %v; want 0.67 for belay in a alone", rec, err)
	}
	if err := writeRecord(file, &report{}); err == nil {
		t.Error("an empty record was written")
	}
}

func TestRecordedFile(t *testing.T) {
	rec, err := parseRecord(recordedJSON)
	if err != nil {
		t.Fatal(err)
	}
	for name := range rec.Ratios {
		if _, err := selectScenarios(scenarios, []string{name}); err != nil {
			t.Errorf("recorded.json: %v", err)
		}
	}
}
