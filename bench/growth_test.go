// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
)

func TestFitPower(t *testing.T) {
	xs := []float64{1, 10, 100, 1000}
	tests := []struct {
		name         string
		y            func(x float64) float64
		exponent, r2 float64
	}{
		{"flat", func(float64) float64 { return 7 }, 0, 1},
		{"linear", func(x float64) float64 { return 3 * x }, 1, 1},
		{"square", func(x float64) float64 { return x * x }, 2, 1},
		{"root", math.Sqrt, 0.5, 1},
	}
	for _, tt := range tests {
		var ys []float64
		for _, x := range xs {
			ys = append(ys, tt.y(x))
		}
		exponent, r2 := fitPower(xs, ys)
		if math.Abs(exponent-tt.exponent) > 1e-9 || math.Abs(r2-tt.r2) > 1e-9 {
			t.Errorf("%s: exponent %v, r² %v; want %v, %v", tt.name, exponent, r2, tt.exponent, tt.r2)
		}
	}
	if _, r2 := fitPower(xs, []float64{1, 2, 1, 2}); r2 > 0.5 {
		t.Errorf("r² of a zigzag = %v", r2)
	}
	for _, few := range [][]float64{nil, {5}, {5, 5}} {
		if e, r2 := fitPower(few, few); e != 0 || r2 != 0 {
			t.Errorf("fit of %v = %v, %v; want 0, 0", few, e, r2)
		}
	}
}

func TestGrowthTable(t *testing.T) {
	r := growthResult{growth: growth{Name: "backends", What: "backends", memory: true}}
	for i, x := range []int{1, 10, 100} {
		samples := []sample{
			{Peer: "nginx", CPUMicros: 10, Loaded: memory{Used: int64(x) << 20}},
			{Peer: "belay", CPUMicros: float64(x), Loaded: memory{Used: 1 << 20}},
		}
		if i == 1 {
			samples[1].fail(errors.New("EOF"))
		}
		r.Points = append(r.Points, growthPoint{X: x, Samples: samples, Summary: summarize([]string{"nginx", "belay"}, growthMetrics, samples)})
	}
	for _, p := range []string{"nginx", "belay"} {
		r.CPU, r.Memory = append(r.CPU, r.fit(p, cpuKey)), append(r.Memory, r.fit(p, memoryKey))
	}
	var b strings.Builder
	r.print(&b)
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"1 10 100 exponent r²", "nginx 10.00 10.00 10.00 0.00 1.00", "belay 1.00 – 100.00 1.00 1.00",
		"nginx 1.0 10.0 100.0 1.00 1.00", "belay: failed 1 of 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	if err := errors.Join(r.failure()...); err == nil || !strings.Contains(err.Error(), "growth with backends at 10: belay") {
		t.Errorf("failure = %v", err)
	}
}

func TestGrowingRequests(t *testing.T) {
	for _, g := range growths {
		for _, x := range g.values {
			s := g.at(x)
			request := s.request()
			req, n, err := consumeRequest(request)
			if err != nil || n != len(request) || req.size != s.response {
				t.Errorf("%s at %d: request of %d bytes: %+v, %d, %v", g.Name, x, len(request), req, n, err)
			}
			if n > 15<<10 {
				t.Errorf("%s at %d: request has %d bytes, more than an origin takes with what a proxy adds", g.Name, x, n)
			}
		}
	}
	s := scenario{fields: 3, fieldBytes: 20}
	if got := strings.Count(string(s.request()), "\r\nX-Field-"); got != 3 {
		t.Errorf("%d more fields, want 3", got)
	}
	if http.CanonicalHeaderKey("X-Field-1") != "X-Field-1" {
		t.Error("name is not canonical")
	}
}
