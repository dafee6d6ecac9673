// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// A parkingHandler returns from each connection at once, and ends it later.
type parkingHandler struct {
	echoHandler
	parked chan func() // ends one
}

func (h *parkingHandler) ServeOrPark(c net.Conn, ended func()) {
	h.parked <- func() {
		c.Close()
		ended()
	}
}

// A connection counts as open while it is parked.
func TestServeOrPark(t *testing.T) {
	l := listen(t, Config{Addr: "127.0.0.1:0", MaxConns: 2})
	h := &parkingHandler{parked: make(chan func(), 3)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		l.ServeOrPark(h.ServeOrPark)
	}()
	for range 3 {
		dial(t, l)
	}
	first, second := <-h.parked, <-h.parked
	if got := l.Active(); got != 2 {
		t.Errorf("Active = %d, want 2", got)
	}
	select {
	case <-h.parked:
		t.Fatal("a third connection, where two may be open")
	case <-time.After(20 * time.Millisecond):
	}
	first()
	third := <-h.parked
	l.Close()
	<-served
	all := make(chan struct{})
	go func() {
		defer close(all)
		l.Wait()
	}()
	second()
	select {
	case <-all:
		t.Error("Wait does not wait for a parked connection")
	case <-time.After(20 * time.Millisecond):
	}
	third()
	<-all
	if got := l.Active(); got != 0 {
		t.Errorf("Active = %d, want 0", got)
	}
}

// Shutdown waits for connections that are parked, and a connection whose
// handshake fails has ended.
func TestTLSServeOrPark(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	h := &parkingHandler{parked: make(chan func(), 1)}
	tlsHandler := secure(t, TLSConfig{Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))}, h)
	l := listen(t, Config{Addr: "127.0.0.1:0"})
	var loop sync.WaitGroup
	loop.Go(func() { l.ServeOrPark(tlsHandler.ServeOrPark) })

	plain := dial(t, l)
	plain.Write([]byte("no TLS, but some bytes\n"))
	plain.Read(make([]byte, 100)) // the alert
	plain.Close()
	for l.Active() > 0 {
		time.Sleep(time.Millisecond)
	}

	go talk(l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "a"}, "hi")
	end := <-h.parked
	done := make(chan error, 1)
	go func() { done <- tlsHandler.Shutdown(context.Background()) }()
	select {
	case err := <-done:
		t.Errorf("Shutdown = %v while a connection is parked", err)
	case <-time.After(10 * time.Millisecond):
	}
	if l.Active() != 1 {
		t.Errorf("Active = %d, want 1", l.Active())
	}
	end()
	if err := <-done; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	l.Close()
	loop.Wait()
	l.Wait()
}

// The place of a connection that ends at the moment of Close goes to one of the
// backlog, not to the accept loop.
func TestCloseKeepsPlaces(t *testing.T) {
	for range 200 {
		l := listen(t, Config{Addr: "127.0.0.1:0", MaxConns: 1})
		h := &parkingHandler{parked: make(chan func(), 2)}
		var loop sync.WaitGroup
		loop.Go(func() { l.ServeOrPark(h.ServeOrPark) })
		first := dial(t, l)
		end := <-h.parked
		second := dial(t, l)
		end()
		l.Close()
		loop.Wait()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.Wait()
		}()
		select {
		case end := <-h.parked:
			end()
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("a connection of the backlog is not served")
		}
		<-ended
		first.Close()
		second.Close()
	}
}

// A panicHandler is a slog.Handler that panics when a handshake has failed.
type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(context.Context, slog.Level) bool { return true }

func (panicHandler) Handle(context.Context, slog.Record) error { panic("in a logger") }

// A connection whose start panics has ended.
func TestTLSServeOrParkPanics(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	tlsHandler := secure(t, TLSConfig{
		Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}})),
		Logger:       slog.New(panicHandler{slog.DiscardHandler}),
	}, &parkingHandler{})
	near, far := net.Pipe()
	near.Close()
	ended := 0
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it does not panic")
			}
		}()
		tlsHandler.ServeOrPark(far, func() { ended++ })
	}()
	if ended != 1 {
		t.Errorf("ended was called %d times, want 1", ended)
	}
	if err := tlsHandler.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// A handler that is no Parker is served as ever.
func TestTLSServeOrParkPlain(t *testing.T) {
	ca := testcert.NewCA(t, "root")
	tlsHandler, _ := newTLS(t, TLSConfig{Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))})
	l := listen(t, Config{Addr: "127.0.0.1:0"})
	var loop sync.WaitGroup
	loop.Go(func() { l.ServeOrPark(tlsHandler.ServeOrPark) })
	if answer, _, err := talk(l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "a"}, "hi"); answer != "hi\n" || err != nil {
		t.Errorf("answer is %q, %v", answer, err)
	}
	l.Close()
	loop.Wait()
	l.Wait()
}
