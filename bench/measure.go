// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// sample measures p once. What goes wrong is in the sample.
func (b *bench) sample(ctx context.Context, s scenario, p *peer) sample {
	got, err := b.measure(ctx, s, p)
	if err != nil {
		got.fail(err)
	}
	return got
}

// measure starts a fresh process of the peer, loads it and reads the counters
// around the measured phase.
func (b *bench) measure(ctx context.Context, s scenario, p *peer) (sample, error) {
	bound := b.opts.duration + b.opts.idleWait + time.Minute + time.Duration(s.conns)*time.Millisecond
	ctx, cancel := context.WithTimeoutCause(ctx, bound, errors.New("the measurement does not come to its end"))
	defer cancel()
	origins, err := b.originsFor(ctx, &s)
	if err != nil {
		return sample{}, err
	}
	set := b.setup(&s)
	set.origins = origins.addresses(s.upstream)
	run, err := p.start(ctx, set, b.proxyCPUs)
	if err != nil {
		return sample{}, err
	}
	defer run.close()
	if err := verifyScenario(ctx, &s, run, origins); err != nil {
		return sample{}, err
	}
	load, err := startHelper("run-load", b.loadCPUs)
	if err != nil {
		return sample{}, err
	}
	defer load.close()
	m := measurement{bench: b, scenario: s, origins: origins, peer: p, run: run, load: load}
	if s.closedLoopH2() {
		m.h2load = &h2load{program: b.h2load, url: s.access().scheme() + "://" + run.addr + s.target(), s: s, cpus: b.loadCPUs}
	}
	if m.out.Start, err = m.run.tree.memory(); err != nil {
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

// verifyScenario checks that the proxy does the work of s, before it is
// measured.
func verifyScenario(ctx context.Context, s *scenario, run *running, origins *originSet) error {
	if !s.echoes() {
		return nil // the load itself fails if nothing works
	}
	if _, err := origins.verify(ctx, s.access(), run.addr, len(run.set.origins)); err != nil {
		return err
	}
	return verifyBodies(s, run.addr)
}

// job returns what the load program is to do.
func (b *bench) job(s scenario, addr string) loadJob {
	return loadJob{
		Addr:     addr,
		Conns:    s.conns,
		Request:  s.request(),
		Body:     s.post,
		Response: s.response,
		Target:   s.target(),
		Streams:  s.streams,
		Rate:     s.rate,
		Mode:     s.mode,
		NewConn:  s.newConn,
		Idle:     s.idle,
		Access:   s.access(),
		Warmup:   max(b.opts.duration/4, 500*time.Millisecond),
	}
}

// A measurement is one in progress.
type measurement struct {
	*bench
	scenario scenario
	origins  *originSet
	peer     *peer
	run      *running
	load     *helper

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
	if r.origin, err = m.origins.stats(ctx); err != nil {
		return r, err
	}
	if r.usage, err = m.run.tree.usage(); err != nil {
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
	report, err := m.loadFor(ctx, m.opts.duration)
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
	if m.scenario.resume && report.Full > report.Requests/100 {
		return fmt.Errorf("%d of %d TLS handshakes resumed no session", report.Full, report.Requests)
	}
	used := after.usage.sub(before.usage)
	if used.CPU <= 0 {
		return errors.New("the proxy's CPU clock did not move")
	}
	m.out.setCosts(report, used, after.busy-before.busy, len(m.proxyCPUs))
	m.out.Accepts = after.origin.Accepts - before.origin.Accepts
	m.out.Reuse = 1 - float64(m.out.Accepts)/float64(report.Requests)
	if m.out.Loaded, err = m.run.tree.memory(); err != nil || m.out.Errors > 0 || m.opts.quick || m.scenario.rate > 0 {
		return err
	}
	return m.countCalls(ctx)
}

// loadFor loads the proxy for d.
func (m *measurement) loadFor(ctx context.Context, d time.Duration) (report loadReport, err error) {
	if m.h2load != nil {
		return m.h2load.during(ctx, d, m.warm)
	}
	if m.scenario.event != noEvent {
		return m.loadWithEvents(ctx, d)
	}
	err = m.load.ask(ctx, loadGo+" "+d.String(), &report)
	return report, err
}

// callsTime is how long system calls are counted.
const callsTime = 250 * time.Millisecond

// countCalls loads the proxy once more, to count its system calls. It notes why
// if that cannot be done here.
func (m *measurement) countCalls(ctx context.Context) error {
	counter, err := countCalls(ctx, m.run.tree.pids(), m.loadCPUs)
	if err != nil {
		m.noCalls = err
		return nil
	}
	report, err := m.loadFor(ctx, callsTime)
	calls, countErr := counter.stop()
	if err := errors.Join(err, countErr); err != nil {
		return err
	}
	if report.Errors > 0 {
		return fmt.Errorf("while system calls were counted: %s", report.Error)
	}
	m.out.Calls = float64(calls) / float64(max(1, report.Requests))
	return nil
}

// idle reads the memory of a proxy with idle connections, at once and after a
// wait, and checks that the connections are still there.
func (m *measurement) idle(ctx context.Context) (err error) {
	if m.out.Loaded, err = m.run.tree.memory(); err != nil {
		return err
	}
	select {
	case <-time.After(m.opts.idleWait):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.out.Waited, err = m.run.tree.memory(); err != nil {
		return err
	}
	var report loadReport
	if err := m.load.ask(ctx, loadCheck, &report); err != nil {
		return err
	}
	m.out.Closed = report.Closed
	return nil
}
