// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package testssl

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/internal/testtool"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// host is the name that the certificates are for.
const host = "origin.test"

// A finding is one line of the report.
type finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	Finding  string `json:"finding"`
}

// good are the severities that take nothing from a grade. LOW, MEDIUM, HIGH,
// CRITICAL and WARN, which is a check that could not be made, are the others.
var good = []string{"OK", "INFO"}

// excused are findings about what the test brings and not about the listener,
// with the reason.
var excused = map[string]string{
	"engine_problem":       "about OpenSSL on the machine that tests",
	"QUIC":                 "not spoken, and not tested with an older OpenSSL",
	"cert_serialNumberLen": "the authority of the test counts from 1",
	"cert_revocation":      "the authority of the test does not revoke",
	"DNS_CAArecord":        "the name of the test is in no DNS",
	"security_headers":     "those are for origins and hooks to send",
	"TLS_session_ticket":   "crypto/tls announces 7 days; the keys are gone after 24 hours at most",
}

// serve serves a proxy behind TLS with the defaults of the listener and returns
// the port. The certificates are of both kinds.
func serve(t *testing.T, ca *testcert.CA) (port string) {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=63072000") // an origin's to send
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(origin.Close)
	discard := slog.New(slog.DiscardHandler)
	p, err := proxy.New(proxy.Config{Logger: discard}, proxy.Hooks[struct{}]{
		UpstreamPeer: func(*proxy.Session, *struct{}) (*upstream.Peer, error) {
			return &upstream.Peer{Addr: origin.Listener.Addr().String()}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Connector().Close)
	var certificates []tls.Certificate
	for _, isRSA := range []bool{false, true} {
		spec := testcert.Spec{Names: []string{host}, RSA: isRSA, NotAfter: time.Now().Add(90 * 24 * time.Hour)}
		certificates = append(certificates, ca.Issue(t, spec))
	}
	store, err := cert.New(cert.Config{Certificates: certificates, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	secure, err := listener.NewTLS(listener.TLSConfig{Certificates: store, Logger: discard}, p)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err = net.SplitHostPort(proxytest.Listen(t, secure))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// report runs testssl.sh against host on port and returns what it finds.
func report(t *testing.T, program string, ca *testcert.CA, port string) (findings []finding) {
	t.Helper()
	dir := t.TempDir()
	caFile, reportFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "report.json")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--quiet", "--warnings", "batch", "--color", "0", "--add-ca", caFile,
		"--jsonfile", reportFile, "--ip", "127.0.0.1", net.JoinHostPort(host, port))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput() // its exit status counts what it remarks on
	b, readErr := os.ReadFile(reportFile)
	if readErr != nil || json.Unmarshal(b, &findings) != nil {
		t.Fatalf("there is no report: %v, %v\n%s", err, readErr, out)
	}
	return findings
}

func TestGrade(t *testing.T) {
	program := testtool.Look(t, "testssl", "testssl.sh")
	ca := testcert.NewCA(t, "root")
	findings := report(t, program, ca, serve(t, ca))
	count := map[string]int{}
	seen := map[string]bool{}
	for _, f := range findings {
		count[f.Severity]++
		seen[f.ID] = true
		// With two certificates, what is about one has its number behind it.
		name, _, _ := strings.Cut(f.ID, " ")
		reason, ok := excused[name]
		switch {
		case f.ID == "overall_grade":
			t.Logf("testssl: overall grade %s", f.Finding)
			if !strings.HasPrefix(f.Finding, "A") {
				t.Errorf("the grade is %s, want A or better", f.Finding)
			}
		case slices.Contains(good, f.Severity):
		case ok:
			t.Logf("%s %s: %s; excused: %s", f.Severity, f.ID, f.Finding, reason)
		default:
			t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	// A run that was cut short has found nothing.
	for _, id := range []string{"TLS1_2", "TLS1_3", "ALPN_HTTP2", "heartbleed", "ROBOT", "secure_renego", "RC4", "HSTS_time"} {
		if !seen[id] {
			t.Errorf("the report says nothing about %s", id)
		}
	}
	var summary []string
	for _, severity := range slices.Sorted(maps.Keys(count)) {
		summary = append(summary, fmt.Sprint(count[severity], " ", severity))
	}
	t.Logf("testssl: %d findings: %s", len(findings), strings.Join(summary, ", "))
}
