// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// verifyPeers starts each peer for each access that it can serve and that the
// scenarios need, and checks that it does the work that all do. It notes in
// which way a peer differs, and what it fails to do. For belay, which sets the
// measure, to differ is to fail. Skipped ones are not started.
func (b *bench) verifyPeers(ctx context.Context, peers []peer, chosen []scenario) error {
	for i := range peers {
		p := &peers[i]
		for _, a := range accessesOf(chosen) {
			if p.Skipped != "" || p.cannotServe(a) != "" {
				continue
			}
			differs, err := b.verifyPeer(ctx, p, a)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if p.Name == belayName && err == nil && len(differs) > 0 {
				err = errors.New(strings.Join(differs, "; "))
			}
			p.note(a, differs, err)
		}
	}
	return nil
}

// accessesOf returns the access of each scenario, once each, after the zero
// access, which every peer has to serve.
func accessesOf(chosen []scenario) []access {
	list := []access{{}}
	for _, s := range chosen {
		if a := s.access(); !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// note keeps what verifying p for a has shown.
func (p *peer) note(a access, differs []string, err error) {
	for _, d := range differs {
		if !slices.Contains(p.Differs, d) {
			p.Differs = append(p.Differs, d)
		}
	}
	if err == nil {
		return
	}
	why := "failed when verified: " + strings.Join(strings.Fields(err.Error()), " ")
	if p.Failed == "" {
		p.Failed = why
	}
	if p.unfit == nil {
		p.unfit = make(map[access]string)
	}
	p.unfit[a] = why
}

// verifyPeer starts p once and verifies it.
func (b *bench) verifyPeer(ctx context.Context, p *peer, a access) (differs []string, err error) {
	set := b.setup(&scenario{conns: 1})
	set.access, set.origins = a, b.origin.Addrs
	run, err := p.start(ctx, set, b.proxyCPUs)
	if err != nil {
		return nil, err
	}
	defer run.close()
	return b.origin.verify(ctx, a, run.addr, originCount)
}

// verify verifies the running proxy at addr, which has count of the origins.
func (o *originSet) verify(ctx context.Context, a access, addr string, count int) (differs []string, err error) {
	return verify(a, addr, count, func() (int64, error) {
		stats, err := o.stats(ctx)
		return stats.Accepts, err
	})
}

// printDiffers prints in which way peers differ from the others.
func printDiffers(w io.Writer, peers []peer) {
	for _, p := range peers {
		if p.Skipped == "" && len(p.Differs) > 0 {
			fmt.Fprintf(w, "differs  %s: %s\n", p.Name, strings.Join(p.Differs, "; "))
		}
	}
}

// printFailed prints which peers failed.
func printFailed(w io.Writer, peers []peer) {
	for _, p := range peers {
		if p.Failed != "" {
			fmt.Fprintf(w, "failed   %s: %s\n", p.Name, p.Failed)
		}
	}
}

// verify checks that the proxy at addr does the work that all are to do: it
// rewrites Host, sets X-Forwarded-For, -Proto and -Host, passes the other
// fields on without one more or less, and takes the origins in turn over
// connections that it keeps. It returns in which way the work differs, and an
// error if exchanges fail or connections are not kept. accepts returns how many
// connections the origins have accepted so far.
func verify(a access, addr string, origins int, accepts func() (int64, error)) (differs []string, err error) {
	before, err := accepts()
	if err != nil {
		return nil, err
	}
	exchange, done, err := a.exchanger(addr)
	if err != nil {
		return nil, err
	}
	defer done()
	seen := make(map[string]bool)
	for range 2 * origins {
		got, origin, err := verifyOne(exchange)
		if err != nil {
			return nil, err
		}
		seen[origin] = true
		for _, d := range deviations(a, got) {
			if !slices.Contains(differs, d) {
				differs = append(differs, d)
			}
		}
	}
	if len(seen) != origins {
		differs = append(differs, fmt.Sprintf("used %d of %d origins for %d requests", len(seen), origins, 2*origins))
	}
	after, err := accepts()
	if made := after - before; err == nil && made > int64(origins) {
		err = fmt.Errorf("made %d connections to %d origins for %d requests one after the other; want them kept", made, origins, 2*origins)
	}
	return differs, err
}

// verifyOne does one exchange with the echo of an origin and returns the head
// that the origin received, and its address.
func verifyOne(exchange func() (*http.Response, error)) (got *http.Request, origin string, err error) {
	res, err := exchange()
	if err != nil {
		return nil, "", fmt.Errorf("exchange: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Close {
		return nil, "", fmt.Errorf("response is %q, close %t; want 200 on a kept connection", res.Status, res.Close)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, "", fmt.Errorf("read the echo: %w", err)
	}
	got, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(body)))
	if err != nil {
		return nil, "", fmt.Errorf("read the head that the origin received: %w", err)
	}
	if got.Close {
		return nil, "", errors.New("origin was asked to close the connection")
	}
	return got, res.Header.Get("X-Origin"), nil
}

// deviations returns in which way the head that an origin received is not the
// wanted one.
func deviations(a access, got *http.Request) (list []string) {
	if got.Host != hostWanted {
		list = append(list, fmt.Sprintf("sends Host %q, not %q", got.Host, hostWanted))
	}
	want := wantedFields(a)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		values := strings.Join(got.Header.Values(name), ", ")
		switch {
		case len(got.Header[name]) == 0:
			list = append(list, "sends no "+name)
		case values != want.Get(name):
			list = append(list, fmt.Sprintf("sends %s %q, not %q", name, values, want.Get(name)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got.Header)) {
		if len(want[name]) == 0 {
			list = append(list, "adds "+name)
		}
	}
	return list
}

// wantedFields returns the fields, but for Host, that an origin is to receive
// from every proxy for a request to its echo.
func wantedFields(a access) http.Header {
	fields := echoFields()
	fields.Set("X-Forwarded-For", "127.0.0.1")
	fields.Set("X-Forwarded-Proto", a.scheme())
	fields.Set("X-Forwarded-Host", hostSent)
	return fields
}

// echoFields returns the fields that a client sends to the echo of an origin,
// but for Host and those that concern its connection.
func echoFields() http.Header {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(buildRequest(echoTarget, "keep-alive", 0))))
	if err != nil {
		panic("our own request: " + err.Error())
	}
	req.Header.Del("Connection")
	return req.Header
}
