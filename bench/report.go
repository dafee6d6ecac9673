// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A report is everything that --json writes.
type report struct {
	Machine   machine          `json:"machine"`
	Cores     int              `json:"cores"` // that each proxy may use
	Rounds    int              `json:"rounds"`
	Duration  float64          `json:"duration_seconds"`
	Peers     []peer           `json:"peers"`
	Scenarios []scenarioResult `json:"scenarios"`
}

// A machine says where a report comes from.
type machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	m := machine{CPU: "unknown CPU", CPUs: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOARCH}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = cpuModel(string(data), m.CPU)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// cpuModel returns the first model name in the text of /proc/cpuinfo, or
// otherwise what is given: not every architecture names one.
func cpuModel(text, otherwise string) string {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

// writeJSON writes r to file.
func (r *report) writeJSON(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// printIntro prints machine, peers and method.
func (r *report) printIntro(w io.Writer, b *bench) {
	m := r.Machine
	fmt.Fprintf(w, "machine  %s, %d CPUs, Linux %s, %s\n", m.CPU, m.CPUs, m.Kernel, m.Go)
	for i, p := range r.Peers {
		head := "peers"
		if i > 0 {
			head = ""
		}
		if p.Skipped != "" {
			p.Version = "skipped: " + p.Skipped
		}
		fmt.Fprintf(w, "%-8s %s %s\n", head, p.Name, p.Version)
	}
	fmt.Fprintf(w, "method   proxy on CPU %s, load and %d origins on CPU %s; %d rounds of %v, every round all peers in another order\n",
		numbers(b.proxyCPUs), len(b.origins), numbers(b.loadCPUs), r.Rounds, b.opts.duration)
	fmt.Fprintln(w, "         CPU is user and system time of the proxy's processes, closed loop; (min–max) over rounds")
	if len(b.proxyCPUs)+len(b.loadCPUs) > m.CPUs {
		fmt.Fprintln(w, "         proxy, load and origins share CPUs: latency and requests/s mean little")
	}
}

// print prints the table of one scenario and what it amounts to.
func (s *scenarioResult) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", s.Name, s.What)
	if s.Skipped != "" {
		fmt.Fprintf(w, "  skipped: %s\n", s.Skipped)
		return
	}
	for _, line := range s.Lacking {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if len(s.Summary) == 0 {
		return
	}
	if s.idle {
		printTable(w, s.idleTable())
	} else {
		printTable(w, s.busyTable())
		s.printRatios(w)
	}
	for _, sample := range s.Samples {
		if sample.Errors > 0 {
			fmt.Fprintf(w, "  %s, round %d: %d errors, first: %s\n", sample.Peer, sample.Round+1, sample.Errors, sample.Error)
		}
	}
}

// busyTable has a row for each peer of a scenario that measures CPU.
func (s *scenarioResult) busyTable() [][]string {
	rows := [][]string{{"", "CPU µs/req", "(min–max)", "÷ best", "user", "core", "req/s", "p50 µs", "p99", "p99.9", "waits/req", "reuse", "RSS MiB", "loaded"}}
	for _, sum := range s.Summary {
		median := func(value func(sample) float64) float64 {
			return spreadOf(column(s.Samples, sum.Peer, value)).Median
		}
		ratio := "–"
		if sum.ToBest > 0 {
			ratio = fmt.Sprintf("%.2f", sum.ToBest)
		}
		rows = append(rows, []string{
			sum.Peer,
			fmt.Sprintf("%.2f", sum.CPU.Median),
			fmt.Sprintf("(%.2f–%.2f)", sum.CPU.Min, sum.CPU.Max),
			ratio,
			fmt.Sprintf("%.0f %%", 100*median(func(x sample) float64 { return x.UserShare })),
			fmt.Sprintf("%.1f", median(func(x sample) float64 { return x.CoreMicros })),
			fmt.Sprintf("%.0f", median(func(x sample) float64 { return x.PerSecond })),
			latency(median(func(x sample) float64 { return x.P50 })),
			latency(median(func(x sample) float64 { return x.P99 })),
			latency(median(func(x sample) float64 { return x.P999 })),
			fmt.Sprintf("%.3f", median(func(x sample) float64 { return x.Voluntary })),
			fmt.Sprintf("%.3f %%", 100*median(func(x sample) float64 { return x.Reuse })),
			fmt.Sprintf("%.1f", median(func(x sample) float64 { return mebi(x.RSSIdle) })),
			fmt.Sprintf("%.1f", median(func(x sample) float64 { return mebi(x.RSSLoaded) })),
		})
	}
	return rows
}

// latency returns a number of microseconds as text; 0 means that it was not
// measured, as h2load does not.
func latency(us float64) string {
	if us == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", us)
}

// idleTable has a row for each peer of a scenario that measures memory.
func (s *scenarioResult) idleTable() [][]string {
	rows := [][]string{{"", "RSS MiB", "with conns", "after wait", "KiB/conn", "after wait", "closed"}}
	perConn := func(x sample, rss int64) float64 {
		return float64(rss-x.RSSIdle) / 1024 / float64(s.conns)
	}
	for _, sum := range s.Summary {
		median := func(value func(sample) float64) float64 {
			return spreadOf(column(s.Samples, sum.Peer, value)).Median
		}
		rows = append(rows, []string{
			sum.Peer,
			fmt.Sprintf("%.1f", median(func(x sample) float64 { return mebi(x.RSSIdle) })),
			fmt.Sprintf("%.1f", median(func(x sample) float64 { return mebi(x.RSSLoaded) })),
			fmt.Sprintf("%.1f", median(func(x sample) float64 { return mebi(x.RSSWaited) })),
			fmt.Sprintf("%.2f", median(func(x sample) float64 { return perConn(x, x.RSSLoaded) })),
			fmt.Sprintf("%.2f", median(func(x sample) float64 { return perConn(x, x.RSSWaited) })),
			fmt.Sprintf("%.0f", median(func(x sample) float64 { return float64(x.Closed) })),
		})
	}
	return rows
}

// noisy is the spread of a control from which on a comparison is not to be
// trusted.
const noisy = 0.10

// printRatios prints how httputil compares with each belay, and whether the
// controls were steady.
func (s *scenarioResult) printRatios(w io.Writer) {
	for _, sum := range s.Summary {
		if !isBelay(sum.Peer) {
			continue
		}
		if ratio := cpuRatio(s.Samples, stdlibName, sum.Peer); ratio > 0 {
			fmt.Fprintf(w, "  httputil ÷ %s = %.2f\n", sum.Peer, ratio)
		}
	}
	for _, sum := range s.Summary {
		if (sum.Peer == nginxName || sum.Peer == haproxyName) && sum.CPU.width() > noisy {
			fmt.Fprintf(w, "  noisy: %s itself varied by %.0f %% between rounds\n", sum.Peer, 100*sum.CPU.width())
		}
	}
}

// printTable prints rows, all of the same length, with the first column to the
// left and the others to the right.
func printTable(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// numbers returns list as text: "0,1,2".
func numbers(list []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
}
