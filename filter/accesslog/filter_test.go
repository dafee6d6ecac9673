// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// sample is an entry in which nothing is special.
func sample() entry {
	return entry{
		client:    netip.MustParseAddr("192.0.2.1"),
		start:     time.Date(2026, 10, 10, 13, 55, 36, 0, time.FixedZone("", -7*3600)),
		method:    "GET",
		target:    "/a?b",
		proto:     "HTTP/1.1",
		status:    200,
		body:      2326,
		referer:   "https://example.com/",
		userAgent: "curl/8.5",
		took:      1204 * time.Microsecond,
		peer:      &upstream.Peer{Addr: "10.0.0.1:8080"},
	}
}

func TestEntry(t *testing.T) {
	t.Parallel()
	a, b := &upstream.Peer{Addr: "a:1"}, &upstream.Peer{Addr: "b:2"}
	const usual = `192.0.2.1 - - [10/Oct/2026:13:55:36 -0700] "GET /a?b HTTP/1.1" 200 2326 "https://example.com/" "curl/8.5" 0.001204 10.0.0.1:8080`
	tests := []struct {
		name     string
		change   func(*entry)
		old, new string // parts of the line
	}{
		{"usual", func(*entry) {}, "", ""},
		{"unix", func(e *entry) { e.client = netip.Addr{} }, "192.0.2.1 ", "unix: "},
		{"mapped", func(e *entry) { e.client = netip.MustParseAddr("::ffff:192.0.2.1") }, "", ""},
		{"IPv6", func(e *entry) { e.client = netip.MustParseAddr("2001:db8::1") }, "192.0.2.1 ", "2001:db8::1 "},
		{"no answer", func(e *entry) { e.status, e.body = 0, 0 }, "200 2326", "000 0"},
		{"nothing", func(e *entry) { e.referer, e.userAgent, e.peer = "", "", nil },
			`"https://example.com/" "curl/8.5" 0.001204 10.0.0.1:8080`, `"-" "-" 0.001204 -`},
		{"short", func(e *entry) { e.took = 999 * time.Nanosecond }, "0.001204", "0.000000"},
		{"long", func(e *entry) { e.took = time.Hour + 999_999*time.Microsecond }, "0.001204", "3600.999999"},
		{"clock set back", func(e *entry) { e.took = -time.Second }, "0.001204", "0.000000"},
		{"attempts", func(e *entry) { e.failed, e.peer = []*upstream.Peer{a, b}, a }, "10.0.0.1:8080", "a:1,b:2,a:1"},
		{"no peer left", func(e *entry) { e.failed, e.peer = []*upstream.Peer{a, b}, b }, "10.0.0.1:8080", "a:1,b:2"},
		{"socket", func(e *entry) { e.peer = &upstream.Peer{Addr: "unix:/run/a b"} }, "10.0.0.1:8080", `unix:/run/a\x20b`},
		{"forged line", func(e *entry) { e.userAgent = "x\"\r\n1.2.3.4 - -" }, "curl/8.5", `x\x22\x0D\x0A1.2.3.4 - -`},
		{"terminal", func(e *entry) { e.target = "/\x1b[2J\\\x7f\x9b" }, "/a?b", `/\x1B[2J\x5C\x7F\x9B`},
		{"UTF-8", func(e *entry) { e.referer = "é" }, "https://example.com/", `\xC3\xA9`},
		{"method", func(e *entry) { e.method = "A\"B" }, "GET", `A\x22B`},
	}
	for _, tt := range tests {
		e := sample()
		tt.change(&e)
		want := strings.Replace(usual, tt.old, tt.new, 1) + "\n"
		if got := string(e.append(nil)); got != want {
			t.Errorf("%s: line is\n%swant\n%s", tt.name, got, want)
		}
	}
}

// form is what every line looks like, whatever is in it.
var form = regexp.MustCompile(`^\S+ - - \[[^\]"]+\] "[ -!#-\[\]-~\\]*" \d{3} \d+ "[ -!#-~]+" "[ -!#-~]+" \d+\.\d{6} \S+\n$`)

// Whatever clients send, a line is one line with its fields in their places,
// and can be read back.
func FuzzEntry(f *testing.F) {
	f.Add("GET", "/", "", "", "a:1")
	f.Add("A\"", "\n\\x22", "\x00", "\xff é", "unix:/a b,\tc")
	f.Fuzz(func(t *testing.T, method, target, referer, agent, peer string) {
		e := sample()
		e.method, e.target, e.referer, e.userAgent, e.peer = method, target, referer, agent, &upstream.Peer{Addr: peer + "p"}
		line := string(e.append(nil))
		if !form.MatchString(line) {
			t.Fatalf("line is %q", line)
		}
		quoted := strings.Split(line, `"`)
		for i, want := range map[int]string{1: method + " " + target + " HTTP/1.1", 3: referer, 5: agent} {
			if want == "" {
				want = "-"
			}
			if got := unescape(quoted[i]); got != want {
				t.Fatalf("field %d of %q is %q, want %q", i, line, got, want)
			}
		}
	})
}

var escaped = regexp.MustCompile(`\\x[0-9A-F]{2}`)

func unescape(s string) string {
	return escaped.ReplaceAllStringFunc(s, func(x string) string {
		const hex = "0123456789ABCDEF"
		return string([]byte{byte(strings.IndexByte(hex, x[2])<<4 | strings.IndexByte(hex, x[3]))})
	})
}

// TestFilter checks what a proxy passes on to the log.
func TestFilter(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.BodySize(100_000))
	refusing := proxytest.NewOrigin(t, proxytest.Refuse())
	var out bytes.Buffer
	log := New(&out, nil)
	type state struct{ attempts int }
	p, err := proxy.New(proxy.Config{}, proxy.Chain(Filter[state](log), proxy.Hooks[state]{
		UpstreamPeer: func(s *proxy.Session, st *state) (*upstream.Peer, error) {
			if st.attempts++; st.attempts == 1 && s.Request().Target == "/retry" {
				return &upstream.Peer{Addr: refusing.Addr()}, nil
			}
			return &upstream.Peer{Addr: origin.Addr()}, nil
		},
		RequestFilter: func(s *proxy.Session, _ *state) (bool, error) {
			if s.Request().Target != "/no" {
				return false, nil
			}
			return true, s.Respond(403, "go away\n")
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Connector().Close)
	url, stop := proxytest.Serve(p)
	defer stop()
	client := proxytest.NewClient(t, url)
	tests := []struct{ request, want string }{
		{client.Request("GET", "/", "", "User-Agent", "me", "Referer", "there"),
			`"GET / HTTP/1.1" 200 100000 "there" "me" \d+\.\d{6} ` + origin.Addr()},
		{client.Request("HEAD", "/", ""), `"HEAD / HTTP/1.1" 200 0 "-" "-" \d+\.\d{6} ` + origin.Addr()},
		{client.Request("GET", "/no", ""), `"GET /no HTTP/1.1" 403 8 "-" "-" \d+\.\d{6} -`},
		{client.Request("GET", "/retry", ""), `"GET /retry HTTP/1.1" 200 100000 "-" "-" \d+\.\d{6} ` + refusing.Addr() + "," + origin.Addr()},
	}
	for _, tt := range tests {
		if res := client.Do(tt.request); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	stop() // a line comes after its response
	log.Flush()
	lines := strings.Split(out.String(), "\n")
	if len(lines) != len(tests)+1 {
		t.Fatalf("the log is %q, want %d lines", lines, len(tests))
	}
	for i, tt := range tests {
		want := `^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:[0-9:]{8} [+-]\d{4}\] ` + tt.want + `$`
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %d is %q, want %s", i, lines[i], want)
		}
	}
}
