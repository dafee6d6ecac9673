// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/proxy"
)

// An echoHandler answers each line with itself, and "serves NAME" with whether
// the connection serves that name.
type echoHandler struct {
	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
	facts []proxy.TLSDigest // of all connections; guarded by mu
}

func (e *echoHandler) ServeConn(c net.Conn) {
	e.mu.Lock()
	if e.conns == nil {
		e.conns = make(map[net.Conn]bool)
	}
	e.conns[c] = true
	e.facts = append(e.facts, *proxy.DigestTLS(c))
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.conns, c)
		e.mu.Unlock()
		c.Close()
	}()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		var name string
		if n, _ := fmt.Sscanf(line, "serves %s", &name); n == 1 {
			serves := c.(*tls.Conn).NetConn().(interface{ Serves(string) bool }).Serves(name)
			line = fmt.Sprintln(serves)
		}
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

// Shutdown closes all connections.
func (e *echoHandler) Shutdown(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.conns {
		c.(interface{ NetConn() net.Conn }).NetConn().Close()
	}
	return nil
}

func (e *echoHandler) allFacts() []proxy.TLSDigest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]proxy.TLSDigest(nil), e.facts...)
}

// serveTLS serves a TLS handler on a free port until t ends, and returns its
// address.
func serveTLS(t testing.TB, h *TLS) string {
	t.Helper()
	l, err := Listen(t.Context(), Config{Addr: "127.0.0.1:0", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	var loop sync.WaitGroup
	loop.Go(func() { l.Serve(h.ServeConn) })
	t.Cleanup(func() {
		l.Close()
		loop.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		l.Wait()
	})
	return l.Addr().String()
}

// newTLS returns a TLS handler in front of an echo.
func newTLS(t testing.TB, cfg TLSConfig) (*TLS, *echoHandler) {
	t.Helper()
	e := new(echoHandler)
	return secure(t, cfg, e), e
}

// secure returns a TLS handler in front of another one.
func secure(t testing.TB, cfg TLSConfig, handler Handler) *TLS {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	h, err := NewTLS(cfg, handler)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// newStore returns a store of certificates.
func newStore(t testing.TB, certs ...tls.Certificate) *cert.Store {
	t.Helper()
	s, err := cert.New(cert.Config{Certificates: certs, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newCAs returns authorities.
func newCAs(t testing.TB, cas ...*testcert.CA) *cert.CAs {
	t.Helper()
	var certs []*x509.Certificate
	for _, ca := range cas {
		certs = append(certs, ca.Cert)
	}
	a, err := cert.NewCAs(cert.CAConfig{Certificates: certs, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// talk connects, sends a line and returns the answer and the state of the
// connection. With TLS 1.3 a server that wants a certificate refuses a client
// only after its handshake.
func talk(addr string, cfg *tls.Config, line string) (answer string, cs tls.ConnectionState, err error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second}, Config: cfg}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return "", cs, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", cs, err
	}
	answer, err = bufio.NewReader(c).ReadString('\n')
	return answer, c.(*tls.Conn).ConnectionState(), err
}
