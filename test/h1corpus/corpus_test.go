// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/proxytest"
)

func TestCorpusIsWellFormed(t *testing.T) {
	requests, responses := slices.Concat(Requests(), Connects()), Responses()
	if len(requests) < 400 || len(responses) < 80 {
		t.Errorf("%d request and %d response cases, want at least 400 and 80", len(requests), len(responses))
	}
	seen := make(map[string]bool)
	check := func(id, class, why string, outcomes int) {
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		if class == "" || outcomes == 0 {
			t.Errorf("%s has no class or no outcome", id)
		}
		if why != "" && outcomes == 1 {
			t.Errorf("%s explains several outcomes and has one", id)
		}
	}
	for _, c := range requests {
		check(c.ID, c.Class, c.Why, len(c.Want))
		for _, d := range Deliveries {
			if got := strings.Join(d.Pieces(c.Input), ""); got != c.Input {
				t.Errorf("%s: %s pieces are %.200q, want %.200q", c.ID, d, got, c.Input)
			}
		}
	}
	for _, c := range responses {
		check(c.ID, c.Class, c.Why, len(c.Want))
	}
}

func TestHiddenRequestLengths(t *testing.T) {
	// The literal lengths in the tables depend on these.
	if got := len(hidden); got != 38 {
		t.Errorf("len(hidden) = %d, want 38", got)
	}
	if got := len(evil); got != 42 {
		t.Errorf("len(evil) = %d, want 42", got)
	}
}

// blind returns a rig that relays bytes without looking at them: what no proxy
// may do.
func blind(t *testing.T, origin string) Rig {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relay(down, origin) })
		}
	})
	stop := func() { _ = l.Close(); wg.Wait() }
	t.Cleanup(stop)
	return Rig{Addr: l.Addr().String(), Stop: stop}
}

// relay ends when both sides have ended.
func relay(down net.Conn, origin string) {
	defer down.Close()
	up, err := net.Dial("tcp", origin)
	if err != nil {
		return
	}
	defer up.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(up, down)
		_ = up.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(down, up)
	_ = down.(*net.TCPConn).CloseWrite()
	wg.Wait()
}

// TestBlindRelayFails checks that the corpus can fail: what has to be refused
// must be noticed when it is relayed.
func TestBlindRelayFails(t *testing.T) {
	for _, c := range Requests() {
		if len(c.Want) != 1 || c.Want[0].End != Rejected {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			origin := proxytest.NewOrigin(t, proxytest.Handle(tellTarget))
			got := play(t, c, Whole, blind(t, origin.Addr()), origin)
			if why := c.judge(got); why == "" {
				t.Errorf("%s: relayed %.200q and found nothing wrong: %v", c.Class, c.Input, got)
			}
		})
	}
	for _, c := range Responses() {
		if len(c.Want) != 1 || c.Want[0].Status != 502 {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			script := newScript(c)
			origin := proxytest.NewOrigin(t, proxytest.Script(script.serve))
			got := playResponse(t, script, blind(t, origin.Addr()))
			if why := c.judge(got); why == "" {
				t.Errorf("%s: relayed %.200q and found nothing wrong: %v", c.Class, c.Answer, got)
			}
		})
	}
}

// TestStrictReaderAgrees checks the expectations themselves: what must be
// forwarded is, nearly always, what a strict reader takes for whole requests.
func TestStrictReaderAgrees(t *testing.T) {
	for _, c := range Requests() {
		if len(c.Want) != 1 || c.Want[0].End != Open || strings.HasPrefix(c.Input, "\r\n") {
			continue
		}
		br := bufio.NewReader(strings.NewReader(c.Input))
		for i, m := range c.Want[0].Forwarded {
			req, err := proxytest.ReadRequest(br)
			if err != nil || req.Method != m.Method || req.Text() != m.Body {
				t.Errorf("%s: request %d reads as %s with body %.100q, %v; want %s with %.100q", c.ID, i+1, req.Method, req.Body, err, m.Method, m.Body)
				break
			}
		}
		if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
			t.Errorf("%s: %.200q is left over, %v", c.ID, rest, err)
		}
	}
}
