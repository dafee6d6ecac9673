// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A connLoop is the open loop for HTTP/1.1 over TLS: a goroutine for each
// connection, all fed by one that keeps the time.
type connLoop struct {
	job   *loadJob
	conns []*client
}

func newConnLoop(job *loadJob) (*connLoop, error) {
	l := &connLoop{job: job}
	for range job.Conns {
		conn, err := job.Access.dial(job.Addr)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connect: %w", err)
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

func (l *connLoop) run(s schedule, record *openRecord) error {
	dues := make(chan time.Duration, s.n)
	go s.pace(dues) // ends when the last request is due
	errs := make([]error, len(l.conns))
	var wg sync.WaitGroup
	for i, conn := range l.conns {
		wg.Go(func() { errs[i] = l.serve(conn, &s, dues, record) })
	}
	wg.Wait()
	for due := range dues { // all connections have failed
		record.giveUp(&s, due)
	}
	return errors.Join(errs...)
}

// serve sends requests on conn that are due, one at a time.
func (l *connLoop) serve(conn *client, s *schedule, dues <-chan time.Duration, record *openRecord) error {
	_ = conn.SetDeadline(s.start.Add(s.cutoff))
	reader := newResponseReader(l.job.Response)
	var free time.Duration
	for due := range dues {
		if s.now() >= s.cutoff {
			record.giveUp(s, due)
			continue
		}
		record.sent(s.now(), due, free)
		if err := l.exchange(conn, reader); err != nil {
			record.giveUp(s, due)
			if s.now() < s.cutoff {
				return err
			}
			continue
		}
		free = s.now()
		record.finish(free, due)
	}
	return nil
}

// exchange sends a request and reads the response.
func (l *connLoop) exchange(conn *client, reader *responseReader) error {
	if _, err := conn.Write(l.job.Request); err != nil {
		return err
	}
	for {
		n, err := conn.Read(reader.space())
		if err != nil {
			return err
		}
		if done, err := reader.advance(n); done || err != nil {
			return err
		}
	}
}

func (l *connLoop) close() {
	for _, conn := range l.conns {
		conn.reset()
	}
}
