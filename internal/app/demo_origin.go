// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A demoOrigin is an origin of the demo: it answers each request with its
// name, a count, and the request as it saw it.
type demoOrigin struct {
	name     string
	addr     string // the same each time it starts; does not change
	requests atomic.Int64

	mu     sync.Mutex
	server *http.Server   // nil while it is down; guarded by mu
	serve  sync.WaitGroup // Serve of server
}

// startOrigin starts an origin on a free port of 127.0.0.1.
func startOrigin(name string) (*demoOrigin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	o := &demoOrigin{name: name, addr: l.Addr().String()}
	o.serveLocked(l)
	return o, nil
}

// start makes an origin that is down answer again.
func (o *demoOrigin) start() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		return fmt.Errorf("start %s: %w", o.name, err)
	}
	o.serveLocked(l)
	return nil
}

// serveLocked serves on l until stop.
func (o *demoOrigin) serveLocked(l net.Listener) {
	srv := &http.Server{Handler: http.HandlerFunc(o.answer)}
	o.server = srv
	o.serve.Go(func() { _ = srv.Serve(l) })
}

// stop ends an origin as a crash would: its connections are closed, whatever
// is going on on them.
func (o *demoOrigin) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.server == nil {
		return
	}
	_ = o.server.Close()
	o.serve.Wait()
	o.server = nil
}

// up reports whether the origin is there.
func (o *demoOrigin) up() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.server != nil
}

// maxEcho bounds the request that an answer shows, in bytes.
const maxEcho = 16 << 10

func (o *demoOrigin) answer(w http.ResponseWriter, r *http.Request) {
	n := o.requests.Add(1)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Origin", o.name)
	var b strings.Builder
	fmt.Fprintf(&b, "%s, request %d. It saw:\n\n%s %s %s\nHost: %s\n", o.name, n, r.Method, r.RequestURI, r.Proto, r.Host)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	text := b.String()
	fmt.Fprint(w, text[:min(len(text), maxEcho)]) // if it cannot be sent, the client will notice
}
