// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// gateFactor is how far above the recorded ratio a change may bring belay.
// It is wide, as the machines of CI are shared and the rounds are short.
const gateFactor = 1.5

//go:embed recorded.json
var recordedJSON []byte

// A record keeps the ratios of an earlier run, written by --record.
type record struct {
	Machine machine                       `json:"machine"`
	Ratios  map[string]map[string]float64 `json:"cpu_ratio_to_nginx"` // scenario, peer
}

func parseRecord(data []byte) (record, error) {
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("recorded.json: %w", err)
	}
	return rec, nil
}

// writeRecord writes the ratios of r to file, rounded to a hundredth. It is an
// error if r has none, as the file would then switch the gate off.
func writeRecord(file string, r *report) error {
	rec := record{Machine: r.Machine, Ratios: make(map[string]map[string]float64)}
	for _, s := range r.Scenarios {
		ratios := make(map[string]float64)
		for _, sum := range s.Summary {
			if ratio := cpuRatio(s.Samples, sum.Peer, nginxName); ratio > 0 {
				ratios[sum.Peer] = float64(int(ratio*100+0.5)) / 100
			}
		}
		if len(ratios) > 0 {
			rec.Ratios[s.Name] = ratios
		}
	}
	if len(rec.Ratios) == 0 {
		return fmt.Errorf("nothing to record: no ratio to nginx was measured")
	}
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// gate compares belay's CPU ratio to nginx in each scenario of r with the
// recorded one and returns an error if one is more than gateFactor above it
// twice, or if the scenario of --quick is not recorded. Without nginx there is
// nothing to compare, which is said and passes.
func (b *bench) gate(ctx context.Context, w io.Writer, r *report, peers []peer) error {
	rec, err := parseRecord(recordedJSON)
	if err != nil {
		return err
	}
	for _, p := range r.Peers {
		if p.Name == belayName && p.Skipped != "" {
			return fmt.Errorf("gate: belay: %s", p.Skipped)
		}
	}
	pair := slices.DeleteFunc(slices.Clone(peers), func(p peer) bool {
		return p.Name != belayName && p.Name != nginxName
	})
	if len(pair) < 2 {
		fmt.Fprintln(w, "\ngate: skipped, as it needs both nginx and belay")
		return nil
	}
	fmt.Fprintln(w)
	for _, s := range r.Scenarios {
		if s.idle || s.Skipped != "" {
			continue
		}
		if err := b.gateScenario(ctx, w, s, rec.Ratios[s.Name][belayName], pair); err != nil {
			return err
		}
	}
	return nil
}

// gateScenario holds the gate for one result, and measures pair once more if
// that does not pass.
func (b *bench) gateScenario(ctx context.Context, w io.Writer, s scenarioResult, recorded float64, pair []peer) error {
	got := cpuRatio(s.Samples, belayName, nginxName)
	fmt.Fprintf(w, "gate: %s\n", gateLine(s.Name, got, recorded))
	if recorded == 0 && s.Name == quickScenario {
		return fmt.Errorf("gate: recorded.json has no ratio for %s; see --record", s.Name)
	}
	if gatePasses(got, recorded) {
		return nil
	}
	again, err := b.runScenario(ctx, s.scenario, pair)
	if err != nil {
		return err
	}
	if err := again.failure(); err != nil {
		return fmt.Errorf("gate: again: %w", err)
	}
	got = cpuRatio(again.Samples, belayName, nginxName)
	fmt.Fprintf(w, "gate: again: %s\n", gateLine(s.Name, got, recorded))
	if !gatePasses(got, recorded) {
		return fmt.Errorf("gate: %s: belay takes %.2f × the CPU of nginx, recorded is %.2f, the limit %.2f",
			s.Name, got, recorded, gateFactor*recorded)
	}
	return nil
}

// gatePasses reports whether a ratio is acceptable. A ratio of 0 means that
// nothing was measured, which is not. A recorded ratio of 0 means that there is
// none, and accepts any.
func gatePasses(got, recorded float64) bool {
	return recorded == 0 || got > 0 && got <= gateFactor*recorded
}

func gateLine(scenario string, got, recorded float64) string {
	if recorded == 0 {
		return fmt.Sprintf("%s: belay ÷ nginx = %.2f, nothing recorded", scenario, got)
	}
	return fmt.Sprintf("%s: belay ÷ nginx = %.2f, recorded %.2f, limit %.2f", scenario, got, recorded, gateFactor*recorded)
}
