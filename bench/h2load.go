// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// h2loadName is the program that loads with HTTP/2; Debian has it in
// nghttp2-client.
const h2loadName = "h2load"

// An h2load runs the program h2load against one proxy, once for each phase, so
// that connections are made in each.
type h2load struct {
	program string
	url     string
	s       scenario
	cpus    []int
}

// warmUp runs twice, the second time for about d, and returns how that went.
// It counts requests, as at the end of a duration h2load cuts off what is under
// way, and the proxy would have to connect to its origins anew.
func (l *h2load) warmUp(ctx context.Context, d time.Duration) (loadReport, error) {
	cold, err := l.exactly(ctx, l.s.conns*l.s.streams*8)
	if err != nil || cold.Errors > 0 {
		return cold, err
	}
	return l.during(ctx, d, cold)
}

// during runs for about d, given how fast an earlier run was, and at least as
// long as one request on each stream takes.
func (l *h2load) during(ctx context.Context, d time.Duration, earlier loadReport) (loadReport, error) {
	unit := l.s.conns * l.s.streams
	n := float64(earlier.Requests) * float64(d) / float64(earlier.Elapsed)
	return l.exactly(ctx, unit*max(1, int(n)/unit))
}

// exactly sends n requests, all of which must succeed.
func (l *h2load) exactly(ctx context.Context, n int) (loadReport, error) {
	report, err := l.run(ctx, n)
	if err == nil && report.Errors == 0 && report.Requests != int64(n) {
		err = fmt.Errorf("h2load: %d of %d requests succeeded", report.Requests, n)
	}
	return report, err
}

// run runs h2load with n requests and returns what it reports.
func (l *h2load) run(ctx context.Context, n int) (loadReport, error) {
	args := []string{
		"-n", strconv.Itoa(n), "-c", strconv.Itoa(l.s.conns), "-m", strconv.Itoa(l.s.streams), "-t", "1",
		"--tls13-ciphers=TLS_AES_128_GCM_SHA256",
		"-H", ":authority: " + hostSent,
		"-H", "user-agent: " + userAgent,
		"-H", "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"-H", "accept-language: en-GB,en;q=0.5",
		"-H", "accept-encoding: gzip, deflate, br",
		"-H", "cookie: session=4f3c2b1a09f8e7d6",
		l.url,
	}
	cmd := exec.Command(l.program, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	p, err := startProcess(h2loadName, cmd, l.cpus)
	if err != nil {
		return loadReport{}, err
	}
	defer p.stop()
	select {
	case <-p.ended:
	case <-ctx.Done():
		return loadReport{}, context.Cause(ctx)
	}
	if p.err != nil {
		return loadReport{}, p.failure()
	}
	return parseH2load(out.Bytes())
}

var (
	h2loadFinished = regexp.MustCompile(`(?m)^finished in ([0-9.]+)(us|ms|s|m),`)
	h2loadRequests = regexp.MustCompile(`(?m)^requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatus   = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx,`)
)

// parseH2load reads what h2load prints at its end.
func parseH2load(out []byte) (r loadReport, err error) {
	finished, requests, status := h2loadFinished.FindSubmatch(out), h2loadRequests.FindSubmatch(out), h2loadStatus.FindSubmatch(out)
	if finished == nil || requests == nil || status == nil {
		return r, fmt.Errorf("h2load: not understood: %s", clip(bytes.TrimSpace(out)))
	}
	if r.Elapsed, err = time.ParseDuration(string(finished[1]) + string(finished[2])); err != nil || r.Elapsed <= 0 {
		return r, errors.Join(err, fmt.Errorf("h2load: finished in %q", finished[1]))
	}
	number := func(b []byte) int64 {
		n, _ := strconv.ParseInt(string(b), 10, 64) // digits
		return n
	}
	r.Requests = number(requests[2])
	r.Errors = number(requests[3]) + number(requests[4]) + number(requests[5])
	if r.Errors > 0 {
		r.Error = string(requests[0])
	} else if got := number(status[1]); got < r.Requests {
		r.Errors, r.Error = r.Requests-got, fmt.Sprintf("%d of %d responses have status 2xx", got, r.Requests)
	}
	return r, nil
}
