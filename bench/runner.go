// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
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
	origin    *helper
	origins   []string // addresses
	certs     certificates
	h2load    string    // program; "" if it is not installed
	progress  io.Writer // a line for each measurement
}

// A sample is the outcome of one measurement of one peer.
type sample struct {
	Round     int     `json:"round"`
	Peer      string  `json:"peer"`
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	Error     string  `json:"error,omitempty"` // the first one
	PerSecond float64 `json:"requests_per_second"`

	CPUMicros   float64 `json:"cpu_us_per_request"`  // of the proxy's processes
	UserShare   float64 `json:"user_share"`          // of that CPU time
	CoreMicros  float64 `json:"core_us_per_request"` // all that ran on the proxy's CPUs
	Voluntary   float64 `json:"voluntary_switches_per_request"`
	Involuntary float64 `json:"involuntary_switches_per_request"`

	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`

	Accepts   int64   `json:"upstream_connections"` // made while measured
	Reuse     float64 `json:"reuse_ratio"`
	RSSIdle   int64   `json:"rss_idle_bytes"`   // before the first connection
	RSSLoaded int64   `json:"rss_loaded_bytes"` // after the last request, connections still open

	RSSWaited int64 `json:"rss_waited_bytes,omitempty"`   // idle scenario: after the wait
	Closed    int   `json:"closed_connections,omitempty"` // idle scenario: by the proxy
}

// A scenarioResult is all samples of one scenario.
type scenarioResult struct {
	scenario
	Skipped string    `json:"skipped,omitempty"`
	Lacking []string  `json:"lacking,omitempty"` // "peer: skipped: why"
	Summary []summary `json:"summary,omitempty"`
	Samples []sample  `json:"samples,omitempty"`
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
	if b.certs, err = newCertificates(dir); err != nil {
		return nil, err
	}
	if program, err := findProgram(h2loadName); err == nil {
		b.h2load = program
	}
	if b.origin, err = startHelper("run-origin", b.loadCPUs); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the origins do not start"))
	defer cancel()
	var ready originReady
	if err := b.origin.ask(ctx, "", &ready); err != nil {
		b.close()
		return nil, err
	}
	b.origins = ready.Addrs
	return b, nil
}

// close ends the origins.
func (b *bench) close() { b.origin.close() }

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
		dir: b.dir, origins: b.origins, cores: b.opts.cores, conns: s.conns * max(1, s.streams), descriptors: b.opts.descriptors,
		body:   max(s.response, int64(s.post)),
		access: s.access(), certs: b.certs,
	}
}

// runScenario measures all peers in each round.
func (b *bench) runScenario(ctx context.Context, s scenario, peers []peer) (scenarioResult, error) {
	result := scenarioResult{scenario: s}
	if need := s.conns + 4096; b.opts.descriptors < need {
		result.Skipped = fmt.Sprintf("needs %d file descriptors, but the limit is %d", need, b.opts.descriptors)
		return result, nil
	}
	if s.streams > 0 && b.h2load == "" {
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
	result.Summary = summarize(names(peers), result.Samples)
	return result, nil
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

// runRound measures each peer once, in the order of the round.
func (b *bench) runRound(ctx context.Context, s scenario, peers []peer, round int) ([]sample, error) {
	var samples []sample
	for _, i := range orderOf(round, len(peers)) {
		got, err := b.measure(ctx, s, &peers[i])
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", s.Name, peers[i].Name, err)
		}
		got.Round, got.Peer = round, peers[i].Name
		samples = append(samples, got)
		fmt.Fprintf(b.progress, "%s round %d %s: %s\n", s.Name, round+1, got.Peer, got.brief(s.idle))
	}
	return samples, nil
}

// brief is the line of progress for a sample.
func (s *sample) brief(idle bool) string {
	if s.Errors > 0 {
		return fmt.Sprintf("%d errors, first: %s", s.Errors, s.Error)
	}
	if idle {
		return fmt.Sprintf("%.1f MiB, idle %.1f MiB", mebi(s.RSSLoaded), mebi(s.RSSWaited))
	}
	return fmt.Sprintf("%.2f µs CPU per request, %.0f requests/s", s.CPUMicros, s.PerSecond)
}

// measure starts a fresh process of the peer, loads it and reads the counters
// around the measured phase.
func (b *bench) measure(ctx context.Context, s scenario, p *peer) (sample, error) {
	bound := b.opts.duration + b.opts.idleWait + time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, bound, errors.New("the measurement does not come to its end"))
	defer cancel()
	run, err := p.start(ctx, b.setup(&s), b.proxyCPUs)
	if err != nil {
		return sample{}, err
	}
	defer run.close()
	if _, err := b.verify(ctx, s.access(), run.addr); err != nil {
		return sample{}, err
	}
	pids, err := processTree(run.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	load, err := startHelper("run-load", b.loadCPUs)
	if err != nil {
		return sample{}, err
	}
	defer load.close()
	m := measurement{bench: b, pids: pids, load: load}
	if s.streams > 0 {
		m.h2load = &h2load{program: b.h2load, url: s.access().scheme() + "://" + run.addr + s.target(), s: s, cpus: b.loadCPUs}
	}
	if m.out.RSSIdle, err = residentMemory(pids); err != nil {
		return sample{}, err
	}
	if err := m.connect(ctx, b.job(s, run.addr)); err != nil || m.out.Errors > 0 {
		return m.out, err
	}
	if s.idle {
		err = m.idle(ctx)
	} else {
		err = m.busy(ctx)
	}
	return m.out, err
}

// job returns what the load program is to do.
func (b *bench) job(s scenario, addr string) loadJob {
	return loadJob{
		Addr:     addr,
		Conns:    s.conns,
		Request:  s.request(),
		Response: s.response,
		NewConn:  s.newConn,
		Idle:     s.idle,
		Access:   s.access(),
		Warmup:   min(b.opts.duration/4, 500*time.Millisecond),
		Duration: b.opts.duration,
	}
}

// A measurement is one in progress.
type measurement struct {
	*bench
	pids []int // of the peer
	load *helper

	h2load *h2load    // loads in the place of load, if not nil
	warm   loadReport // of h2load

	out sample
}

// connect hands the job to the load program, which returns connected and warm.
func (m *measurement) connect(ctx context.Context, job loadJob) error {
	if m.h2load != nil {
		warm, err := m.h2load.warmUp(ctx, job.Warmup)
		m.warm, m.out.Errors, m.out.Error = warm, warm.Errors, warm.Error
		return err
	}
	line, err := json.Marshal(job)
	if err != nil {
		return err
	}
	var report loadReport
	if err := m.load.ask(ctx, string(line), &report); err != nil {
		return err
	}
	m.out.Requests, m.out.Errors, m.out.Error = report.Requests, report.Errors, report.Error
	return nil
}

// A reading is all counters at one moment at which no request is under way.
type reading struct {
	usage  usage
	busy   time.Duration
	origin originStats
}

func (m *measurement) read(ctx context.Context) (r reading, err error) {
	if err := m.origin.ask(ctx, "stats", &r.origin); err != nil {
		return r, err
	}
	if r.usage, err = readUsage(m.pids); err != nil {
		return r, err
	}
	r.busy, err = readBusy(m.proxyCPUs)
	return r, err
}

// busy measures a phase in which all connections are busy.
func (m *measurement) busy(ctx context.Context) error {
	before, err := m.read(ctx)
	if err != nil {
		return err
	}
	report, err := m.run(ctx)
	if err != nil {
		return err
	}
	after, err := m.read(ctx)
	if err != nil {
		return err
	}
	m.out.Requests, m.out.Errors, m.out.Error = report.Requests, report.Errors, report.Error
	if report.Requests == 0 {
		return fmt.Errorf("no request was completed; %d errors, first: %s", report.Errors, report.Error)
	}
	used := after.usage.sub(before.usage)
	if used.CPU <= 0 {
		return errors.New("the proxy's CPU clock did not move")
	}
	m.out.setCosts(report, used, after.busy-before.busy)
	m.out.Accepts = after.origin.Accepts - before.origin.Accepts
	m.out.Reuse = 1 - float64(m.out.Accepts)/float64(report.Requests)
	m.out.RSSLoaded, err = residentMemory(m.pids)
	return err
}

// run does the measured phase.
func (m *measurement) run(ctx context.Context) (report loadReport, err error) {
	if m.h2load != nil {
		return m.h2load.during(ctx, m.opts.duration, m.warm)
	}
	err = m.load.ask(ctx, loadGo, &report)
	return report, err
}

// setCosts divides what was used by the number of requests.
func (s *sample) setCosts(report loadReport, used usage, busy time.Duration) {
	n := float64(report.Requests)
	s.PerSecond = n / report.Elapsed.Seconds()
	s.CPUMicros = micros(used.CPU) / n
	s.CoreMicros = micros(busy) / n
	if total := used.User + used.System; total > 0 {
		s.UserShare = float64(used.User) / float64(total)
	}
	s.Voluntary = float64(used.Voluntary) / n
	s.Involuntary = float64(used.Involuntary) / n
	s.P50, s.P99, s.P999 = micros(report.P50), micros(report.P99), micros(report.P999)
}

// idle reads the memory of a proxy with idle connections, at once and after a
// wait, and checks that the connections are still there.
func (m *measurement) idle(ctx context.Context) (err error) {
	if m.out.RSSLoaded, err = residentMemory(m.pids); err != nil {
		return err
	}
	select {
	case <-time.After(m.opts.idleWait):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.out.RSSWaited, err = residentMemory(m.pids); err != nil {
		return err
	}
	var report loadReport
	if err := m.load.ask(ctx, loadCheck, &report); err != nil {
		return err
	}
	m.out.Closed = report.Closed
	return nil
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
