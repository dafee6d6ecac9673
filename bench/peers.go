// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// A peer is a proxy that can be measured.
type peer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Skipped string `json:"skipped,omitempty"` // why it is not measured; "" if it is
	Failed  string `json:"failed,omitempty"`  // why it cannot be measured though it should

	// Differs says in which way its work differs from that of the others, as
	// far as it can: what its kind brings with it, and what verify finds.
	Differs []string `json:"differs,omitempty"`

	// command returns the command that runs the proxy in the foreground. It
	// may write files into set.dir, which is empty and removed afterwards.
	command func(set setup) (*exec.Cmd, error)

	// lacks returns why the peer cannot serve an access, "" if it can. Nil
	// means that it can serve all.
	lacks func(a access) string

	// features are those that command can set the peer up for.
	features map[feature]bool

	// happen upgrades or reloads the peer that runs with set. It is not nil if
	// features has either.
	happen func(ctx context.Context, set setup, e event) error

	unfit map[access]string // what it failed to do when it was verified
}

// cannot returns why p cannot run s, "" if it can.
func (p *peer) cannot(s scenario) string {
	if why := p.cannotServe(s.access()); why != "" {
		return why
	}
	for _, f := range s.needs() {
		if !p.features[f] {
			return "is not set up for " + string(f)
		}
	}
	return ""
}

// cannotServe returns why p cannot serve a, "" if it can.
func (p *peer) cannotServe(a access) string {
	if why := p.unfit[a]; why != "" {
		return why
	}
	if p.lacks == nil {
		return ""
	}
	return p.lacks(a)
}

// A setup is what a peer needs to know to do the same work as the others.
type setup struct {
	dir         string   // for configuration and temporary files
	listen      string   // 127.0.0.1:PORT
	origins     []string // addresses, to be used in turn
	cores       int      // threads or worker processes
	conns       int      // client connections to expect at most
	body        int64    // bytes of the larger body, of requests and responses
	descriptors int      // limit on open files
	access      access   // of clients
	certs       certificates
	cpus        []int    // of the proxy
	upstream    upstream // what origins speak
	event       event    // what will happen to it
	log         bool     // write an access log, to the file logFile()
}

// logFile is where the peer writes its access log.
func (s setup) logFile() string { return filepath.Join(s.dir, "access.log") }

// largeBody is the size from which on a body is worth other settings.
const largeBody = 1 << 20

// connectionLimit is the number of connections, of both sides, to allow for.
func (s setup) connectionLimit() int { return 2*s.conns + len(s.origins) + 1024 }

// pool is the number of idle connections to keep to each origin: more than are
// ever open.
func (s setup) pool() int { return max(1024, s.conns, 2*len(s.origins)) }

// scheme returns the scheme of clients' requests.
func (s setup) scheme() string { return s.access.scheme() }

// port returns the port of listen.
func (s setup) port() string { return s.listen[strings.LastIndexByte(s.listen, ':')+1:] }

// write writes text to a file of this name in the peer's directory and returns
// its path.
func (s setup) write(name, text string) (file string, err error) {
	file = filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// fill writes what text makes of values to a file of this name in the peer's
// directory and returns its path.
func (s setup) fill(name string, text *template.Template, values any) (file string, err error) {
	var b strings.Builder
	if err := text.Execute(&b, values); err != nil {
		return "", err
	}
	return s.write(name, b.String())
}

// A running is a peer that accepts connections.
type running struct {
	*process
	addr string
	set  setup
}

// start starts the peer on cpus and waits until it accepts connections. Its
// owner calls close. base.dir is the directory in which to make one for the
// peer; the other fields of base are the peer's.
func (p *peer) start(ctx context.Context, base setup, cpus []int) (_ *running, err error) {
	set := base
	set.cpus = cpus
	if set.dir, err = os.MkdirTemp(base.dir, "peer-"); err != nil {
		return nil, err
	}
	r := &running{set: set}
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
	r.process, err = startProcess(p.Name, cmd, cpus)
	if out, ok := cmd.Stdout.(*os.File); ok {
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		return nil, err
	}
	r.tree.adopts = true
	r.addr, r.set = set.listen, set
	return r, r.awaitListening(ctx)
}

// close ends the peer and removes its files.
func (r *running) close() {
	if r.process != nil {
		r.stop()
	}
	_ = os.RemoveAll(r.set.dir)
}

// awaitListening returns once the peer has accepted a connection, or with an
// error if it ends, five seconds pass, or another process has its port.
func (r *running) awaitListening(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Second, fmt.Errorf("%s does not accept connections", r.name))
	defer cancel()
	ended := r.ended
	for {
		if conn, err := net.DialTimeout("tcp", r.addr, time.Second); err == nil {
			return errors.Join(conn.Close(), r.checkListening())
		}
		select {
		case <-ended:
			if r.err != nil {
				return r.failure()
			}
			ended = nil // it runs in the background
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), outputOf(r.stderr))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// checkListening returns an error unless it is the peer that listens.
func (r *running) checkListening() error {
	ok, err := r.tree.listens(r.addr)
	if err != nil {
		return fmt.Errorf("find who listens on %s: %w", r.addr, err)
	}
	if !ok {
		return fmt.Errorf("another process than %s listens on %s", r.name, r.addr)
	}
	return nil
}

// outputOf returns what t holds as an error, nil if that is nothing.
func outputOf(t *tail) error {
	if text := strings.TrimSpace(t.String()); text != "" {
		return errors.New(text)
	}
	return nil
}
