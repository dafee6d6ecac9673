// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package h2spec

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/belay-proxy/belay/internal/testtool"
)

// minCases is the least number of cases that a run must have: h2spec 2.2.1 has
// 146. A run with fewer has tested nothing.
const minCases = 146

// A Target is a server to test.
type Target struct {
	Addr string // host and port
	TLS  bool   // speak TLS, whatever the certificate
	Path string // of requests; "" means "/". GET, HEAD and POST must work.
}

// A Case is one test of the suite and its outcome.
type Case struct {
	Section string // such as "http2/6.9.1"
	Title   string
	Skipped bool
	Failure string // what was wanted and what came, "" if it passed
}

// Run runs the suite, its strict cases included, and fails t for each case that
// fails. It skips t, or fails it, if the program h2spec is not installed:
// see testtool.Look.
func Run(t *testing.T, target Target) {
	t.Helper()
	program := testtool.Look(t, "h2spec")
	report := filepath.Join(t.TempDir(), "report.xml")
	host, port, err := net.SplitHostPort(target.Addr)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--strict", "--timeout", "20", "--host", host, "--port", port, "--junit-report", report}
	if target.Path != "" {
		args = append(args, "--path", target.Path)
	}
	if target.TLS {
		args = append(args, "--tls", "--insecure")
	}
	out, runErr := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](runErr); runErr != nil && !exited {
		t.Fatal(runErr)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("no report: %v\n%s", err, out)
	}
	cases, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	skipped, failed := 0, 0
	for _, c := range cases {
		switch {
		case c.Skipped:
			skipped++
			t.Logf("skipped: %s: %s", c.Section, c.Title)
		case c.Failure != "":
			failed++
			t.Errorf("%s: %s\n%s", c.Section, c.Title, c.Failure)
		}
	}
	if len(cases) < minCases {
		t.Errorf("%d cases, want at least %d\n%s", len(cases), minCases, out)
	}
	t.Logf("h2spec: %d of %d cases passed, %d skipped", len(cases)-skipped-failed, len(cases), skipped)
}

// parse reads a report in the format of JUnit.
func parse(report []byte) ([]Case, error) {
	var doc struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Title   string    `xml:"classname,attr"`
				Skipped *struct{} `xml:"skipped"`
				Failure *struct {
					Text string `xml:",chardata"`
				} `xml:"failure"`
				Error *struct {
					Text string `xml:",chardata"`
				} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.NewDecoder(bytes.NewReader(report)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var cases []Case
	for _, s := range doc.Suites {
		for _, c := range s.Cases {
			out := Case{Section: s.Package, Title: c.Title, Skipped: c.Skipped != nil}
			if c.Failure != nil {
				out.Failure = "failed: " + c.Failure.Text
			} else if c.Error != nil {
				out.Failure = "error: " + c.Error.Text
			}
			cases = append(cases, out)
		}
	}
	return cases, nil
}
