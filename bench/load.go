// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A loadJob is the first line that the load program reads.
type loadJob struct {
	Addr     string        `json:"addr"`     // of the proxy
	Conns    int           `json:"conns"`    // connections at a time
	Request  []byte        `json:"request"`  // sent as it is
	Response int64         `json:"response"` // Content-Length to expect
	NewConn  bool          `json:"new_conn"` // a connection for each request
	Idle     bool          `json:"idle"`     // one request on each connection
	Warmup   time.Duration `json:"warmup"`   // before the first answer
	Duration time.Duration `json:"duration"` // of what is measured
}

// A loadReport is what the load program answers to each line it reads: to the
// job once it is connected and warm, to loadGo once it has run, to loadCheck
// at once.
type loadReport struct {
	Requests int64         `json:"requests"`
	Errors   int64         `json:"errors"` // connections that failed; each ends with its first error
	Error    string        `json:"error"`  // the first of them
	Elapsed  time.Duration `json:"elapsed"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
	P999     time.Duration `json:"p999"`
	Closed   int           `json:"closed"` // loadCheck: connections that the proxy has closed
}

// The lines that the load program understands after the job.
const (
	loadGo    = "go"
	loadCheck = "check"
)

// patience bounds how long a response may take beyond the end of a phase.
const patience = 10 * time.Second

// A generator keeps job.Conns connections busy, each with one request at a
// time: the next is sent when the response to the last is complete.
type generator struct {
	job   loadJob
	conns []*net.TCPConn

	requests, errors atomic.Int64
	firstError       atomic.Pointer[string]
	latency          *histogram
}

// runLoad is the load program: it follows a job and the lines after it until
// in ends.
func runLoad(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		return errors.New("load: no job")
	}
	g := &generator{latency: new(histogram)}
	if err := json.Unmarshal(lines.Bytes(), &g.job); err != nil {
		return fmt.Errorf("load: read job: %w", err)
	}
	defer g.close()
	enc := json.NewEncoder(out)
	if err := enc.Encode(g.prepare()); err != nil {
		return err
	}
	for lines.Scan() {
		var report loadReport
		switch lines.Text() {
		case loadGo:
			report = g.run(g.job.Duration)
		case loadCheck:
			report.Closed = g.closedByProxy()
		}
		if err := enc.Encode(report); err != nil {
			return err
		}
	}
	return nil
}

// prepare connects and warms up. For an idle job it does all of the work.
func (g *generator) prepare() loadReport {
	if !g.job.NewConn {
		for range g.job.Conns {
			conn, err := g.dial()
			if err != nil {
				g.fail(fmt.Errorf("connect: %w", err))
				break
			}
			g.conns = append(g.conns, conn)
			if g.job.Idle {
				g.oneRequest(conn)
			}
		}
	}
	if g.job.Idle || g.errors.Load() > 0 {
		return g.report(0)
	}
	return g.run(g.job.Warmup)
}

// run keeps all connections busy for d and waits until the last response is
// complete.
func (g *generator) run(d time.Duration) loadReport {
	g.requests.Store(0)
	g.latency = new(histogram)
	start := time.Now()
	until := start.Add(d)
	var wg sync.WaitGroup
	for i := range g.job.Conns {
		wg.Go(func() {
			if g.job.NewConn {
				g.freshConnections(until)
			} else if i < len(g.conns) {
				g.busy(g.conns[i], until)
			}
		})
	}
	wg.Wait()
	return g.report(time.Since(start))
}

// report sums up what has been counted.
func (g *generator) report(elapsed time.Duration) loadReport {
	r := loadReport{
		Requests: g.requests.Load(),
		Errors:   g.errors.Load(),
		Elapsed:  elapsed,
		P50:      g.latency.quantile(0.50),
		P99:      g.latency.quantile(0.99),
		P999:     g.latency.quantile(0.999),
	}
	if msg := g.firstError.Load(); msg != nil {
		r.Error = *msg
	}
	return r
}

// busy sends requests on conn, one after the other, until the first response
// that is complete after until.
func (g *generator) busy(conn *net.TCPConn, until time.Time) {
	_ = conn.SetDeadline(until.Add(patience))
	reader := g.newReader()
	var sent time.Time
	send := func() error {
		sent = time.Now()
		_, err := conn.Write(g.job.Request)
		return err
	}
	take := func(n int) (bool, error) {
		done, err := reader.advance(n)
		if !done || err != nil {
			return false, err
		}
		now := time.Now()
		g.requests.Add(1)
		g.latency.add(now.Sub(sent))
		if now.After(until) {
			return true, nil
		}
		return false, send()
	}
	if err := readEach(conn, send, reader.space, take); err != nil {
		g.fail(err)
	}
}

// oneRequest sends one request on conn and reads the response.
func (g *generator) oneRequest(conn *net.TCPConn) {
	g.busy(conn, time.Now())
}

// freshConnections makes a connection for each request until until, and reads
// each to its end.
func (g *generator) freshConnections(until time.Time) {
	for time.Now().Before(until) {
		start := time.Now()
		if err := g.freshConnection(until.Add(patience)); err != nil {
			g.fail(err)
			return
		}
		g.requests.Add(1)
		g.latency.add(time.Since(start))
	}
}

// freshConnection does one exchange on a connection of its own. The proxy has
// to close first, as the request asks it to.
func (g *generator) freshConnection(deadline time.Time) error {
	conn, err := g.dial()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := conn.Write(g.job.Request); err != nil {
		return err
	}
	complete := false
	reader := g.newReader()
	for {
		n, err := conn.Read(reader.space())
		if err == io.EOF && complete {
			return nil
		}
		if err != nil {
			return err
		}
		if complete, err = reader.advance(n); err != nil {
			return err
		}
	}
}

// newReader returns a reader for the expected response, with a buffer that
// takes a short one whole.
func (g *generator) newReader() *responseReader {
	size := 8 << 10
	if g.job.Response > 4<<10 {
		size = 256 << 10
	}
	return &responseReader{buf: make([]byte, size), want: g.job.Response}
}

func (g *generator) dial() (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", g.job.Addr, patience)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// fail counts the end of a connection by err.
func (g *generator) fail(err error) {
	msg := err.Error()
	g.firstError.CompareAndSwap(nil, &msg)
	g.errors.Add(1)
}

// closedByProxy returns how many idle connections have come to their end.
func (g *generator) closedByProxy() int {
	closed := 0
	for _, conn := range g.conns {
		raw, err := conn.SyscallConn()
		if err != nil {
			closed++
			continue
		}
		var b [1]byte
		err = raw.Control(func(fd uintptr) {
			n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_DONTWAIT|syscall.MSG_PEEK)
			if n == 0 || (err != nil && err != syscall.EAGAIN) {
				closed++
			}
		})
		if err != nil {
			closed++
		}
	}
	return closed
}

// close resets the connections, so that none of them keeps a local port in
// TIME_WAIT.
func (g *generator) close() {
	for _, conn := range g.conns {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}
