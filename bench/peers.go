// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Names of the peers, for --peers and in the report.
const (
	nginxName   = "nginx"
	haproxyName = "haproxy"
	stdlibName  = "httputil"
	belayName   = "belay"
)

// A peer is a proxy that can be measured.
type peer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Skipped string `json:"skipped,omitempty"` // why it is not measured; "" if it is

	// command returns the command that runs the proxy in the foreground. It
	// may write files into set.dir, which is empty and removed afterwards.
	command func(set setup) (*exec.Cmd, error)

	// lacks returns why the peer cannot serve an access, "" if it can. Nil
	// means that it can serve all.
	lacks func(a access) string
}

// cannot returns why p cannot run s, "" if it can.
func (p *peer) cannot(s scenario) string {
	if p.lacks == nil {
		return ""
	}
	return p.lacks(s.access())
}

// A setup is what a peer needs to know to do the same work as the others.
type setup struct {
	dir         string   // for configuration and temporary files
	listen      string   // 127.0.0.1:PORT
	origins     []string // addresses, to be used in turn
	cores       int      // threads or worker processes
	conns       int      // client connections to expect at most
	descriptors int      // limit on open files
	access      access   // of clients
	certs       certificates
}

// connectionLimit is the number of connections, of both sides, to allow for.
func (s setup) connectionLimit() int { return 2*s.conns + 1024 }

// installed returns the peer for a program found in PATH or where
// distributions put servers. versionFlag makes the program print its version,
// of which pattern matches the interesting part.
func installed(name, versionFlag, pattern string, command func(program string, set setup) (*exec.Cmd, error)) peer {
	program, err := findProgram(name)
	if err != nil {
		return peer{Name: name, Skipped: "not installed"}
	}
	out, err := exec.Command(program, versionFlag).CombinedOutput()
	if err != nil {
		return peer{Name: name, Skipped: fmt.Sprintf("%s %s: %v", program, versionFlag, err)}
	}
	return peer{
		Name:    name,
		Version: string(regexp.MustCompile(pattern).Find(out)),
		command: func(set setup) (*exec.Cmd, error) { return command(program, set) },
	}
}

// findProgram is exec.LookPath with the directories that hold servers but are
// not in every user's PATH.
func findProgram(name string) (string, error) {
	if program, err := exec.LookPath(name); err == nil {
		return program, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin"} {
		if program, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return program, nil
		}
	}
	return "", exec.ErrNotFound
}

// A running is a peer that accepts connections.
type running struct {
	*process
	addr string
	dir  string
}

// start starts the peer on cpus and waits until it accepts connections. Its
// owner calls close. base.dir is the directory in which to make one for the
// peer; the other fields of base are the peer's.
func (p *peer) start(ctx context.Context, base setup, cpus []int) (_ *running, err error) {
	set := base
	if set.dir, err = os.MkdirTemp(base.dir, "peer-"); err != nil {
		return nil, err
	}
	r := &running{dir: set.dir}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if set.listen, err = freeAddress(); err != nil {
		return nil, err
	}
	cmd, err := p.command(set)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", p.Name, err)
	}
	if r.process, err = startProcess(p.Name, cmd, cpus); err != nil {
		return nil, err
	}
	r.addr = set.listen
	return r, r.awaitListening(ctx)
}

// close ends the peer and removes its files.
func (r *running) close() {
	if r.process != nil {
		r.stop()
	}
	_ = os.RemoveAll(r.dir)
}

// awaitListening returns once a connection has been accepted, or with an error
// if the peer ends or five seconds pass.
func (r *running) awaitListening(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Second, fmt.Errorf("%s does not accept connections", r.name))
	defer cancel()
	for {
		if conn, err := net.DialTimeout("tcp", r.addr, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case <-r.ended:
			return r.failure()
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), outputOf(r.stderr))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// outputOf returns what t holds as an error, nil if that is nothing.
func outputOf(t *tail) error {
	if text := strings.TrimSpace(t.String()); text != "" {
		return errors.New(text)
	}
	return nil
}

// freeAddress returns an address on 127.0.0.1 that was free a moment ago.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// verify returns an error unless the proxy at addr does the work that all are
// to do: it rewrites Host, appends the client's address to X-Forwarded-For and
// takes the origins in turn over connections that it keeps.
func verify(a access, addr string, origins int) error {
	exchange, done, err := a.exchanger(addr)
	if err != nil {
		return err
	}
	defer done()
	seen := make(map[string]int)
	for range 2 * origins {
		origin, err := verifyOne(exchange)
		if err != nil {
			return err
		}
		seen[origin]++
	}
	if len(seen) != origins {
		return fmt.Errorf("used %d of %d origins for %d requests, want all in turn", len(seen), origins, 2*origins)
	}
	return nil
}

// verifyOne does one exchange with the echo of an origin, of which it returns
// the address.
func verifyOne(exchange func() (*http.Response, error)) (origin string, err error) {
	res, err := exchange()
	if err != nil {
		return "", fmt.Errorf("exchange: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Close {
		return "", fmt.Errorf("response is %q, close %t; want 200 on a kept connection", res.Status, res.Close)
	}
	got, err := http.ReadRequest(bufio.NewReader(res.Body))
	if err != nil {
		return "", fmt.Errorf("read the head that the origin received: %w", err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return "", err
	}
	if got.Host != hostWanted {
		return "", fmt.Errorf("origin received Host %q, want %q", got.Host, hostWanted)
	}
	if forwarded := strings.Join(got.Header.Values("X-Forwarded-For"), ", "); !strings.HasSuffix(forwarded, "127.0.0.1") {
		return "", fmt.Errorf("origin received X-Forwarded-For %q, want the client's address at its end", forwarded)
	}
	if got.Close {
		return "", errors.New("origin was asked to close the connection")
	}
	return res.Header.Get("X-Origin"), nil
}
