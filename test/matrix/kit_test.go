// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/test/internal/modes"
	"github.com/belay-proxy/belay/test/internal/pki"
	"github.com/belay-proxy/belay/upstream"
)

// patience bounds every wait of these tests. Nothing takes as long.
const patience = 20 * time.Second

type (
	none  = struct{}
	hooks = proxy.Hooks[none]
)

// toPeers returns hooks that send attempt 1 to the first peer, attempt 2 to
// the second and so on; the last one gets the rest.
func toPeers(peers ...*upstream.Peer) hooks {
	return hooks{UpstreamPeer: func(s *proxy.Session, _ *none) (*upstream.Peer, error) {
		return peers[min(s.Attempt(), len(peers))-1], nil
	}}
}

// rig is a proxy under test, with a client of it.
type rig struct {
	t      testing.TB
	mode   modes.Mode
	proxy  *proxy.Proxy
	addr   string
	client *http.Client
	logged chan outcome
}

// outcome is what Log was told of one request.
type outcome struct {
	target   string
	err      error
	status   int
	attempts int
}

// newRig serves a proxy that sends its requests to an origin with handler h.
func newRig(t testing.TB, m modes.Mode, h http.HandlerFunc) (*rig, *origin) {
	t.Helper()
	o := newOrigin(t, m.Up, h)
	return newRigWith(t, m, proxy.Config{}, toPeers(o.peer())), o
}

// newRigWith serves a proxy with these settings.
func newRigWith(t testing.TB, m modes.Mode, cfg proxy.Config, h hooks) *rig {
	t.Helper()
	r := &rig{t: t, mode: m, logged: make(chan outcome, 10_000)}
	cfg.Downstream.H2C = true
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := proxy.New(cfg, proxy.Chain(h, hooks{Log: func(s *proxy.Session, _ *none, err error) {
		d := s.Digest()
		r.logged <- outcome{s.Request().Target, err, d.Status, d.Attempts}
	}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Connector().Close)
	r.proxy = p
	r.addr = m.Down.Listen(t, p)
	r.client = newClient(t, m.Down)
	return r
}

// newClient returns a client of net/http that speaks p and nothing else.
func newClient(t testing.TB, p modes.Protocol) *http.Client {
	tr := &http.Transport{
		Protocols:             p.HTTP(),
		TLSClientConfig:       &tls.Config{RootCAs: pki.Roots(t)},
		DisableCompression:    true,
		ExpectContinueTimeout: patience,
		MaxIdleConnsPerHost:   1000,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 3 * patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// request returns a request with the given fields, name and value in turn.
func (r *rig) request(method, target string, body io.Reader, fields ...string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequest(method, r.mode.Down.Scheme()+"://"+r.addr+target, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = "origin.test"
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	return req
}

// response is a response with its body.
type response struct {
	*http.Response
	body []byte
	err  error // of the exchange or of reading the body
}

// do sends a request and reads the whole response.
func (r *rig) do(req *http.Request) response {
	res, err := r.client.Do(req)
	if err != nil {
		return response{Response: &http.Response{Header: http.Header{}}, err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return response{res, body, err}
}

func (r *rig) get(target string, fields ...string) response {
	r.t.Helper()
	return r.do(r.request("GET", target, nil, fields...))
}

func (r *rig) post(target, body string, fields ...string) response {
	r.t.Helper()
	return r.do(r.request("POST", target, strings.NewReader(body), fields...))
}

// want checks status and body.
func (res response) want(t testing.TB, status int, body string) {
	t.Helper()
	if res.err != nil || res.StatusCode != status || string(res.body) != body {
		t.Errorf("got %d, %d bytes %.200q, %v; want %d and %.200q", res.StatusCode, len(res.body), res.body, res.err, status, body)
	}
}

// wantStatus checks the status only.
func (res response) wantStatus(t testing.TB, status int) {
	t.Helper()
	if res.err != nil || res.StatusCode != status {
		t.Errorf("got %d, %d bytes %.200q, %v; want %d", res.StatusCode, len(res.body), res.body, res.err, status)
	}
}

// outcome waits until a request has been logged.
func (r *rig) outcome() outcome {
	r.t.Helper()
	return receive(r.t, "Log", r.logged)
}

// wantKind checks the error with which the next request ends.
func (r *rig) wantKind(kind proxyerr.Kind) {
	r.t.Helper()
	if got := r.outcome(); !errors.Is(got.err, kind) {
		r.t.Errorf("%s ended with %v, want %q", got.target, got.err, kind)
	}
}

// wantAttempts checks that the next request ends well after n attempts.
func (r *rig) wantAttempts(n int) {
	r.t.Helper()
	if got := r.outcome(); got.err != nil || got.attempts != n {
		r.t.Errorf("%s ended with %v after %d attempts, want no error after %d", got.target, got.err, got.attempts, n)
	}
}

// origin is a server of net/http that speaks one protocol.
type origin struct {
	t        testing.TB
	addr     string
	protocol modes.Protocol
	requests atomic.Int64
	conns    atomic.Int64 // accepted
	open     atomic.Int64
	last     atomic.Pointer[net.Conn] // accepted last
}

type connKey struct{}

// newOrigin starts an origin that ends with t.
func newOrigin(t testing.TB, p modes.Protocol, h http.HandlerFunc) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, addr: l.Addr().String(), protocol: p}
	s := &http.Server{
		Protocols: p.HTTP(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pki.Server(t)}},
		ErrorLog:  log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			o.requests.Add(1)
			h(w, req)
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			o.last.Store(&c)
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				o.conns.Add(1)
				o.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				o.open.Add(-1)
			}
		},
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if p.TLS {
			_ = s.ServeTLS(l, "", "")
		} else {
			_ = s.Serve(l)
		}
	}()
	t.Cleanup(func() { _ = s.Close(); <-served })
	return o
}

// peer returns a peer that reaches the origin.
func (o *origin) peer() *upstream.Peer { return o.protocol.PeerAt(o.t, o.addr) }

// reset ends the connection accepted last with a reset.
func (o *origin) reset() { proxytest.Reset(*o.last.Load()) }

// resetConn ends the connection of a request with a reset.
func resetConn(req *http.Request) { proxytest.Reset(req.Context().Value(connKey{}).(net.Conn)) }

// newScript starts an origin that hands each connection, on which p is spoken,
// to f, with its number from 1, and closes it when f returns.
func newScript(t testing.TB, p modes.Protocol, f func(nc net.Conn, number int)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			go func() { defer nc.Close(); f(p.Server(t, nc), n) }()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// refusing returns an address that refuses connections.
func refusing(t testing.TB) string { return proxytest.NewOrigin(t, proxytest.Refuse()).Addr() }

// echoBody answers with the body of the request.
func echoBody(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
	return v
}

// receiveWhile is receive for what takes long on a busy machine: patience counts
// from the last time that moved had another value.
func receiveWhile[T any](t testing.TB, what string, c <-chan T, moved func() int64) T {
	t.Helper()
	for last := int64(-1); ; {
		select {
		case v := <-c:
			return v
		case <-time.After(patience):
		}
		now := moved()
		if now == last {
			t.Fatalf("%s: nothing moves for %v", what, patience)
		}
		last = now
	}
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// must fails the test at once if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sameBytes compares long data without printing it.
func sameBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: %d bytes that differ from byte %d, want %d", what, len(got), at, len(want))
}

// endless is a body that goes on until stop is closed, slower after a while.
type endless struct {
	stop <-chan struct{}
	read atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.stop:
		return 0, io.EOF
	default:
	}
	if e.read.Load() > 256<<10 {
		time.Sleep(time.Millisecond)
	}
	n := min(len(p), 16<<10)
	for i := range p[:n] {
		p[i] = 'x'
	}
	e.read.Add(int64(n))
	return n, nil
}

func describe(h http.Header, names ...string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%s=%q ", n, h.Values(n))
	}
	return strings.TrimSpace(b.String())
}
