// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxytest"
)

// RunResponses runs the response cases as parallel subtests, as RunRequests
// does. Each answer is sent in one write.
func RunResponses(t *testing.T, newRig func(t *testing.T, origin string) Rig) {
	for _, c := range Responses() {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			script := newScript(c)
			origin := proxytest.NewOrigin(t, proxytest.Script(script.serve))
			rig := newRig(t, origin.Addr())
			got := playResponse(t, script, rig)
			rig.Stop()
			got.reused = script.reused.Load()
			if why := c.judge(got); why != "" {
				t.Errorf("%s: %s\nanswer: %.400q %s\nwant:   %v %s\ngot:    %v", c.Class, why, c.Answer, c.Then, c.Want, c.Why, got)
			}
		})
	}
}

// script is the origin of a case. It answers the sentinel properly and
// everything else as the case says.
type script struct {
	c      ResponseCase
	read   chan struct{} // closed when the client has the response
	later  chan struct{} // closed when c.Later has been sent
	once   sync.Once     // closes later
	reused atomic.Bool   // a sentinel came on a connection that had been used for the case
}

func newScript(c ResponseCase) *script {
	return &script{c: c, read: make(chan struct{}), later: make(chan struct{})}
}

func (s *script) serve(c net.Conn, br *bufio.Reader) {
	for used := false; ; {
		req, err := proxytest.ReadRequest(br)
		if err != nil {
			return
		}
		if req.Target == sentinel {
			if used {
				s.reused.Store(true)
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(sentinel), sentinel)
			continue
		}
		used = true
		if _, err := io.WriteString(c, s.c.Answer); err != nil {
			return
		}
		if s.c.Later != "" {
			<-s.read
			_, _ = io.WriteString(c, s.c.Later)
			s.once.Do(func() { close(s.later) })
		}
		switch s.c.Then {
		case Resets:
			proxytest.Reset(c)
			return
		case Closes:
			return
		}
	}
}

// observedResponse is what came of a response case.
type observedResponse struct {
	response *proxytest.Response
	sentinel *proxytest.Response
	reused   bool
}

func (o observedResponse) String() string {
	return fmt.Sprintf("%v, head %.300q; connection reused: %v", o.response, o.response.Head, o.reused)
}

func playResponse(t *testing.T, s *script, rig Rig) (got observedResponse) {
	client := proxytest.NewClient(t, rig.Addr, proxytest.Timeout(patience))
	request := s.c.Request
	if request == "" {
		request = get + "\r\n"
	}
	got.response = client.Do(request)
	close(s.read)
	if s.c.Later != "" && got.response.Complete {
		select {
		case <-s.later:
		case <-time.After(patience):
			t.Errorf("the origin has not sent what was to come later")
		}
	}
	// On the same connection if possible: then the proxy has let go of the
	// one to the origin.
	got.sentinel = client.Do(sentinelRequest)
	client.Close()
	return got
}

// judge returns why no outcome fits, or "".
func (c ResponseCase) judge(got observedResponse) string {
	if res := got.sentinel; res.Err != nil || res.Status != 200 || res.Text() != sentinel {
		return fmt.Sprintf("a request behind it was answered with %v", res)
	}
	var reasons []string
	for _, out := range c.Want {
		why := out.judge(got)
		if why == "" {
			return ""
		}
		reasons = append(reasons, why)
	}
	return strings.Join(reasons, "; ")
}

// judge returns why got is not this outcome, or "".
func (out ResponseOutcome) judge(got observedResponse) string {
	res := got.response
	var informational []int
	for _, r := range res.Informational {
		informational = append(informational, r.Status)
	}
	switch {
	case !slices.Equal(informational, out.Informational):
		return fmt.Sprintf("informational %v, want %v", informational, out.Informational)
	case out.Cut && res.Complete:
		return fmt.Sprintf("a whole response %v, want it cut", res)
	case out.Cut:
	case !res.Complete:
		return fmt.Sprintf("response %v, want it whole", res)
	case res.Status != out.Status:
		return fmt.Sprintf("status %d, want %d", res.Status, out.Status)
	case !out.Own && res.Text() != out.Body:
		return fmt.Sprintf("body %.100q, want %.100q", res.Body, out.Body)
	}
	lines := strings.Split(res.Fields.String(), "\n")
	for _, want := range out.Has {
		if !anyLine(lines, want, func(got, want string) bool { return got == want }) {
			return fmt.Sprintf("field %q is missing from %q", want, lines)
		}
	}
	for _, unwanted := range out.Lacks {
		if anyLine(lines, unwanted, strings.Contains) {
			return fmt.Sprintf("field %q should not be in %q", unwanted, lines)
		}
	}
	switch {
	case out.Reuse == NoReuse && got.reused:
		return "the connection to the origin was used again"
	case out.Reuse == MustReuse && !got.reused:
		return "the connection to the origin was not used again"
	}
	return ""
}

// String describes out for a failure message.
func (out ResponseOutcome) String() string {
	s := fmt.Sprintf("%v %d", out.Informational, out.Status)
	switch {
	case out.Own:
		s += " from the proxy"
	case out.Cut:
		s += " cut"
	default:
		s += fmt.Sprintf(" %.40q", out.Body)
	}
	if out.Reuse != "" {
		s += fmt.Sprintf(", %s reuse", out.Reuse)
	}
	return s
}
