// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// A loadJob is the first line that the load program reads.
type loadJob struct {
	Addr     string        `json:"addr"`     // of the proxy
	Conns    int           `json:"conns"`    // connections at a time
	Request  []byte        `json:"request"`  // sent as it is
	Body     int64         `json:"body"`     // bytes of a body to send after it
	Response int64         `json:"response"` // Content-Length to expect
	Target   string        `json:"target"`   // of an open loop for HTTP/2, instead of Request
	Streams  int           `json:"streams"`  // of an open loop for HTTP/2, at a time on each connection
	Rate     float64       `json:"rate"`     // requests a second of an open loop; 0 means a closed one
	NewConn  bool          `json:"new_conn"` // a connection for each request
	Idle     bool          `json:"idle"`     // one request on each connection
	Mode     loadMode      `json:"mode"`     // what is sent, if not requests
	Access   access        `json:"access"`   // HTTP/2 only if idle
	Warmup   time.Duration `json:"warmup"`   // before the first answer
}

// A loadMode is a kind of load.
type loadMode string

const (
	requestMode    loadMode = ""
	webSocketMode  loadMode = "websocket"   // messages of Response bytes, which come back
	grpcUnaryMode  loadMode = "grpc-unary"  // the same, each in a call of its own
	grpcStreamMode loadMode = "grpc-stream" // the same in Streams streams on each connection
	surviveMode    loadMode = "survive"     // at Rate; see survivor
)

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

	// Of an open loop, whose latency counts from when a request was due.
	Offered    float64       `json:"offered"`    // requests a second
	Lag        time.Duration `json:"lag"`        // p99 of how late we sent what could be sent
	Unfinished int64         `json:"unfinished"` // requests without a response; they count in the latency

	Full int64 `json:"full"` // handshakes without resumption, if there should be none

	// Of surviveMode: requests without a complete response, the first error of
	// them, and requests that found their kept connection closed and were sent
	// again.
	Failed       int64  `json:"failed"`
	FirstFailure string `json:"first_failure"`
	Resent       int64  `json:"resent"`

	Closed int `json:"closed"` // loadCheck: connections that the proxy has closed
}

// The lines that the load program understands after the job.
const (
	loadGo    = "go" // and how long, as "go 2s"
	loadCheck = "check"
)

// patience bounds how long a response may take beyond the end of a phase.
const patience = 20 * time.Second

// A generator keeps job.Conns connections busy, each with one request at a
// time: the next is sent when the response to the last is complete.
type generator struct {
	job   loadJob
	conns []*client
	open  openLoop           // in the place of conns, if job.Rate is not 0
	grpc  []*grpc.ClientConn // in the place of conns for gRPC

	requests, errors, full atomic.Int64
	firstError             atomic.Pointer[string]
	latency                *histogram
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
	g.job.Request = bodyStart(g.job.Request, g.job.Body)
	if g.job.Access.Resume {
		g.job.Access.sessions = tls.NewLRUClientSessionCache(0)
	}
	defer g.close()
	enc := json.NewEncoder(out)
	if err := enc.Encode(g.prepare()); err != nil {
		return err
	}
	for lines.Scan() {
		var report loadReport
		switch command, length, _ := strings.Cut(lines.Text(), " "); command {
		case loadGo:
			d, err := time.ParseDuration(length)
			if err != nil {
				return fmt.Errorf("load: %q: %w", lines.Text(), err)
			}
			report = g.run(d)
		case loadCheck:
			report.Closed = g.closedByProxy()
		default:
			return fmt.Errorf("load: unknown command %q", lines.Text())
		}
		if err := enc.Encode(report); err != nil {
			return err
		}
	}
	return nil
}

// prepare connects and warms up. For an idle job it does all of the work.
func (g *generator) prepare() loadReport {
	var err error
	switch {
	case g.job.Mode == grpcUnaryMode || g.job.Mode == grpcStreamMode:
		g.grpc, err = grpcDial(&g.job)
	case g.job.Rate > 0:
		g.open, err = newOpenLoop(&g.job)
	case !g.job.NewConn:
		g.connectAll()
	}
	if err != nil {
		g.fail(err)
	}
	if g.job.Idle || g.errors.Load() > 0 {
		return g.report(0)
	}
	return g.run(g.job.Warmup)
}

// connectAll makes all connections, some at a time. If they are to be idle it
// sends a request on each.
func (g *generator) connectAll() {
	g.conns = make([]*client, g.job.Conns)
	var next atomic.Int64
	connect := func() {
		for i := next.Add(1) - 1; i < int64(len(g.conns)) && g.errors.Load() == 0; i = next.Add(1) - 1 {
			conn, err := g.connect(int(i))
			if err != nil {
				g.fail(fmt.Errorf("connect: %w", err))
				return
			}
			g.conns[i] = conn
			if g.job.Idle {
				g.oneRequest(conn)
			}
		}
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(connect)
	}
	wg.Wait()
	g.conns = slices.DeleteFunc(g.conns, func(c *client) bool { return c == nil })
}

// connect makes connection i. Each address of ours makes at most perSource of
// them, as it has no more local ports than that for one address of the proxy.
func (g *generator) connect(i int) (*client, error) {
	const perSource = 20_000
	a := g.job.Access
	if g.job.Conns > perSource {
		a.source = netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i/perSource)})
	}
	conn, err := a.dial(g.job.Addr)
	if err == nil && g.job.Mode == webSocketMode {
		_ = conn.SetDeadline(time.Now().Add(patience))
		err = openWebSocket(conn)
	}
	return conn, err
}

// run keeps all connections busy for d and waits until the last response is
// complete.
func (g *generator) run(d time.Duration) loadReport {
	if g.open != nil {
		return g.runOpen(d)
	}
	g.requests.Store(0)
	g.full.Store(0)
	g.latency = new(histogram)
	start := time.Now()
	if g.grpc != nil {
		g.runGRPC(d)
		return g.report(time.Since(start))
	}
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

// runOpen follows a schedule for d.
func (g *generator) runOpen(d time.Duration) loadReport {
	report, err := openReport(g.open, g.job.Rate, d)
	if err != nil {
		report.Errors, report.Error = 1, err.Error()
	}
	return report
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
		Full:     g.full.Load(),
	}
	if msg := g.firstError.Load(); msg != nil {
		r.Error = *msg
	}
	return r
}

// busy sends requests on conn, one after the other, until the first response
// that is complete after until.
func (g *generator) busy(conn *client, until time.Time) {
	_ = conn.SetDeadline(until.Add(patience))
	var reader interface {
		space() []byte
		advance(n int) (done bool, err error)
	} = newResponseReader(g.job.Response)
	if g.job.Mode == webSocketMode {
		reader = newMessageReader(g.job.Response)
	}
	var sent time.Time
	send := func() error {
		sent = time.Now()
		return g.send(conn)
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
	if err := conn.converse(send, reader.space, take); err != nil {
		g.fail(err)
	}
}

// send sends a request.
func (g *generator) send(conn *client) error {
	if _, err := conn.Write(g.job.Request); err != nil {
		return err
	}
	return writeRest(conn, g.job.Body)
}

// oneRequest sends one request on conn and reads the response.
func (g *generator) oneRequest(conn *client) {
	if !g.job.Access.H2 {
		g.busy(conn, time.Now())
		return
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := h2Exchange(conn, g.job.Request, g.job.Response); err != nil {
		g.fail(err)
		return
	}
	g.requests.Add(1)
}

// freshConnections makes a connection for each request until until, at least
// one, and reads each to its end.
func (g *generator) freshConnections(until time.Time) {
	for again := true; again; again = time.Now().Before(until) {
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
	conn, err := g.job.Access.dial(g.job.Addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if secure, ok := conn.Conn.(*tls.Conn); ok && g.job.Access.Resume && !secure.ConnectionState().DidResume {
		g.full.Add(1)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if err := g.send(conn); err != nil {
		return err
	}
	complete := false
	reader := newResponseReader(g.job.Response)
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

// newResponseReader returns a reader for responses of size bytes, with a buffer
// that takes a short one whole.
func newResponseReader(size int64) *responseReader {
	length := 8 << 10
	if size > 4<<10 {
		length = 256 << 10
	}
	return &responseReader{buf: make([]byte, length), want: size}
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
		raw, err := conn.tcp.SyscallConn()
		if err != nil {
			closed++
			continue
		}
		err = raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil || info.State != unix.BPF_TCP_ESTABLISHED {
				closed++
			}
		})
		if err != nil {
			closed++
		}
	}
	return closed
}

// close ends all connections.
func (g *generator) close() {
	for _, conn := range g.conns {
		conn.reset()
	}
	if g.open != nil {
		g.open.close()
	}
	for _, conn := range g.grpc {
		_ = conn.Close()
	}
}
