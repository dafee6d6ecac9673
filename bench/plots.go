// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// cpuPlot is the file with the bars of all scenarios.
const cpuPlot = "cpu.svg"

func latencyPlot(scenario string) string { return "latency-" + scenario + ".svg" }

func growthPlot(name string) string { return "growth-" + name + ".svg" }

// writePlots writes a picture of each kind to dir, which it makes.
func (r *report) writePlots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	write := func(name, picture string) error {
		return os.WriteFile(filepath.Join(dir, name), []byte(picture), 0o644)
	}
	var errs []error
	if len(r.Scenarios) > 0 {
		errs = append(errs, write(cpuPlot, r.drawCPU()))
	}
	for i := range r.Scenarios {
		if s := &r.Scenarios[i]; len(s.Rates) > 0 {
			errs = append(errs, write(latencyPlot(s.Name), r.drawLatency(s)))
		}
	}
	for i := range r.Growths {
		errs = append(errs, write(growthPlot(r.Growths[i].Name), r.drawGrowth(&r.Growths[i])))
	}
	return errors.Join(errs...)
}

// colourOf returns the colour of a peer.
func (r *report) colourOf(name string) string {
	return colour(max(0, slices.IndexFunc(r.Peers, func(p peer) bool { return p.Name == name })))
}

// drawCPU returns a panel of bars for each scenario that measures CPU: the
// median with a whisker from the least to the greatest.
func (r *report) drawCPU() string {
	const columns, panelWidth, rowHeight, labelWidth, top, gap = 2, 420, 18, 100, 24, 26
	var panels []*scenarioResult
	for i := range r.Scenarios {
		if s := &r.Scenarios[i]; !s.idle && len(s.bars()) > 0 {
			panels = append(panels, s)
		}
	}
	d := &drawing{width: columns * panelWidth}
	y := 10.0
	for row := range slices.Chunk(panels, columns) {
		most := 0
		for column, s := range row {
			x := float64(column * panelWidth)
			bars := s.bars()
			most = max(most, len(bars))
			d.text(x+10, y+12, "start", s.Name+", CPU µs per request")
			greatest := 0.0
			for _, bar := range bars {
				greatest = max(greatest, bar.Metrics[cpuKey].Max)
			}
			scale := (panelWidth - labelWidth - 80) / greatest
			for i, bar := range bars {
				d.bar(x+labelWidth, y+top+float64(i*rowHeight), scale, bar, r.colourOf(bar.Peer))
			}
		}
		y += top + float64(most*rowHeight) + gap
	}
	d.height = y
	return d.String()
}

// bars returns the peers that have a bar.
func (s *scenarioResult) bars() []summary {
	return slices.DeleteFunc(slices.Clone(s.Summary), func(sum summary) bool { return sum.Metrics[cpuKey].Median == 0 })
}

// bar draws one bar, to the right of x.
func (d *drawing) bar(x, y, scale float64, sum summary, fill string) {
	v := sum.Metrics[cpuKey]
	d.text(x-6, y+11, "end", sum.Peer)
	d.rect(x, y, v.Median*scale, 14, fill)
	d.line(x+v.Min*scale, y+7, x+v.Max*scale, y+7, "black")
	for _, end := range []float64{v.Min, v.Max} {
		d.line(x+end*scale, y+3, x+end*scale, y+11, "black")
	}
	label := decimals(1)(v.Median)
	if sum.ToBest > 0 {
		label += fmt.Sprintf(" (×%.2f)", sum.ToBest)
	}
	d.text(x+v.Max*scale+6, y+11, "start", label)
}

// drawLatency returns the p99 of each peer against the rate.
func (r *report) drawLatency(s *scenarioResult) string {
	c := chart{title: s.Name + ": p99 from when a request is due", x: "requests per second", y: "µs", linearX: true}
	for _, sum := range s.Summary {
		curve := curve{name: sum.Peer, colour: r.colourOf(sum.Peer)}
		for _, rate := range s.Rates {
			p99 := spreadOf(column(rate.Samples, sum.Peer, func(x sample) float64 { return x.P99 })).Median
			if p99 > 0 {
				curve.xs, curve.ys = append(curve.xs, rate.Rate), append(curve.ys, p99)
			}
		}
		c.curves = append(c.curves, curve)
	}
	return c.draw()
}

// drawGrowth returns the CPU per request of each peer against what grows.
func (r *report) drawGrowth(g *growthResult) string {
	c := chart{title: "CPU per request against " + g.What, x: g.What, y: "µs"}
	for _, fit := range g.CPU {
		xs, ys := g.series(fit.Peer, cpuKey)
		c.curves = append(c.curves, curve{
			name: fmt.Sprintf("%s, x^%.2f", fit.Peer, fit.Exponent), colour: r.colourOf(fit.Peer), xs: xs, ys: ys,
		})
	}
	return c.draw()
}
