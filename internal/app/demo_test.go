// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// shown keeps what a demo shows.
type shown struct {
	mu      sync.Mutex
	buf     bytes.Buffer  // guarded by mu
	changed chan struct{} // closed and replaced by Write; guarded by mu
}

func newShown() *shown { return &shown{changed: make(chan struct{})} }

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.buf.Write(p)
}

func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// wait waits until text has been shown.
func (s *shown) wait(t *testing.T, text string) {
	t.Helper()
	for late := time.After(30 * time.Second); ; {
		s.mu.Lock()
		changed, found := s.changed, strings.Contains(s.buf.String(), text)
		s.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("the demo has not shown %q but:\n%s", text, s)
		}
	}
}

// TestDemoByItself is what somebody sees who only starts it.
func TestDemoByItself(t *testing.T) {
	t.Parallel()
	out := newShown()
	if err := Demo(t.Context(), DemoConfig{Addr: "127.0.0.1:0", Duration: 3 * time.Second, Out: out}); err != nil {
		t.Errorf("Demo = %v, want nil; it showed:\n%s", err, out)
	}
	from := 0
	for _, want := range []string{
		"answered by origin-1", "answered by origin-2", "answered by origin-3", "answered by origin-1",
		"curl -i http://127.0.0.1:", "curl -ik --http2 https://127.0.0.1:", "origin-2 is killed", "origin-2 is started again", ", 0 lost;", "origin-3  ",
	} {
		i := strings.Index(out.String()[from:], want)
		if i < 0 {
			t.Errorf("the demo has not shown %q, or not in its place; it showed:\n%s", want, out.String())
			continue
		}
		from += i
	}
}

// The demo can be reached with TLS, over both versions of HTTP, with a
// certificate that it has made.
func TestDemoTLS(t *testing.T) {
	t.Parallel()
	out := newShown()
	keys := make(chan byte)
	ended := make(chan error, 1)
	go func() { ended <- Demo(t.Context(), DemoConfig{Addr: "127.0.0.1:0", Out: out, Keys: keys}) }()
	out.wait(t, "From now on")
	url := regexp.MustCompile(`https://\S+/hello`).FindString(out.String())
	for _, h2 := range []bool{false, true} {
		var p http.Protocols
		p.SetHTTP1(!h2)
		p.SetHTTP2(h2)
		tr := &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr, Timeout: 30 * time.Second}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || (res.ProtoMajor == 2) != h2 || !strings.Contains(string(body), "/hello") {
			t.Errorf("h2 %v: got %s %d, %q, %v, want 200 with the request in it", h2, res.Proto, res.StatusCode, body, err)
		}
	}
	keys <- 'q'
	if err := <-ended; err != nil {
		t.Errorf("Demo = %v, want nil", err)
	}
}

func TestDemoKeys(t *testing.T) {
	t.Parallel()
	out := newShown()
	keys := make(chan byte)
	ended := make(chan error, 1)
	go func() {
		ended <- Demo(t.Context(), DemoConfig{Addr: "127.0.0.1:0", Out: out, Live: true, Keys: keys})
	}()
	keys <- '2'
	out.wait(t, "health check: origin-2 is out of the rotation")
	keys <- 'x'
	keys <- '2'
	out.wait(t, "health check: origin-2 is back in the rotation")
	keys <- 'q'
	if err := <-ended; err != nil {
		t.Errorf("Demo = %v, want nil", err)
	}
	if !strings.Contains(out.String(), ", 0 lost;") {
		t.Errorf("a request was lost; the demo showed:\n%s", out.String())
	}
}

func TestDemoReportsLoss(t *testing.T) {
	t.Parallel()
	out := newShown()
	keys := make(chan byte)
	ended := make(chan error, 1)
	go func() { ended <- Demo(t.Context(), DemoConfig{Addr: "127.0.0.1:0", Out: out, Keys: keys}) }()
	for _, key := range []byte("123") {
		keys <- key
	}
	out.wait(t, "a request was lost: answer is 50")
	keys <- 'q'
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "requests were lost") {
		t.Errorf("Demo = %v, want an error that says that requests were lost", err)
	}
}

func TestDemoEndsWithContext(t *testing.T) {
	t.Parallel()
	out := newShown()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Demo(ctx, DemoConfig{Addr: "127.0.0.1:0", Out: out}) }()
	out.wait(t, "requests per second")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Demo = %v, want nil", err)
	}
}

func TestDemoAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := newShown()
	err = Demo(t.Context(), DemoConfig{Addr: l.Addr().String(), Out: out})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Demo = %v, want an error that names %s", err, l.Addr())
	}
}

func TestScreenLimitsRequests(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newScreen(&out, false)
	s.start = time.Now().Add(-10*time.Second - 500*time.Millisecond)
	for range maxEvents + 5 {
		s.request("request")
	}
	if got := strings.Count(out.String(), "request\n"); got > 2*maxEvents {
		t.Errorf("%d lines shown, want at most %d in a second", got, maxEvents)
	}
	s.start = s.start.Add(-time.Second)
	s.request("request")
	if !strings.Contains(out.String(), "more requests in that second") {
		t.Errorf("shown: %q, want the number of those left out", out.String())
	}
}

func TestScreenKeepsStatusBelow(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newScreen(&out, true)
	s.setStatus("status")
	s.event("event")
	s.end()
	text := out.String()
	if i, j := strings.Index(text, "event\n"), strings.LastIndex(text, "status\n"); i < 0 || j < i {
		t.Errorf("written: %q, want the event and then the status again", text)
	}
}
