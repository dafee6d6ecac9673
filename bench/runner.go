// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A bench is all that stays the same from one measurement to the next.
type bench struct {
	opts      options
	dir       string // for files of the peers
	proxyCPUs []int
	loadCPUs  []int // of load generator and origins
	origin    *originSet
	many      *originSet // of the scenario with many backends; nil before
	certs     certificates
	h2load    string    // program; "" if it is not installed
	progress  io.Writer // a line for each measurement
	noCalls   error     // why system calls cannot be counted
}

// A scenarioResult is all samples of one scenario.
type scenarioResult struct {
	scenario
	Skipped string       `json:"skipped,omitempty"`
	Lacking []string     `json:"lacking,omitempty"` // "peer: skipped: why"
	Summary []summary    `json:"summary,omitempty"`
	Samples []sample     `json:"samples,omitempty"`
	Rates   []rateResult `json:"rates,omitempty"` // with --latency
}

// newBench starts the origins. Its owner calls close.
func newBench(ctx context.Context, opts options, dir string, progress io.Writer) (*bench, error) {
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	if opts.cores > len(cpus) {
		return nil, fmt.Errorf("--cores is %d, but only %d CPUs are available", opts.cores, len(cpus))
	}
	b := &bench{opts: opts, dir: dir, progress: progress}
	b.proxyCPUs, b.loadCPUs = splitCPUs(cpus, opts.cores)
	if err := errors.Join(pinSelf(b.loadCPUs), adoptOrphans()); err != nil {
		return nil, err
	}
	if b.certs, err = newCertificates(dir); err != nil {
		return nil, err
	}
	if program, err := findProgram(h2loadName); err == nil {
		b.h2load = program
	}
	if b.origin, err = newOriginSet(ctx, originCount, b.loadCPUs); err != nil {
		return nil, err
	}
	return b, nil
}

// close ends the origins.
func (b *bench) close() {
	b.origin.close()
	if b.many != nil {
		b.many.close()
	}
}

// splitCPUs gives the last cores CPUs to the proxy, as interrupts prefer the
// first, and the others to load and origins. If none is left they share.
func splitCPUs(cpus []int, cores int) (proxy, load []int) {
	at := len(cpus) - cores
	if at == 0 {
		return cpus, cpus
	}
	return cpus[at:], cpus[:at]
}

// setup returns what all peers have in common in a scenario.
func (b *bench) setup(s *scenario) setup {
	return setup{
		dir: b.dir, cores: b.opts.cores, conns: s.conns * max(1, s.streams), descriptors: b.opts.descriptors,
		body: max(s.response, s.post), upstream: s.upstream, event: s.event, log: s.log,
		access: s.access(), certs: b.certs,
	}
}

// runScenario measures all peers in each round.
func (b *bench) runScenario(ctx context.Context, s scenario, peers []peer) (scenarioResult, error) {
	result := scenarioResult{scenario: s}
	if result.Skipped = b.short(&s); result.Skipped != "" {
		return result, nil
	}
	if s.closedLoopH2() && b.h2load == "" {
		result.Skipped = "needs h2load, which is not installed"
		return result, nil
	}
	peers = result.able(peers)
	rounds := b.opts.rounds
	if s.maxRounds > 0 {
		rounds = min(rounds, s.maxRounds)
	}
	for round := range rounds {
		samples, err := b.runRound(ctx, s, peers, round)
		if err != nil {
			return result, err
		}
		result.Samples = append(result.Samples, samples...)
	}
	result.Summary = summarize(names(peers), s.metrics(), result.Samples)
	if b.opts.latency && s.rated {
		return result, b.measureRates(ctx, &result, peers)
	}
	return result, nil
}

// short returns what is missing here for s, "" if nothing is.
func (b *bench) short(s *scenario) string {
	inUse := s.conns
	if !s.idle {
		inUse *= 2 // each has one to an origin
	}
	if need := inUse + 2*s.backends + 4096; b.opts.descriptors < need {
		return fmt.Sprintf("needs %d file descriptors, but the limit is %d", need, b.opts.descriptors)
	}
	return ""
}

// able returns those of peers that can run the scenario, and notes the others.
func (r *scenarioResult) able(peers []peer) []peer {
	var able []peer
	for _, p := range peers {
		if why := p.cannot(r.scenario); why != "" {
			r.Lacking = append(r.Lacking, p.Name+": skipped: "+why)
		} else {
			able = append(able, p)
		}
	}
	return able
}

// runRound measures each peer once, in the order of the round. Its error is
// that ctx has ended; what else fails is in the samples.
func (b *bench) runRound(ctx context.Context, s scenario, peers []peer, round int) ([]sample, error) {
	var samples []sample
	for _, i := range orderOf(round, len(peers)) {
		got := b.sample(ctx, s, &peers[i])
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		got.Round, got.Peer = round, peers[i].Name
		samples = append(samples, got)
		if s.rate > 0 && s.event == noEvent {
			fmt.Fprintf(b.progress, "%s at %.0f/s round %d %s: p99 %.0f µs\n", s.Name, s.rate, round+1, got.Peer, got.P99)
			continue
		}
		fmt.Fprintf(b.progress, "%s round %d %s: %s\n", s.Name, round+1, got.Peer, got.brief(s.idle))
	}
	return samples, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// names returns the names of peers.
func names(peers []peer) []string {
	var list []string
	for _, p := range peers {
		list = append(list, p.Name)
	}
	return slices.Clip(list)
}
