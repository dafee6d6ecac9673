// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
)

// A growth is one thing of which there is more and more, to see how cost
// depends on it.
type growth struct {
	Name   string `json:"name"`
	What   string `json:"what"` // the thing that X counts
	values []int
	at     func(x int) scenario
	memory bool // of interest, too
}

var growths = []growth{
	{"connections", "connections, all busy", []int{10, 100, 1000, 10_000}, func(x int) scenario {
		return scenario{conns: x, response: 100}
	}, true},
	{"backends", "backends", []int{3, 30, 300, 3000, 10_000}, func(x int) scenario {
		return scenario{conns: 64, response: 100, backends: x}
	}, false},
	{"fields", "more fields of 20 bytes in each request", []int{1, 3, 10, 30, 90}, func(x int) scenario {
		return scenario{conns: 64, response: 100, fields: x, fieldBytes: 20}
	}, false},
	{"field-size", "bytes of one more field in each request", []int{100, 500, 2000, 7000}, func(x int) scenario {
		return scenario{conns: 64, response: 100, fields: 1, fieldBytes: x}
	}, false},
	{"body", "bytes of response body", []int{100, 1000, 10_000, 100_000, 1_000_000, 10_000_000}, func(x int) scenario {
		return scenario{conns: 16, response: int64(x)}
	}, false},
}

// growthPeers are those that --growth measures unless --peers says otherwise.
var growthPeers = []string{nginxName, haproxyName, belayName}

// growthRounds bounds the rounds for each value, as there are many.
const growthRounds = 3

// A growthResult is what has been measured of one growth.
type growthResult struct {
	growth
	Points []growthPoint `json:"points"`
	CPU    []powerFit    `json:"cpu_fit"`
	Memory []powerFit    `json:"memory_fit,omitempty"`
}

// A growthPoint is what has been measured at one value.
type growthPoint struct {
	X       int       `json:"x"`
	Skipped string    `json:"skipped,omitempty"`
	Summary []summary `json:"summary,omitempty"`
	Samples []sample  `json:"samples,omitempty"`
}

// A powerFit is the power of x that fits what was measured of a peer best.
type powerFit struct {
	Peer     string  `json:"peer"`
	Exponent float64 `json:"exponent"` // 0: the same for every x; 1: in proportion
	R2       float64 `json:"r2"`       // 1: the fit is exact; near 0 for a flat line with noise
	points   int
}

// growthMetrics are what is kept of each sample.
var growthMetrics = []metric{
	{cpuKey, "CPU µs/req", cpuMicros, decimals(2)},
	{memoryKey, "MiB more", func(x sample) float64 { return mebi(x.Loaded.Used - x.Start.Used) }, decimals(1)},
}

// measureGrowth measures peers at each value of g.
func (b *bench) measureGrowth(ctx context.Context, g growth, peers []peer) (growthResult, error) {
	result := growthResult{growth: g}
	for _, x := range g.values {
		s := g.at(x)
		s.Name = g.Name + "-" + strconv.Itoa(x)
		point := growthPoint{X: x, Skipped: b.short(&s)}
		for round := range min(b.opts.rounds, growthRounds) {
			if point.Skipped != "" {
				break
			}
			samples, err := b.runRound(ctx, s, peers, round)
			if err != nil {
				return result, err
			}
			point.Samples = append(point.Samples, samples...)
		}
		point.Summary = summarize(names(peers), growthMetrics, point.Samples)
		result.Points = append(result.Points, point)
	}
	for _, p := range peers {
		result.CPU = append(result.CPU, result.fit(p.Name, cpuKey))
		if g.memory {
			result.Memory = append(result.Memory, result.fit(p.Name, memoryKey))
		}
	}
	return result, nil
}

// series returns the median of a metric of peer for each value at which there
// is one.
func (r *growthResult) series(peer, key string) (xs, ys []float64) {
	for _, point := range r.Points {
		for _, sum := range point.Summary {
			if v, ok := sum.Metrics[key]; ok && sum.Peer == peer && v.Median > 0 {
				xs, ys = append(xs, float64(point.X)), append(ys, v.Median)
			}
		}
	}
	return xs, ys
}

func (r *growthResult) fit(peer, key string) powerFit {
	xs, ys := r.series(peer, key)
	exponent, r2 := fitPower(xs, ys)
	return powerFit{Peer: peer, Exponent: exponent, R2: r2, points: len(xs)}
}

// fitPower returns the exponent e of the curve y = c·x^e that fits best, by
// least squares of the logarithms, and how well it does: r², the share of the
// variance of log y that it explains. All values are above 0. With fewer than
// two different x there is no such curve, and both are 0.
func fitPower(xs, ys []float64) (exponent, r2 float64) {
	n := float64(len(xs))
	var sx, sy float64
	for i := range xs {
		sx += math.Log(xs[i])
		sy += math.Log(ys[i])
	}
	var xx, xy, yy float64
	for i := range xs {
		dx, dy := math.Log(xs[i])-sx/n, math.Log(ys[i])-sy/n
		xx += dx * dx
		xy += dx * dy
		yy += dy * dy
	}
	if xx == 0 {
		return 0, 0
	}
	if yy < 1e-12 {
		return xy / xx, 1 // all the same: flat, exactly
	}
	return xy / xx, xy * xy / (xx * yy)
}

// print prints a table with a row for each peer.
func (r *growthResult) print(w io.Writer) {
	fmt.Fprintf(w, "\ngrowth with %s: CPU µs per request against %s\n", r.Name, r.What)
	printTable(w, r.table(cpuKey, r.CPU, decimals(2)))
	if r.memory {
		fmt.Fprintf(w, "\ngrowth with %s: MiB of memory against %s\n", r.Name, r.What)
		printTable(w, r.table(memoryKey, r.Memory, decimals(1)))
	}
	for _, point := range r.Points {
		if point.Skipped != "" {
			fmt.Fprintf(w, "  %d: skipped: %s\n", point.X, point.Skipped)
		}
		printFailures(w, point.Summary, point.Samples)
	}
}

func (r *growthResult) table(key string, fits []powerFit, format func(float64) string) [][]string {
	head := []string{""}
	for _, point := range r.Points {
		head = append(head, strconv.Itoa(point.X))
	}
	rows := [][]string{append(head, "exponent", "r²")}
	for i, f := range fits {
		row := []string{f.Peer}
		for _, point := range r.Points {
			cell := "–"
			if v, ok := point.Summary[i].Metrics[key]; ok {
				cell = format(v.Median)
			}
			row = append(row, cell)
		}
		rows = append(rows, append(row, f.cells()...))
	}
	return rows
}

// cells returns the exponent and r² as text.
func (f powerFit) cells() []string {
	if f.points < 2 {
		return []string{"–", "–"}
	}
	return []string{fmt.Sprintf("%.2f", f.Exponent), fmt.Sprintf("%.2f", f.R2)}
}

// failure returns an error that names what failed, nil if nothing did.
func (r *growthResult) failure() (errs []error) {
	for _, point := range r.Points {
		errs = append(errs, failure(fmt.Sprintf("growth with %s at %d", r.Name, point.X), point.Summary, point.Samples))
	}
	return errs
}
