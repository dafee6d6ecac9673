// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/internal/app"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxytest"
)

// pairOf writes a certificate for names and returns its files.
func pairOf(t *testing.T, ca *testcert.CA, names ...string) cert.Pair {
	t.Helper()
	c, k := testcert.Write(t, t.TempDir(), "server", ca.Issue(t, testcert.Spec{Names: names}))
	return cert.Pair{Cert: c, Key: k}
}

// A version is how a client or a server speaks HTTP.
type version int

const (
	http1 version = iota
	http2         // over TLS by ALPN, without TLS by prior knowledge
)

func (v version) protocols(secure bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(v == http1)
	p.SetHTTP2(v == http2 && secure)
	p.SetUnencryptedHTTP2(v == http2 && !secure)
	return p
}

// fetch sends one request on a connection of its own.
func fetch(url string, v version, cfg *tls.Config) (*http.Response, string, error) {
	tr := &http.Transport{TLSClientConfig: cfg, Protocols: v.protocols(strings.HasPrefix(url, "https:"))}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get(url)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

func TestProxyHTTPS(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.Body("hello"))
	ca := testcert.NewCA(t, "root")
	ready := make(writes, 1)
	cfg := quiet(origin.Addr())
	cfg.Listen = nil
	cfg.HTTPS = []string{"127.0.0.1:0"}
	cfg.Certificates = []cert.Pair{pairOf(t, ca, "one.example"), pairOf(t, ca, "two.example")}
	cfg.Ready = ready
	addr := start(t, cfg)
	line := ready.next(t)
	if want := fmt.Sprintf("belay listens on https://%s for %s; TCP health check\n", addr, origin.Addr()); line != want {
		t.Errorf("line is %q, want %q", line, want)
	}
	for _, v := range []version{http1, http2} {
		for _, name := range []string{"one.example", "two.example"} {
			res, body, err := fetch("https://"+addr+"/", v, &tls.Config{RootCAs: ca.Pool(), ServerName: name})
			if err != nil || body != "hello" || (res.ProtoMajor == 2) != (v == http2) {
				t.Errorf("version %d, %s: %v, %q, %v", v, name, res, body, err)
			}
		}
	}
	for _, req := range origin.Requests() {
		if got := req.Fields.Get("X-Forwarded-Proto"); got != "https" {
			t.Errorf("origin received X-Forwarded-Proto %q, want https", got)
		}
	}
}

func TestProxyTLSProfile(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t)
	ca := testcert.NewCA(t, "root")
	for profile, ok := range map[listener.TLSProfile]bool{listener.Intermediate: true, listener.Modern: false} {
		cfg := quiet(origin.Addr())
		cfg.Listen, cfg.HTTPS = nil, []string{"127.0.0.1:0"}
		cfg.Certificates = []cert.Pair{pairOf(t, ca, "a.example")}
		cfg.TLSProfile = profile
		addr := start(t, cfg)
		client := &tls.Config{RootCAs: ca.Pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12}
		if _, _, err := fetch("https://"+addr, http1, client); (err == nil) != ok {
			t.Errorf("profile %d: TLS 1.2 fails with %v, want that it is taken: %v", profile, err, ok)
		}
	}
}

// Plain and secure listeners have one pool and one readiness line.
func TestProxyBothListeners(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.Body("both"))
	ca := testcert.NewCA(t, "root")
	ready := make(writes, 1)
	cfg := quiet(origin.Addr())
	cfg.HTTPS = []string{"127.0.0.1:0"}
	cfg.Certificates = []cert.Pair{pairOf(t, ca, "a.example")}
	cfg.Ready = ready
	start(t, cfg)
	line := ready.next(t)
	found := regexp.MustCompile(`listens on http://(\S+) and https://(\S+) for`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("line is %q, want both addresses", line)
	}
	proxytest.NewClient(t, found[1]).Get("/").Check(t, 200, "both")
	_, body, err := fetch("https://"+found[2], http2, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.example"})
	if err != nil || body != "both" {
		t.Errorf("with TLS: %q, %v", body, err)
	}
}

// discardLog is for servers whose clients come and go without a word.
var discardLog = log.New(io.Discard, "", 0)

// startUpstream starts a server that answers with what it speaks, and whom the
// client asked for by SNI.
func startUpstream(t *testing.T, v version, secure *tls.Config) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		TLSConfig: secure,
		Protocols: v.protocols(secure != nil),
		ErrorLog:  discardLog,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sni := "none"
			if r.TLS != nil {
				sni = r.TLS.ServerName
			}
			fmt.Fprintf(w, "%s %s", r.Proto, sni)
		}),
	}
	ended := make(chan error, 1)
	go func() {
		if secure != nil {
			ended <- s.ServeTLS(l, "", "")
		} else {
			ended <- s.Serve(l)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("upstream: %v", err)
		}
	})
	return l.Addr().String()
}

// parse returns backends as the command line names them.
func parse(t *testing.T, names ...string) (list []balancer.Backend) {
	t.Helper()
	for _, name := range names {
		b, err := app.ParseBackend(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

func caFile(t *testing.T, ca *testcert.CA) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func upstreamTLS(t *testing.T, ca *testcert.CA) *tls.Config {
	c := ca.Issue(t, testcert.Spec{Names: []string{"localhost", "127.0.0.1", "other.example"}})
	return &tls.Config{Certificates: []tls.Certificate{c}}
}

// onLocalhost returns addr by name.
func onLocalhost(addr string) string { return "localhost" + addr[strings.LastIndexByte(addr, ':'):] }

func TestProxyUpstreamSchemes(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	plain, h2c, https := startUpstream(t, http1, nil), startUpstream(t, http2, nil), startUpstream(t, http1, upstreamTLS(t, ca))
	checkUpstreams(t, ca, []upstreamTest{
		{"plain", plain, nil, "HTTP/1.1 none"},
		{"http", "http://" + plain, nil, "HTTP/1.1 none"},
		{"h2c", "h2c://" + h2c, nil, "HTTP/2.0 none"},
		{"https", "https://" + onLocalhost(https), nil, "HTTP/1.1 localhost"},
		{"https by address", "https://" + https, nil, "HTTP/1.1 "}, // there is no SNI for addresses
		{"server name", "https://" + https, func(c *app.ProxyConfig) { c.UpstreamServerName = "other.example" }, "HTTP/1.1 other.example"},
		{"wrong server name", "https://" + https, func(c *app.ProxyConfig) { c.UpstreamServerName = "wrong.example" }, ""},
		{"unknown authority", "https://" + https, func(c *app.ProxyConfig) { c.UpstreamCA = caFile(t, testcert.NewCA(t, "other")) }, ""},
		{"not verified", "https://" + https, func(c *app.ProxyConfig) { c.UpstreamCA, c.UpstreamInsecureSkipVerify = "", true }, "HTTP/1.1 "},
	})
}

// An upstreamTest is a request to one backend.
type upstreamTest struct {
	name    string
	backend string
	change  func(*app.ProxyConfig)
	want    string // the answer; "" for 502
}

func checkUpstreams(t *testing.T, ca *testcert.CA, tests []upstreamTest) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := quiet()
			cfg.Backends = parse(t, tt.backend)
			cfg.UpstreamCA = caFile(t, ca)
			cfg.MaxRetries = -1
			if tt.change != nil {
				tt.change(&cfg)
			}
			// The health check is on: a TCP check finds all of these well.
			res, body, err := fetch("http://"+start(t, cfg), http1, nil)
			switch {
			case err != nil:
				t.Fatal(err)
			case tt.want == "" && res.StatusCode != 502:
				t.Errorf("answer is %d %q, want 502", res.StatusCode, body)
			case tt.want != "" && (res.StatusCode != 200 || body != tt.want):
				t.Errorf("answer is %d %q, want %q", res.StatusCode, body, tt.want)
			}
		})
	}
}

// A backend with TLS and one on a Unix socket leave the rotation when they do
// not answer, and come back.
func TestProxyHealthOfUnixAndTLS(t *testing.T) {
	t.Parallel()
	unix := proxytest.NewOrigin(t, proxytest.OnUnix(), proxytest.Body("unix"))
	unix.Stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	changed := make(chan string, 10)
	cfg := quiet()
	cfg.Backends = parse(t, unix.Addr(), "https://"+dead)
	cfg.Health = health.Config{Interval: 20 * time.Millisecond}
	cfg.OnChange = func(b balancer.Backend, healthy bool) { changed <- fmt.Sprint(b.Addr, " ", healthy) }
	addr := start(t, cfg)
	down := map[string]bool{<-changed: true, <-changed: true}
	if !down[unix.Addr()+" false"] || !down[dead+" false"] {
		t.Errorf("changes are %v, want that both are down", down)
	}
	client := proxytest.NewClient(t, addr)
	client.Get("/").Check(t, 503, "503 Service Unavailable\n")
	unix.Start()
	if got, want := <-changed, unix.Addr()+" true"; got != want {
		t.Errorf("change is %q, want %q", got, want)
	}
	client.Get("/").Check(t, 200, "unix")
}

// startGRPC starts a server that answers every gRPC call with a health status.
func startGRPC(t *testing.T, secure *tls.Config, status byte) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{TLSConfig: secure, Protocols: http2.protocols(secure != nil), ErrorLog: discardLog,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/grpc.health.v1.Health/Check" {
				fmt.Fprint(w, "served")
				return
			}
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			w.Write([]byte{0, 0, 0, 0, 2, 0x08, status})
			w.Header().Set("Grpc-Status", "0")
		})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if secure != nil {
			_ = s.ServeTLS(l, "", "") // ends by Close
		} else {
			_ = s.Serve(l)
		}
	}()
	t.Cleanup(func() { s.Close(); <-ended })
	return l.Addr().String()
}

func TestProxyGRPCHealthCheck(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	serving, notServing := startGRPC(t, nil, 1), startGRPC(t, nil, 2)
	untrusted := startGRPC(t, &tls.Config{Certificates: []tls.Certificate{
		testcert.NewCA(t, "other").Issue(t, testcert.Spec{Names: []string{"127.0.0.1"}})}}, 1)
	for backend, status := range map[string]int{
		"h2c://" + serving: 200, "h2c://" + notServing: 503, "h2://" + untrusted: 503,
	} {
		checkGRPCHealth(t, ca, backend, status)
	}
}

// checkGRPCHealth fails t unless a proxy whose only backend is this one answers
// with status.
func checkGRPCHealth(t *testing.T, ca *testcert.CA, backend string, status int) {
	t.Helper()
	ready := make(writes, 1)
	cfg := quiet()
	cfg.Backends = parse(t, backend)
	cfg.HealthCheck = app.CheckGRPC
	cfg.UpstreamCA = caFile(t, ca)
	cfg.Ready = ready
	addr := start(t, cfg)
	if line := ready.next(t); !strings.Contains(line, "for "+backend+"; gRPC health check") {
		t.Errorf("line is %q", line)
	}
	if res, body, err := fetch("http://"+addr, http1, nil); err != nil || res.StatusCode != status {
		t.Errorf("%s: answer is %v %q, %v, want %d", backend, res, body, err, status)
	}
}

func TestParseHealthCheck(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]app.HealthCheck{
		"tcp": app.CheckTCP, "TCP": app.CheckTCP, "true": app.CheckTCP, "1": app.CheckTCP,
		"grpc": app.CheckGRPC, "false": app.CheckNone, "0": app.CheckNone,
	} {
		if got, err := app.ParseHealthCheck(s); err != nil || got != want {
			t.Errorf("ParseHealthCheck(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	if _, err := app.ParseHealthCheck("http"); err == nil || !strings.Contains(err.Error(), "want tcp, grpc or false") {
		t.Errorf("ParseHealthCheck(http) = %v, want an error", err)
	}
}

func TestProxyAccessLog(t *testing.T) {
	t.Parallel()
	origin := proxytest.NewOrigin(t, proxytest.Body("hello"))
	name := filepath.Join(t.TempDir(), "access.log")
	signals := make(chan os.Signal)
	cfg := quiet(origin.Addr())
	cfg.AccessLog, cfg.Signals = name, signals
	p, err := app.NewProxy(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { ended <- p.Run(ctx) }()
	<-p.Running()
	client := proxytest.NewClient(t, p.Addrs()[0].String())
	client.Get("/one").Check(t, 200, "hello")
	line := func(target string) *regexp.Regexp {
		return regexp.MustCompile(`^127\.0\.0\.1 - - \[[^]]+\] "GET ` + target + ` HTTP/1\.1" 200 5 "-" "-" \d\.\d{6} ` + regexp.QuoteMeta(origin.Addr()) + "\n$")
	}
	waitFor(t, name, line("/one")) // though nothing ends
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	signals <- syscall.SIGUSR1
	waitFor(t, name, regexp.MustCompile(`^$`))
	client.Get("/two").Check(t, 200, "hello")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if text, err := os.ReadFile(name); err != nil || !line("/two").Match(text) {
		t.Errorf("access log has %q, %v at the end, want the line about /two", text, err)
	}
}

// waitFor waits until a file is there and its content matches.
func waitFor(t *testing.T, name string, want *regexp.Regexp) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(name)
		if err == nil && want.Match(text) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%s has %q, %v, want %s", name, text, err, want)
		}
	}
}

func TestNewProxyTLSErrors(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	good, other := pairOf(t, ca, "a.example"), pairOf(t, ca, "a.example")
	for want, change := range map[string]func(*app.ProxyConfig){
		"there are no certificates":  func(c *app.ProxyConfig) { c.Certificates = nil },
		"private key does not match": func(c *app.ProxyConfig) { c.Certificates[0].Key = other.Key },
		"none.crt: no such file":     func(c *app.ProxyConfig) { c.Certificates[0].Cert = "none.crt" },
		"none.pem: no such file":     func(c *app.ProxyConfig) { c.UpstreamCA = "none.pem" },
		"access.log: no such file":   func(c *app.ProxyConfig) { c.AccessLog = "/nonexistent/access.log" },
		"background has no standard": func(c *app.ProxyConfig) { c.AccessLog = "-"; c.Options.Daemon = true },
		"has no usable certificate":  func(c *app.ProxyConfig) { c.UpstreamCA = good.Key },
	} {
		cfg := quiet("127.0.0.1:1")
		cfg.HTTPS = []string{"127.0.0.1:0"}
		cfg.Certificates = []cert.Pair{good}
		change(&cfg)
		if _, err := app.NewProxy(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewProxy = %v, want an error with %q", err, want)
		}
	}
}
