// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/app/apptest"
	"github.com/belay-proxy/belay/internal/testtool"
	"github.com/belay-proxy/belay/proxytest"
)

// page tells what it was fetched with.
const page = `<!DOCTYPE html>
<html><body><p>hello from the origin</p><p id="protocol"></p><script>
document.getElementById("protocol").textContent =
	"by " + performance.getEntriesByType("navigation")[0].nextHopProtocol;
</script></body></html>
`

// startBoth starts the program in front of the page, on free ports with TLS and
// without, and with no certificate of its own.
func startBoth(t *testing.T) (plain, secure string, o *proxytest.Origin) {
	t.Helper()
	o = proxytest.NewOrigin(t, proxytest.Body(page), proxytest.Field("Content-Type", "text/html"))
	p := apptest.Start(t, "loadbalancer", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--backend", o.Addr())
	plain = p.Find(`msg=listening .*service="load balancer" addr=(\S+)`)
	secure = p.Find(`msg=listening .*service="load balancer with TLS" addr=(\S+)`)
	return "http://" + plain + "/", "https://" + secure + "/", o
}

// run runs a program to its end and returns what it prints on its standard
// output.
func run(t *testing.T, limit time.Duration, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", program, args, err, out, stderr.Bytes())
	}
	return string(out)
}

func TestCurl(t *testing.T) {
	t.Parallel()
	curl := testtool.Look(t, "curl")
	plain, secure, o := startBoth(t)
	for _, tt := range []struct{ option, url, version, scheme string }{
		{"--http1.1", plain, "1.1", "http"},
		{"--http1.1", secure, "1.1", "https"},
		{"--http2", secure, "2", "https"},
		{"--tlsv1.3", secure, "2", "https"},
	} {
		out := run(t, time.Minute, curl, "--silent", "--show-error", "--insecure", "--noproxy", "*", tt.option,
			"--write-out", "%{http_version} %{http_code}", tt.url)
		if want := page + tt.version + " 200"; out != want {
			t.Errorf("curl %s %s printed %q, want %q", tt.option, tt.url, out, want)
		}
		requests := o.Requests()
		if got := requests[len(requests)-1].Fields.Get("X-Forwarded-Proto"); got != tt.scheme {
			t.Errorf("curl %s %s: the origin received X-Forwarded-Proto %q, want %q", tt.option, tt.url, got, tt.scheme)
		}
	}
}

func TestChromium(t *testing.T) {
	t.Parallel()
	chromium := testtool.Look(t, "chromium", "chromium-browser", "google-chrome")
	plain, secure, _ := startBoth(t)
	for url, protocol := range map[string]string{plain: "http/1.1", secure: "h2"} {
		out := run(t, 2*time.Minute, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
			"--ignore-certificate-errors", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--no-proxy-server", "--user-data-dir="+t.TempDir(), "--dump-dom", url)
		for _, want := range []string{"hello from the origin", ">by " + protocol + "<"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the document is %q, want it to contain %q", url, out, want)
			}
		}
	}
}
