// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A drawing collects the elements of an SVG picture.
type drawing struct {
	width, height float64
	body          strings.Builder
}

// colours are those of peers, in their order; few enough to tell apart.
var colours = []string{"#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd"}

func colour(i int) string { return colours[i%len(colours)] }

// String returns the picture as a file.
func (d *drawing) String() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="11">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, d.width, d.height, d.width, d.height, d.body.String())
}

func (d *drawing) rect(x, y, width, height float64, fill string) {
	fmt.Fprintf(&d.body, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, width, height, fill)
}

func (d *drawing) line(x1, y1, x2, y2 float64, stroke string) {
	fmt.Fprintf(&d.body, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, stroke)
}

// text writes text at x, y; anchor is start, middle or end.
func (d *drawing) text(x, y float64, anchor, text string) {
	fmt.Fprintf(&d.body, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor)
	_ = xml.EscapeText(&d.body, []byte(text)) // a strings.Builder does not fail
	d.body.WriteString("</text>\n")
}

// path draws a line through points, with a dot at each.
func (d *drawing) path(xs, ys []float64, stroke string) {
	var points strings.Builder
	for i := range xs {
		fmt.Fprintf(&points, "%.1f,%.1f ", xs[i], ys[i])
		fmt.Fprintf(&d.body, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", xs[i], ys[i], stroke)
	}
	fmt.Fprintf(&d.body, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"/>\n", strings.TrimSpace(points.String()), stroke)
}

// A curve is one line of a chart. All values are above 0.
type curve struct {
	name   string
	colour string
	xs, ys []float64
}

// A chart draws curves with logarithmic axes; the x axis may be linear.
type chart struct {
	title, x, y string
	linearX     bool
	curves      []curve
}

// draw returns the picture of c.
func (c *chart) draw() string {
	const width, height, left, right, top, bottom = 640, 400, 70, 150, 34, 48
	d := &drawing{width: width, height: height}
	d.text(left, 18, "start", c.title)
	var xs, ys []float64
	for _, curve := range c.curves {
		xs, ys = append(xs, curve.xs...), append(ys, curve.ys...)
	}
	xAxis := newAxis(xs, !c.linearX, left, width-right)
	yAxis := newAxis(ys, true, height-bottom, top)
	for _, v := range xAxis.ticks() {
		d.line(xAxis.at(v), top, xAxis.at(v), height-bottom, "#dddddd")
		d.text(xAxis.at(v), height-bottom+16, "middle", short(v))
	}
	for _, v := range yAxis.ticks() {
		d.line(left, yAxis.at(v), width-right, yAxis.at(v), "#dddddd")
		d.text(left-6, yAxis.at(v)+4, "end", short(v))
	}
	d.line(left, height-bottom, width-right, height-bottom, "black")
	d.line(left, top, left, height-bottom, "black")
	d.text((left+width-right)/2, height-12, "middle", c.x)
	d.text(6, top-4, "start", c.y)
	for i, curve := range c.curves {
		var px, py []float64
		for j := range curve.xs {
			px, py = append(px, xAxis.at(curve.xs[j])), append(py, yAxis.at(curve.ys[j]))
		}
		d.path(px, py, curve.colour)
		y := float64(top + 14 + 16*i)
		d.rect(width-right+14, y-8, 10, 10, curve.colour)
		d.text(width-right+30, y, "start", curve.name)
	}
	return d.String()
}

// An axis maps values to positions.
type axis struct {
	log      bool
	low      float64 // value at from
	high     float64 // value at to
	from, to float64
}

// newAxis returns an axis for values. A logarithmic one spans whole decades, a
// linear one starts at 0.
func newAxis(values []float64, log bool, from, to float64) axis {
	a := axis{log: log, low: math.Inf(1), high: math.Inf(-1), from: from, to: to}
	for _, v := range values {
		a.low, a.high = min(a.low, v), max(a.high, v)
	}
	if len(values) == 0 {
		a.low, a.high = 1, 10
	}
	if !log {
		a.low = 0
		return a
	}
	a.low = math.Pow(10, math.Floor(math.Log10(a.low)))
	a.high = math.Pow(10, math.Ceil(math.Log10(a.high)))
	if a.low == a.high {
		a.high *= 10
	}
	return a
}

// at returns the position of v.
func (a axis) at(v float64) float64 {
	share := (v - a.low) / (a.high - a.low)
	if a.log {
		share = math.Log(v/a.low) / math.Log(a.high/a.low)
	}
	return a.from + share*(a.to-a.from)
}

// ticks returns the values to label.
func (a axis) ticks() []float64 {
	var list []float64
	if a.log {
		for v := a.low; v <= a.high*1.001; v *= 10 {
			list = append(list, v)
		}
		return list
	}
	step := math.Pow(10, math.Floor(math.Log10(a.high)))
	if a.high/step < 4 {
		step /= 2
	}
	for v := a.low; v <= a.high; v += step {
		list = append(list, v)
	}
	return list
}

// short returns a number with a suffix for thousands and millions.
func short(v float64) string {
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	switch {
	case v >= 999_500:
		return text(v/1e6) + "M"
	case v >= 999.5:
		return text(v/1e3) + "k"
	}
	return text(v)
}
