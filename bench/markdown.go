// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
)

// The lines between which --markdown writes; the rest of the file stays.
const (
	markdownBegin = "<!-- bench: begin, written by go run ./bench --markdown -->\n"
	markdownEnd   = "<!-- bench: end -->\n"
)

// splitMarkdown returns what comes before and after the place for tables.
func splitMarkdown(text string) (before, after string, err error) {
	before, rest, ok := strings.Cut(text, markdownBegin)
	_, after, ok2 := strings.Cut(rest, markdownEnd)
	if !ok || !ok2 {
		return "", "", fmt.Errorf("no lines %q and %q", strings.TrimSpace(markdownBegin), strings.TrimSpace(markdownEnd))
	}
	return before + markdownBegin, markdownEnd + after, nil
}

// checkMarkdown returns an error unless file has a place for tables.
func checkMarkdown(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, _, err := splitMarkdown(string(text)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// writeMarkdown writes the tables of r to their place in file. Plots are in
// the directory plots, seen from that of file; "" means that there are none.
func (r *report) writeMarkdown(file, plots string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, after, err := splitMarkdown(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(before+r.markdown(plots)+after), 0o644)
}

// markdown returns the tables of r.
func (r *report) markdown(plots string) string {
	var b strings.Builder
	r.markdownMachine(&b)
	if rows := r.targetTable(); len(rows) > 1 {
		b.WriteString("\n### What belay is to hold\n\n")
		markdownTable(&b, rows)
	}
	if plots != "" && len(r.Scenarios) > 0 {
		fmt.Fprintf(&b, "\n![CPU per request](%s/%s)\n", plots, cpuPlot)
	}
	for i := range r.Scenarios {
		r.Scenarios[i].markdown(&b, plots)
	}
	for i := range r.Growths {
		r.Growths[i].markdown(&b, plots)
	}
	return b.String()
}

// markdownMachine writes where, when and how r was made.
func (r *report) markdownMachine(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "\n### Run of %s\n\n", m.Date)
	var peers, skipped []string
	for _, p := range r.Peers {
		switch {
		case p.Skipped != "":
			skipped = append(skipped, p.Name+": "+p.Skipped)
		case p.Failed != "":
			skipped = append(skipped, p.Name+": "+p.Failed)
		default:
			peers = append(peers, strings.TrimSpace(p.Name+" "+p.Version))
		}
		for _, d := range p.Differs {
			skipped = append(skipped, p.Name+" differs: "+d)
		}
	}
	rows := [][]string{
		{"", ""},
		{"machine", fmt.Sprintf("%s, %d CPUs, %s, Linux %s; load average before %s", m.CPU, m.CPUs, m.OS, m.Kernel, m.Load)},
		{"versions", strings.Join(peers, ", ") + "; belay's source " + m.Belay + "; " + m.Go},
		{"method", fmt.Sprintf("%d threads of the proxy on CPUs of their own if there are enough; %d rounds of %.3g s, each with a new process, all peers in changing order", r.Cores, r.Rounds, r.Duration)},
	}
	if len(skipped) > 0 {
		rows = append(rows, []string{"not equal or not there", strings.Join(skipped, "; ")})
	}
	markdownTable(b, rows)
}

// markdown writes the tables of a scenario.
func (s *scenarioResult) markdown(b *strings.Builder, plots string) {
	fmt.Fprintf(b, "\n### %s\n\n%s.\n\n", s.Name, s.What)
	if s.Skipped != "" {
		fmt.Fprintf(b, "Skipped: %s.\n", s.Skipped)
		return
	}
	markdownTable(b, joinRanges(tableOf(s.metrics(), s.Summary)))
	s.markdownNotes(b)
	if len(s.Rates) == 0 {
		return
	}
	if plots != "" {
		fmt.Fprintf(b, "\n![p99 against rate](%s/%s)\n", plots, latencyPlot(s.Name))
	}
	for _, r := range s.Rates {
		fmt.Fprintf(b, "\nAt %.0f requests/s, %.0f %% of the most of nginx and HAProxy, latency from when a request is due:\n\n", r.Rate, 100*r.Share)
		markdownTable(b, joinRanges(tableOf(rateMetrics, r.Summary)))
	}
}

// markdownNotes writes what print says below a table.
func (s *scenarioResult) markdownNotes(b *strings.Builder) {
	var notes strings.Builder
	for _, line := range s.Lacking {
		fmt.Fprintln(&notes, line)
	}
	s.printNotes(&notes)
	if notes.Len() > 0 {
		b.WriteString("\n")
	}
	for line := range strings.Lines(notes.String()) {
		fmt.Fprintf(b, "- %s\n", cell(strings.TrimSpace(line)))
	}
}

// markdown writes the tables of a growth.
func (r *growthResult) markdown(b *strings.Builder, plots string) {
	fmt.Fprintf(b, "\n### Growth with %s\n\nCPU µs per request against %s. An exponent of 0 is the same for all, 1 in proportion.\n\n", r.Name, r.What)
	markdownTable(b, r.table(cpuKey, r.CPU, decimals(2)))
	if r.memory {
		b.WriteString("\nMiB of memory, the same way:\n\n")
		markdownTable(b, r.table(memoryKey, r.Memory, decimals(1)))
	}
	if plots != "" {
		fmt.Fprintf(b, "\n![CPU against %s](%s/%s)\n", r.Name, plots, growthPlot(r.Name))
	}
}

// joinRanges puts what tableOf has in two rows into one: "9.5 (9.1–10)".
func joinRanges(rows [][]string) [][]string {
	var joined [][]string
	for i, row := range rows {
		if i == 0 || row[0] != "" {
			joined = append(joined, append([]string(nil), row...))
			continue
		}
		last := joined[len(joined)-1]
		for j, text := range row {
			if text != "" {
				last[j] += " (" + text + ")"
			}
		}
	}
	return joined
}

// markdownTable writes rows, the first of which is the head.
func markdownTable(b *strings.Builder, rows [][]string) {
	for i, row := range rows {
		b.WriteString("|")
		for _, text := range row {
			b.WriteString(" " + cell(text) + " |")
		}
		b.WriteString("\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
}

// cell returns text as it may stand in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}
