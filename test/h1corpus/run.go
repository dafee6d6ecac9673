// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h1corpus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxytest"
)

// patience is how long a proxy may take over a step of a case. It only runs
// out if the proxy waits for something that does not come.
const patience = 8 * time.Second

// sentinel is the target of the innocent requests behind a case.
const sentinel = "/sentinel"

const sentinelRequest = "GET " + sentinel + " HTTP/1.1\r\nHost: sentinel.test\r\n\r\n"

// A Rig is a proxy under test. It sends all requests to one origin and has
// seen none before.
type Rig struct {
	Addr string // where clients connect

	// Stop ends the proxy, so that nothing more can reach the origin. It may
	// be called more than once.
	Stop func()
}

// RunRequests runs the cases of [Requests], each with each delivery, as parallel
// subtests. newRig makes a proxy in front of the origin at the given address
// for one of them.
func RunRequests(t *testing.T, newRig func(t *testing.T, origin string) Rig) {
	runCases(t, Requests(), newRig)
}

// RunConnects runs the cases of [Connects] as RunRequests does.
func RunConnects(t *testing.T, newRig func(t *testing.T, origin string) Rig) {
	runCases(t, Connects(), newRig)
}

func runCases(t *testing.T, cases []Case, newRig func(t *testing.T, origin string) Rig) {
	for _, c := range cases {
		for _, d := range Deliveries {
			t.Run(c.ID+"/"+string(d), func(t *testing.T) {
				t.Parallel()
				origin := proxytest.NewOrigin(t, proxytest.Handle(tellTarget))
				got := play(t, c, d, newRig(t, origin.Addr()), origin)
				if why := c.judge(got); why != "" {
					t.Errorf("%s: %s\ninput: %.400q\nwant:  %v %s\ngot:   %v", c.Class, why, c.Input, c.Want, c.Why, got)
				}
			})
		}
	}
}

// tellTarget answers with the target of the request as the body.
func tellTarget(req proxytest.RecordedRequest) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(req.Target))
	if req.Method == "HEAD" {
		return []byte(head)
	}
	return []byte(head + req.Target)
}

// observed is what came of a case.
type observed struct {
	responses  []*proxytest.Response // complete ones, then perhaps one that is not
	open       bool                  // a sentinel was answered on the connection
	sentinels  []*proxytest.Response // every answer to one
	tail       string                // bytes behind the last response
	requests   []proxytest.RecordedRequest
	cut        []proxytest.RecordedRequest
	violations []proxytest.Violation
}

// play sends one case and observes.
func play(t *testing.T, c Case, d Delivery, rig Rig, origin *proxytest.Origin) (got observed) {
	t.Helper()
	client := proxytest.NewClient(t, rig.Addr, proxytest.Timeout(patience))
	conn := client.Dial()
	sent := make(chan struct{})
	go func() { // the proxy may answer before it has read everything
		defer close(sent)
		_ = conn.SendPieces(d.pause(len(c.Input)), d.Pieces(c.Input)...)
		if c.HalfClose {
			_ = conn.CloseWrite()
		}
	}()
	got.read(c, conn)
	<-sent
	if n := len(got.responses); n == 0 || got.responses[n-1].KeepAlive() {
		if got.tail == "" && conn.Send(sentinelRequest) == nil {
			if res := conn.Response("GET"); res.Err == nil {
				got.open = true
				got.sentinels = append(got.sentinels, res)
			}
		}
	}
	_ = conn.Close()
	got.sentinels = append(got.sentinels, client.Do(sentinelRequest))
	client.Close()

	rig.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if origin.Wait(ctx, func() bool { return origin.OpenConnections() == 0 }) != nil {
		t.Errorf("the stopped proxy has not closed its connections to the origin")
	}
	for _, req := range origin.Requests() {
		if req.Target != sentinel {
			got.requests = append(got.requests, req)
		}
	}
	got.cut, got.violations = origin.Cut(), origin.Violations()
	return got
}

// read reads as many responses as there can be. If the connection is to end
// with the last, it reads on to the end.
func (o *observed) read(c Case, conn *proxytest.Conn) {
	for i := range c.maxResponses() {
		res := conn.Response(c.method(i))
		o.responses = append(o.responses, res)
		if res.Err != nil {
			return
		}
		if !res.KeepAlive() {
			o.tail, _ = conn.Rest()
			return
		}
	}
}

// maxResponses returns how many responses the longest outcome has.
func (c Case) maxResponses() int {
	n := 0
	for _, out := range c.Want {
		m := len(out.Forwarded)
		switch out.End {
		case Rejected, Refused, Aborted:
			m++
		}
		n = max(n, m)
	}
	return n
}

// method returns the method of request i.
func (c Case) method(i int) string {
	for _, out := range c.Want {
		if i < len(out.Forwarded) {
			return out.Forwarded[i].Method
		}
	}
	return "GET"
}

// pause is the time between pieces. Without, the proxy would find several of
// them at once.
func (d Delivery) pause(size int) time.Duration {
	if d == Whole || size > longLine {
		return 0
	}
	return 20 * time.Microsecond
}

// judge returns why no outcome fits, or "".
func (c Case) judge(got observed) string {
	if len(got.violations) > 0 {
		return fmt.Sprintf("the origin received what is not HTTP: %v", got.violations)
	}
	for _, res := range got.sentinels {
		if res.Err != nil || res.Status != 200 || res.Text() != sentinel {
			return fmt.Sprintf("a request behind it was answered with %v", res)
		}
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
func (out Outcome) judge(got observed) string {
	if len(got.cut) > 0 && out.End != Aborted {
		return fmt.Sprintf("the origin received the start of a request: %.200q", got.cut[0].Head)
	}
	if len(got.requests) != len(out.Forwarded) {
		return fmt.Sprintf("the origin received %d requests, want %d", len(got.requests), len(out.Forwarded))
	}
	for i, m := range out.Forwarded {
		if why := m.judge(&got.requests[i]); why != "" {
			return fmt.Sprintf("request %d: %s", i+1, why)
		}
		if i >= len(got.responses) {
			return fmt.Sprintf("no response to request %d", i+1)
		}
		if res := got.responses[i]; res.Err != nil || res.Status != 200 || m.Method != "HEAD" && res.Text() != m.Target {
			return fmt.Sprintf("response to request %d is %v", i+1, res)
		}
	}
	return out.judgeEnd(got, got.responses[len(out.Forwarded):])
}

// judgeEnd judges what came after the expected responses.
func (out Outcome) judgeEnd(got observed, rest []*proxytest.Response) string {
	answered := len(rest) > 0 && rest[0].Err == nil
	switch out.End {
	case Open, Closed, Either:
		if answered {
			return fmt.Sprintf("an unexpected response: %v", rest[0])
		}
	case Rejected, Refused:
		if len(rest) > 0 && errors.Is(rest[0].Err, syscall.ECONNRESET) {
			answered = true // closing with input unread cuts the text behind the status
		}
		if !answered || !slices.Contains(out.Status, rest[0].Status) {
			return fmt.Sprintf("error response is %v, want status %v", rest, out.Status)
		}
	case Aborted:
		if answered && rest[0].Status < 400 {
			return fmt.Sprintf("response is %v, want an error or none", rest[0])
		}
	}
	switch {
	case got.tail != "":
		return fmt.Sprintf("behind the last response: %.200q", got.tail)
	case got.open && (out.End == Closed || out.End == Rejected || out.End == Aborted):
		return "the connection is still open"
	case !got.open && out.End == Open:
		return "the connection is no longer open"
	}
	return timedOut(rest)
}

// timedOut says so if a response did not come in time.
func timedOut(rest []*proxytest.Response) string {
	for _, res := range rest {
		if ne, ok := res.Err.(interface{ Timeout() bool }); ok && ne.Timeout() {
			return "the proxy neither answers nor closes"
		}
	}
	return ""
}

// judge returns how req differs from m, or "".
func (m Message) judge(req *proxytest.RecordedRequest) string {
	switch {
	case req.Method != m.Method || req.Target != m.Target:
		return fmt.Sprintf("%s %.100q, want %s %.100q", req.Method, req.Target, m.Method, m.Target)
	case req.Text() != m.Body:
		return fmt.Sprintf("body %.100q, want %.100q", req.Body, m.Body)
	case m.Host != "" && req.Fields.Get("Host") != m.Host:
		return fmt.Sprintf("Host %q, want %q", req.Fields.Get("Host"), m.Host)
	}
	lines := slices.Concat(strings.Split(req.Fields.String(), "\n"), strings.Split(req.Trailers.String(), "\n"))
	for _, want := range m.Has {
		if !anyLine(lines, want, func(got, want string) bool { return got == want }) {
			return fmt.Sprintf("field %q is missing from %q", want, lines)
		}
	}
	for _, unwanted := range m.Lacks {
		if anyLine(lines, unwanted, strings.Contains) {
			return fmt.Sprintf("field %q should not be in %q", unwanted, lines)
		}
	}
	return ""
}

// anyLine reports whether a line has the name in want and, if want has a
// value, one that matches it.
func anyLine(lines []string, want string, matches func(got, want string) bool) bool {
	name, value, hasValue := strings.Cut(want, ": ")
	return slices.ContainsFunc(lines, func(line string) bool {
		n, v, _ := strings.Cut(line, ": ")
		return strings.EqualFold(n, name) && (!hasValue || matches(v, value))
	})
}

// String describes o for a failure message.
func (o observed) String() string {
	var b strings.Builder
	for _, res := range o.responses {
		fmt.Fprintf(&b, "response %v; ", res)
	}
	fmt.Fprintf(&b, "connection open: %v; the origin received", o.open)
	for _, req := range o.requests {
		fmt.Fprintf(&b, " %.300q + %.100q,", req.Head, req.Body)
	}
	for _, req := range o.cut {
		fmt.Fprintf(&b, " cut %.300q + %.100q,", req.Head, req.Body)
	}
	return b.String()
}

// String describes out for a failure message.
func (out Outcome) String() string {
	var b strings.Builder
	for _, m := range out.Forwarded {
		fmt.Fprintf(&b, "%s %.40s + %.40q, ", m.Method, m.Target, m.Body)
	}
	b.WriteString(string(out.End))
	if len(out.Status) > 0 {
		fmt.Fprintf(&b, " %v", out.Status)
	}
	return b.String()
}
