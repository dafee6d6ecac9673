// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A survivor is the open loop for proxies that are upgraded or reloaded under
// load. It goes on after failures, as clients do, and counts them. Half of the
// requests use kept connections, the other half one each.
type survivor struct {
	job    *loadJob
	kept   []*keptConn
	record *openRecord

	failed, resent atomic.Int64
	firstError     atomic.Pointer[string]
}

// A keptConn is a connection that is made again when the proxy has closed it.
type keptConn struct {
	conn *client // nil if there is none
	in   *bufio.Reader
}

func newSurvivor(job *loadJob) *survivor {
	v := &survivor{job: job}
	for range job.Conns {
		v.kept = append(v.kept, new(keptConn))
	}
	return v
}

func (v *survivor) run(s schedule, record *openRecord) error {
	v.record = record
	v.failed.Store(0)
	v.resent.Store(0)
	dues := make(chan time.Duration, s.n)
	go s.pace(dues) // ends when the last request is due
	kept, fresh := make(chan time.Duration, s.n), make(chan time.Duration, s.n)
	var wg sync.WaitGroup
	for _, k := range v.kept {
		wg.Go(func() { v.serve(&s, kept, func() error { return v.keptExchange(&s, k) }) })
		wg.Go(func() { v.serve(&s, fresh, func() error { return v.freshExchange(&s) }) })
	}
	for i := 0; ; i++ {
		due, ok := <-dues
		if !ok {
			break
		}
		if i%2 == 0 {
			kept <- due
		} else {
			fresh <- due
		}
	}
	close(kept)
	close(fresh)
	wg.Wait()
	return nil
}

// serve does an exchange for each of dues.
func (v *survivor) serve(s *schedule, dues <-chan time.Duration, exchange func() error) {
	var free time.Duration
	for due := range dues {
		if s.now() >= s.cutoff {
			v.record.giveUp(s, due)
			continue
		}
		v.record.sent(s.now(), due, free)
		if err := exchange(); err != nil {
			v.failed.Add(1)
			msg := err.Error()
			v.firstError.CompareAndSwap(nil, &msg)
			v.record.latency.add(s.now() - due)
			continue
		}
		free = s.now()
		v.record.finish(free, due)
	}
}

// freshExchange does an exchange on a connection of its own.
func (v *survivor) freshExchange(s *schedule) error {
	k := new(keptConn)
	defer k.close()
	_, err := v.exchange(s, k)
	return err
}

// keptExchange does an exchange on k. A request that finds the connection closed
// is sent again on a new one: the proxy may close a connection while it is
// idle, and a client has to expect that (RFC 9112, section 9.3.1).
func (v *survivor) keptExchange(s *schedule, k *keptConn) error {
	reused := k.conn != nil
	began, err := v.exchange(s, k)
	if err != nil && reused && !began {
		v.resent.Add(1)
		_, err = v.exchange(s, k)
	}
	return err
}

// exchange does an exchange on k, connected if need be. It reports whether any
// byte of a response has come. After an error, or if the proxy wants it, k is
// closed.
func (v *survivor) exchange(s *schedule, k *keptConn) (began bool, err error) {
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if k.conn == nil {
		if k.conn, err = v.job.Access.dial(v.job.Addr); err != nil {
			return false, fmt.Errorf("connect: %w", err)
		}
		k.in = bufio.NewReader(k.conn)
	}
	if err := k.conn.SetDeadline(s.start.Add(s.cutoff)); err != nil {
		return false, err
	}
	if _, err := k.conn.Write(v.job.Request); err != nil {
		return false, err
	}
	if _, err := k.in.Peek(1); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return true, err
	}
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return true, err
	case res.StatusCode != http.StatusOK:
		return true, fmt.Errorf("response is %q", res.Status)
	case !bytes.Equal(body, filler[:v.job.Response]):
		return true, fmt.Errorf("response has %d bytes, or others than the %d expected", len(body), v.job.Response)
	}
	if res.Close {
		k.close()
	}
	return true, nil
}

// close resets the connection, if there is one.
func (k *keptConn) close() {
	if k.conn != nil {
		k.conn.reset()
		k.conn, k.in = nil, nil
	}
}

func (v *survivor) close() {
	for _, k := range v.kept {
		k.close()
	}
}
