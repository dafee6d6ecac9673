// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a net.Listener whose Accept returns what next says.
type scripted struct {
	next   func(attempt int) (net.Conn, error)
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	attempts int // guarded by mu
}

func (s *scripted) Accept() (net.Conn, error) {
	s.mu.Lock()
	s.attempts++
	n := s.attempts
	s.mu.Unlock()
	select {
	case <-s.closed:
		return nil, net.ErrClosed
	default:
	}
	c, err := s.next(n)
	if c == nil && err == nil { // nothing to accept
		<-s.closed
		return nil, net.ErrClosed
	}
	return c, err
}

func (s *scripted) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *scripted) Addr() net.Addr { return &net.TCPAddr{} }

func (s *scripted) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts
}

// newScripted returns a Listener that accepts what next says.
func newScripted(cfg Config, next func(attempt int) (net.Conn, error)) (*Listener, *scripted) {
	s := &scripted{next: next, closed: make(chan struct{})}
	return &Listener{cfg: cfg.withDefaults(), ln: s, closed: make(chan struct{})}, s
}

// refuse returns the error that accepting gives for errno.
func refuse(errno syscall.Errno) (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: errno}
}

// TestNoSpin checks that a shortage is waited out with ever longer pauses, and
// logged once per second.
func TestNoSpin(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EBADF} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			cfg := Config{Addr: ":1", Logger: slog.New(slog.NewTextHandler(&out, nil))}
			l, s := newScripted(cfg, func(int) (net.Conn, error) { return refuse(errno) })
			var loop sync.WaitGroup
			loop.Go(func() { l.Serve(nil) })
			time.Sleep(10 * time.Second)
			synctest.Wait()
			// 5 + 10 + 20 + 40 + 80 ms, then every 100 ms.
			if got := s.count(); got < 100 || got > 105 {
				t.Errorf("%v: %d attempts in 10 s, want 100 to 105", errno, got)
			}
			l.Close()
			loop.Wait()
			if got := strings.Count(out.String(), "cannot accept"); got < 9 || got > 11 {
				t.Errorf("%v: %d log lines in 10 s, want about 10:\n%s", errno, got, out.String())
			}
		})
	}
}

// TestRecovery checks that accepting goes on within 100 ms of the end of a
// shortage, and that the next shortage starts with a short pause again.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		full := func() bool { // for 3 s, and again from 5 s to 5.002 s
			at := time.Since(start)
			return at < 3*time.Second || at >= 5*time.Second && at < 5*time.Second+2*time.Millisecond
		}
		var served []time.Duration
		l, _ := newScripted(Config{Addr: ":1", Logger: quiet}, func(int) (net.Conn, error) {
			if full() {
				return refuse(syscall.EMFILE)
			}
			if len(served) > 0 && time.Since(start) < 5*time.Second {
				time.Sleep(5*time.Second - time.Since(start))
				return refuse(syscall.EMFILE)
			}
			if len(served) == 2 {
				return nil, nil
			}
			served = append(served, time.Since(start))
			c, other := net.Pipe()
			other.Close()
			return c, nil
		})
		var loop sync.WaitGroup
		loop.Go(func() { l.Serve(func(c net.Conn) { c.Close() }) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		l.Close()
		loop.Wait()
		if len(served) != 2 {
			t.Fatalf("served %d connections, want 2", len(served))
		}
		if late := served[0] - 3*time.Second; late > longestPause {
			t.Errorf("accepted %v after the shortage, want at most %v", late, longestPause)
		}
		if late := served[1] - 5*time.Second; late > firstPause {
			t.Errorf("accepted %v after the second shortage began, want at most %v", late, firstPause)
		}
	})
}

// TestTransient checks that a connection that failed before it was accepted
// holds up nothing.
func TestTransient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := []syscall.Errno{syscall.ECONNABORTED, syscall.EPROTO, syscall.ENETUNREACH, syscall.EPERM, syscall.ECONNRESET}
		l, s := newScripted(Config{Addr: ":1", Logger: quiet}, func(n int) (net.Conn, error) {
			if n > len(errs) {
				return nil, nil
			}
			return refuse(errs[n-1])
		})
		var loop sync.WaitGroup
		loop.Go(func() { l.Serve(nil) })
		synctest.Wait() // no time passes
		if got, want := s.count(), len(errs)+1; got != want {
			t.Errorf("%d attempts, want %d", got, want)
		}
		l.Close()
		loop.Wait()
	})
	if transient(errors.New("other")) || transient(syscall.EMFILE) {
		t.Error("an error is transient that is not")
	}
}
