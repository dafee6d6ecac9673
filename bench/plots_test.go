// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWritePlots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plots")
	if err := fullReport().writePlots(dir); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		cpuPlot:                   {"h1-64-100B, CPU", ">belay<", "9.9 (×0.90)"},
		latencyPlot("h1-64-100B"): {">belay<", "requests per second", ">200<"},
		growthPlot("connections"): {"belay, x^1.00", "nginx, x^0.00"},
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if err := wellFormed(string(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(string(data), "NaN") || strings.Contains(string(data), "Inf") {
			t.Errorf("%s has a number that is none", name)
		}
		for _, want := range wants {
			if !strings.Contains(string(data), want) {
				t.Errorf("%s: no %q", name, want)
			}
		}
	}
}

func wellFormed(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestEmptyChart(t *testing.T) {
	c := chart{title: "<nothing>", curves: []curve{{name: "a&b"}}}
	if err := wellFormed(c.draw()); err != nil {
		t.Error(err)
	}
}

func TestAxis(t *testing.T) {
	log := newAxis([]float64{20, 5000}, true, 0, 300)
	for v, want := range map[float64]float64{10: 0, 100: 100, 1000: 200, 10_000: 300} {
		if got := log.at(v); math.Abs(got-want) > 1e-6 {
			t.Errorf("position of %v = %v, want %v", v, got, want)
		}
	}
	if got := len(log.ticks()); got != 4 {
		t.Errorf("%d ticks, want 4", got)
	}
	linear := newAxis([]float64{50, 200}, false, 0, 100)
	if got := linear.at(50); got != 25 {
		t.Errorf("position = %v, want 25", got)
	}
	if got := linear.ticks(); len(got) != 5 || got[4] != 200 {
		t.Errorf("ticks = %v", got)
	}
	one := newAxis([]float64{10}, true, 0, 1)
	if one.low == one.high {
		t.Error("an axis for one value has no length")
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 12.5: "12.5", 999: "999", 1000: "1k", 10_000: "10k", 1e6: "1M", 0.01: "0.01"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(file, []byte("# Title\n"+markdownBegin+"stale\n"+markdownEnd+"rest\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkMarkdown(file); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second run replaces the first
		if err := fullReport().writeMarkdown(file, "plots"); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if !strings.HasPrefix(text, "# Title\n"+markdownBegin) || !strings.HasSuffix(text, markdownEnd+"rest\n") || strings.Contains(text, "stale\n") {
		t.Errorf("the rest of the file changed:\n%s", text)
	}
	for _, want := range []string{
		"Run of 2026-11-25 12:00 UTC", "Fast &lt;9>, 4 CPUs, Debian, Linux 6.1", "envoy: not installed", "| nginx | 11.00 (10.00–12.00) |",
		"![CPU per request](plots/cpu.svg)", "At 700 requests/s", "| belay | 10.00 | 100.00 | 1.00 | 1.00 |", "Skipped: needs h2load.",
		"| upgrade | requests lost | ≤ 0 | 2 | missed by 2 |",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is %d times in:\n%s", want, strings.Count(text, want), text)
		}
	}
	if _, _, err := splitMarkdown("# no place\n"); err == nil {
		t.Error("a file without a place is accepted")
	}
}

func TestMachine(t *testing.T) {
	if got := osName("NAME=x\nPRETTY_NAME=\"Some Linux 1\"\n", ""); got != "Some Linux 1" {
		t.Errorf("system %q", got)
	}
	if got := osName("NAME=x\n", "none"); got != "none" {
		t.Errorf("system %q, want none", got)
	}
	if got := firstFields("0.1 0.2 0.3 1/2 3\n", 3); got != "0.1 0.2 0.3" {
		t.Errorf("load %q", got)
	}
	if m := thisMachine(); m.Date == "" || m.Load == "" || m.Kernel == "" {
		t.Errorf("machine = %+v", m)
	}
}
