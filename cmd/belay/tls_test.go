// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/app/apptest"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// fetch sends one request on a connection of its own, over HTTP/1.1 or HTTP/2,
// with TLS if there is a cfg.
func fetch(addr string, http2 bool, cfg *tls.Config) (body string, err error) {
	url, protocols := "http://"+addr, new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2 && cfg == nil)
	protocols.SetHTTP2(http2 && cfg != nil)
	if cfg != nil {
		url = "https://" + addr
	}
	t := &http.Transport{TLSClientConfig: cfg, Protocols: protocols}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t, Timeout: 20 * time.Second}).Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != 200 || (res.ProtoMajor == 2) != http2) {
		err = fmt.Errorf("response is %s %s", res.Proto, res.Status)
	}
	return string(b), err
}

// trusting returns what a client of name needs that trusts only the authority.
func trusting(ca *testcert.CA, name string) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), ServerName: name}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	dir, ca := t.TempDir(), testcert.NewCA(t, "root")
	var args []string
	for _, name := range []string{"a.example", "b.example"} {
		cert, key := testcert.Write(t, dir, name, ca.Issue(t, testcert.Spec{Names: []string{name}}))
		args = append(args, "--cert", cert, "--key", key)
	}
	p := apptest.Start(t, "belay", append([]string{"proxy", "--https", "127.0.0.1:0", "--to", origin}, args...)...)
	addr := p.Find(`belay listens on https://(\S+) for`)
	for _, name := range []string{"a.example", "b.example"} {
		for _, http2 := range []bool{false, true} {
			if body, err := fetch(addr, http2, trusting(ca, name)); err != nil || body != "one" {
				t.Errorf("%s, HTTP/2 %v: %q, %v", name, http2, body, err)
			}
		}
	}
	if _, err := fetch(addr, false, trusting(testcert.NewCA(t, "other"), "a.example")); err == nil {
		t.Error("a client that trusts another authority is content")
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
}

func TestH2C(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	_, addr := startProxy(t, "--h2c", "--to", origin)
	for _, http2 := range []bool{false, true} {
		if body, err := fetch(addr, http2, nil); err != nil || body != "one" {
			t.Errorf("HTTP/2 %v: %q, %v", http2, body, err)
		}
	}
}

// TestBadCertificates checks that a wrong file is found at the start and by -t.
func TestBadCertificates(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), testcert.NewCA(t, "root")
	spec := testcert.Spec{Names: []string{"a.example"}}
	cert, key := testcert.Write(t, dir, "good", ca.Issue(t, spec))
	_, otherKey := testcert.Write(t, dir, "other", ca.Issue(t, spec))
	spec.NotBefore, spec.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	oldCert, oldKey := testcert.Write(t, dir, "old", ca.Issue(t, spec))
	access := filepath.Join(dir, "access.log")
	tests := []struct{ name, cert, key, want string }{
		{"good", cert, key, "configuration test passed"},
		{"missing", dir + "/none.crt", key, "none.crt: no such file"},
		{"not PEM", "main.go", key, "it has no PEM block"},
		{"not a pair", cert, otherKey, "private key does not match"},
		{"expired", oldCert, oldKey, "old.crt: it expired at"},
	}
	for _, tt := range tests {
		for _, test := range []bool{true, false} {
			if tt.name == "good" && !test {
				continue // it would go on running
			}
			args := []string{"proxy", "--https", "127.0.0.1:0", "--cert", tt.cert, "--key", tt.key, "--to", "127.0.0.1:1", "--access-log", access}
			if test {
				args = append(args, "-t")
			}
			p, code := apptest.Run(t, "belay", args...)
			if want := map[bool]int{true: 0, false: 1}[tt.name == "good"]; code != want || !strings.Contains(p.Output(), tt.want) {
				t.Errorf("%s, -t %v: exit code %d, printed %q, want %d and %q", tt.name, test, code, p.Output(), want, tt.want)
			}
			if test {
				if _, err := os.Lstat(access); err == nil {
					t.Errorf("%s: -t has left an access log", tt.name)
				}
			}
			os.Remove(access)
		}
	}
}

// secureProxy starts belay proxy with TLS in the background, with the
// certificate in dir, and returns its address.
func (p *place) secureProxy(dir string, args ...string) (addr string) {
	p.t.Helper()
	args = append([]string{"proxy", "-d", "--https", "127.0.0.1:0", "--cert", dir + "/a.crt", "--key", dir + "/a.key"}, args...)
	b := apptest.StartEnv(p.t, "belay", p.env(), args...)
	if code := b.Wait(); code != 0 {
		p.t.Fatalf("exit code %d: %s", code, b.Output())
	}
	p.t.Cleanup(p.killAll)
	return b.Find(`belay listens on https://(\S+) for`)
}

// TestReloadCertificate checks that belay reload needs no configuration file to
// read certificates.
func TestReloadCertificate(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p, dir, spec := newPlace(t), t.TempDir(), testcert.Spec{Names: []string{"a.example"}}
	first, next := testcert.NewCA(t, "first"), testcert.NewCA(t, "next")
	testcert.Write(t, dir, "a", first.Issue(t, spec))
	addr := p.secureProxy(dir, "--to", origin)
	if _, err := fetch(addr, true, trusting(first, "a.example")); err != nil {
		t.Error(err)
	}
	testcert.Write(t, dir, "a", next.Issue(t, spec))
	p.check(0, "reload", "reload") // what has changed has perhaps been noticed before
	if _, err := fetch(addr, true, trusting(next, "a.example")); err != nil {
		t.Errorf("after the reload: %v", err)
	}
	testcert.Replace(t, filepath.Join(dir, "a.key"), []byte("nonsense"))
	p.check(exitFailed, "a.key: it has no PEM block", "reload")
	if _, err := fetch(addr, false, trusting(next, "a.example")); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	p.check(0, "has ended", "stop")
}

// TestUpgradeTLS checks that clients resume their sessions with the new process.
func TestUpgradeTLS(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p, dir, ca := newPlace(t), t.TempDir(), testcert.NewCA(t, "root")
	testcert.Write(t, dir, "a", ca.Issue(t, testcert.Spec{Names: []string{"a.example"}}))
	access := filepath.Join(p.dir, "access.log")
	addr := p.secureProxy(dir, "--to", origin, "--access-log", access)

	var resumed bool
	cfg := trusting(ca, "a.example")
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		resumed = cs.DidResume
		return nil
	}
	for i, want := range []bool{false, true} {
		if body, err := fetch(addr, false, cfg); err != nil || body != "one" || resumed != want {
			t.Errorf("request %d: %q, %v, resumed %v, want %v", i+1, body, err, resumed, want)
		}
	}
	p.check(0, "has been replaced", "upgrade")
	if body, err := fetch(addr, false, cfg); err != nil || body != "one" || !resumed {
		t.Errorf("after the upgrade: %q, %v, resumed %v, want that the session goes on", body, err, resumed)
	}
	p.check(0, "has ended", "stop")
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the old one ends, too
		text, err := os.ReadFile(access)
		if n := strings.Count(string(text), "\"GET / HTTP/1.1\" 200 3 "); n == 3 {
			break
		} else if time.Now().After(late) {
			t.Fatalf("access log has %q, %v, want 3 lines", text, err)
		}
	}
}

func TestAccessLogToStdout(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t, "127.0.0.1:0", "one")
	p, addr := startProxy(t, "--access-log", "-", "--to", origin)
	if _, err := fetch(addr, false, nil); err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	if want := `"GET / HTTP/1.1" 200 3 "-" "Go-http-client/1.1" `; !strings.Contains(p.Stdout(), want) {
		t.Errorf("standard output has %q, want a line with %q", p.Stdout(), want)
	}
}
