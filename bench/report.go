// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// A report is everything that --json writes.
type report struct {
	Machine   machine          `json:"machine"`
	Cores     int              `json:"cores"` // that each proxy may use
	Rounds    int              `json:"rounds"`
	Duration  float64          `json:"duration_seconds"`
	Peers     []peer           `json:"peers"`
	Scenarios []scenarioResult `json:"scenarios"`
	Growths   []growthResult   `json:"growths,omitempty"`
}

// writeJSON writes r to file.
func (r *report) writeJSON(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// failure returns an error that names what failed, nil if nothing did.
func (r *report) failure() error {
	var errs []error
	for _, p := range r.Peers {
		if p.Failed != "" {
			errs = append(errs, fmt.Errorf("%s: %s", p.Name, p.Failed))
		}
	}
	for i := range r.Scenarios {
		errs = append(errs, r.Scenarios[i].failure())
	}
	for i := range r.Growths {
		errs = append(errs, r.Growths[i].failure()...)
	}
	return errors.Join(errs...)
}

// failure returns an error that names the peers of which a sample failed, nil
// if there is none.
func (s *scenarioResult) failure() error {
	errs := []error{failure(s.Name, s.Summary, s.Samples)}
	for _, r := range s.Rates {
		errs = append(errs, failure(fmt.Sprintf("%s at %.0f/s", s.Name, r.Rate), r.Summary, r.Samples))
	}
	return errors.Join(errs...)
}

func failure(what string, summaries []summary, samples []sample) error {
	var errs []error
	for _, sum := range summaries {
		if sum.Failed > 0 {
			i := slices.IndexFunc(samples, func(x sample) bool { return x.Peer == sum.Peer && x.failed() })
			errs = append(errs, fmt.Errorf("%s: %s: failed %d of %d, first: %s", what, sum.Peer, sum.Failed, sum.Samples, samples[i].Error))
		}
	}
	return errors.Join(errs...)
}

// printIntro prints machine, peers and method.
func (r *report) printIntro(w io.Writer, b *bench) {
	m := r.Machine
	fmt.Fprintf(w, "machine  %s, %d CPUs, %s, Linux %s, %s\n", m.CPU, m.CPUs, m.OS, m.Kernel, m.Go)
	fmt.Fprintf(w, "run      %s, load average before %s, belay's source %s\n", m.Date, m.Load, cmp.Or(m.Belay, "unknown to git"))
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
		numbers(b.proxyCPUs), originCount, numbers(b.loadCPUs), r.Rounds, b.opts.duration)
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
	printTable(w, tableOf(s.metrics(), s.Summary))
	s.printNotes(w)
	s.printRates(w)
}

// tableOf has two rows for each peer, the medians and below them the least and
// the greatest, if there is more than one sample.
func tableOf(metrics []metric, summaries []summary) [][]string {
	head := []string{""}
	for _, m := range metrics {
		head = append(head, m.Title)
		if m.Key == cpuKey {
			head = append(head, "÷ best")
		}
	}
	rows := [][]string{head}
	for i := range summaries {
		sum := &summaries[i]
		if sum.Metrics == nil {
			continue
		}
		medians, ranges := []string{sum.Peer}, []string{""}
		for _, m := range metrics {
			v := sum.Metrics[m.Key]
			medians = append(medians, sum.mark(m.Key)+m.format(v.Median))
			ranges = append(ranges, rangeText(m, v))
			if m.Key == cpuKey {
				medians, ranges = append(medians, measured(decimals(2))(sum.ToBest)), append(ranges, "")
			}
		}
		rows = append(rows, medians)
		if sum.Samples-sum.Failed > 1 {
			rows = append(rows, ranges)
		}
	}
	return rows
}

// rangeText returns "least–greatest" of v, "" if they look the same.
func rangeText(m metric, v spread) string {
	least, greatest := m.format(v.Min), m.format(v.Max)
	if least == greatest {
		return ""
	}
	return strings.TrimSuffix(least, " %") + "–" + greatest
}

// saturated is the share of time that the proxy's CPUs have to be busy for the
// requests per second to be the proxy's.
const saturated = 0.95

// mark returns what stands before the median of a metric: "≥" before requests
// per second if the load, and not the proxy, limited them.
func (s *summary) mark(key string) string {
	if key == perSecondKey && s.loadLimited() {
		return "≥"
	}
	return ""
}

func (s *summary) loadLimited() bool {
	busy := s.Metrics[busyKey].Median
	return busy > 0 && busy < saturated
}

// noisy is the spread of a control from which on a comparison is not to be
// trusted.
const noisy = 0.10

// printNotes prints how httputil compares with each belay, whether the
// controls were steady, and what failed.
func (s *scenarioResult) printNotes(w io.Writer) {
	for _, sum := range s.Summary {
		if !isBelay(sum.Peer) {
			continue
		}
		if ratio := cpuRatio(s.Samples, stdlibName, sum.Peer); ratio > 0 {
			fmt.Fprintf(w, "  httputil ÷ %s = %.2f\n", sum.Peer, ratio)
		}
	}
	for _, sum := range s.Summary {
		if width := sum.Metrics[cpuKey].width(); (sum.Peer == nginxName || sum.Peer == haproxyName) && width > noisy {
			fmt.Fprintf(w, "  noisy: %s itself varied by %.0f %% between rounds\n", sum.Peer, 100*width)
		}
	}
	if slices.ContainsFunc(s.Summary, func(sum summary) bool { return sum.loadLimited() }) {
		fmt.Fprintf(w, "  ≥: load limited, the proxy's CPU was less than %.0f %% busy\n", 100*saturated)
	}
	printFailures(w, s.Summary, s.Samples)
}

// printFailures prints which samples failed.
func printFailures(w io.Writer, summaries []summary, samples []sample) {
	for _, sum := range summaries {
		if sum.Failed > 0 {
			fmt.Fprintf(w, "  %s: failed %d of %d\n", sum.Peer, sum.Failed, sum.Samples)
		}
	}
	for _, sample := range samples {
		if sample.LostRequests > 0 {
			fmt.Fprintf(w, "  %s, round %d: %d requests lost, first: %s\n", sample.Peer, sample.Round+1, sample.LostRequests, sample.FirstLost)
		}
		if sample.failed() {
			fmt.Fprintf(w, "  %s, round %d: %d errors, first: %s\n", sample.Peer, sample.Round+1, sample.Errors, sample.Error)
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
