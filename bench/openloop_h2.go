// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A streamLoop is the open loop for HTTP/2: on each connection one goroutine
// sends requests and another reads responses.
type streamLoop struct {
	job   *loadJob
	conns []*streamConn
}

func newStreamLoop(job *loadJob) (*streamLoop, error) {
	l := &streamLoop{job: job}
	for range job.Conns {
		conn, err := newStreamConn(job)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connect: %w", err)
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

func (l *streamLoop) run(s schedule, record *openRecord) error {
	dues := make(chan time.Duration, s.n)
	go s.pace(dues) // ends when the last request is due
	errs := make([]error, len(l.conns))
	var wg sync.WaitGroup
	for i, conn := range l.conns {
		wg.Go(func() { errs[i] = conn.run(&s, dues, record) })
	}
	wg.Wait()
	for due := range dues { // all connections have failed
		record.giveUp(&s, due)
	}
	return errors.Join(errs...)
}

func (l *streamLoop) close() {
	for _, conn := range l.conns {
		conn.client.reset()
	}
}

// A streamConn is an HTTP/2 connection with several requests under way.
type streamConn struct {
	client  *client
	fields  []hpack.HeaderField
	streams int   // at a time
	want    int64 // bytes of each response

	out    *bufio.Writer // guarded by writing, as are frames for writing, block and encode
	frames *http2.Framer
	block  bytes.Buffer
	encode *hpack.Encoder

	writing sync.Mutex

	mu       sync.Mutex
	changed  sync.Cond         // broadcast when open shrinks or err is set
	open     map[uint32]stream // guarded by mu
	nextID   uint32            // guarded by mu
	err      error             // guarded by mu
	since    time.Duration     // guarded by mu; when a stream became free that was not
	received int64             // bytes of DATA not yet acknowledged; the reader's
}

// A stream is one request under way.
type stream struct {
	due  time.Duration
	body int64 // received
}

// window is the flow control window that we give the proxy for the connection.
const window = 1 << 30

// newStreamConn connects and says hello.
func newStreamConn(job *loadJob) (*streamConn, error) {
	conn, err := job.Access.dial(job.Addr)
	if err != nil {
		return nil, err
	}
	c := &streamConn{
		client: conn, fields: h2Fields(job.Target, job.Access.scheme()), streams: job.Streams, want: job.Response,
		out: bufio.NewWriterSize(conn, 16<<10), open: make(map[uint32]stream), nextID: 1,
	}
	c.changed.L = &c.mu
	c.frames = http2.NewFramer(c.out, bufio.NewReaderSize(conn, 16<<10))
	c.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encode = hpack.NewEncoder(&c.block)
	_, err = io.WriteString(c.out, http2.ClientPreface)
	err = errors.Join(err,
		c.frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}, http2.Setting{ID: http2.SettingEnablePush}),
		c.frames.WriteWindowUpdate(0, window-65535),
		c.out.Flush())
	if err != nil {
		conn.reset()
		return nil, err
	}
	return c, nil
}

// run sends requests that are due until there are no more and all have been
// answered, or until the cutoff.
func (c *streamConn) run(s *schedule, dues <-chan time.Duration, record *openRecord) error {
	_ = c.client.SetDeadline(s.start.Add(s.cutoff))
	c.mu.Lock()
	c.since = 0
	c.mu.Unlock()
	var readErr error
	var wg sync.WaitGroup
	idle := make(chan struct{}) // closed by the writer when no more requests come
	wg.Go(func() {
		readErr = c.readAll(s, idle, record)
		c.fail(readErr)
	})
	writeErr := c.writeAll(s, dues, record)
	close(idle)
	_ = c.wake()
	wg.Wait()
	late := s.now() >= s.cutoff
	for _, st := range c.open {
		record.giveUp(s, st.due)
	}
	clear(c.open)
	if late {
		return nil
	}
	return errors.Join(writeErr, readErr)
}

// writeAll sends the requests that are due, as many in one write as are due at
// once and as there may be streams.
func (c *streamConn) writeAll(s *schedule, dues <-chan time.Duration, record *openRecord) error {
	for due := range dues {
		free, room, err := c.await()
		if err != nil || s.now() >= s.cutoff {
			record.giveUp(s, due)
			if err != nil && s.now() < s.cutoff {
				return err
			}
			continue
		}
		batch := []time.Duration{due}
		for more := true; more && len(batch) < room; {
			select {
			case due, ok := <-dues:
				if more = ok; ok {
					batch = append(batch, due)
				}
			default:
				more = false
			}
		}
		for _, due := range batch {
			record.sent(s.now(), due, free)
		}
		if err := c.request(batch); err != nil {
			return err
		}
	}
	return nil
}

// await waits until there may be another stream. It returns since when that is
// so, and how many there may be.
func (c *streamConn) await() (since time.Duration, room int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.open) >= c.streams && c.err == nil {
		c.changed.Wait()
	}
	return c.since, c.streams - len(c.open), c.err
}

// request opens a stream for each of dues.
func (c *streamConn) request(dues []time.Duration) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	for _, due := range dues {
		c.mu.Lock()
		id := c.nextID
		c.nextID += 2
		c.open[id] = stream{due: due}
		c.mu.Unlock()
		c.block.Reset()
		for _, f := range c.fields {
			_ = c.encode.WriteField(f) // to a bytes.Buffer
		}
		err := c.frames.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true,
		})
		if err != nil {
			return err
		}
	}
	return c.out.Flush()
}

// wake has the proxy send something, so that the reader looks whether it is
// done.
func (c *streamConn) wake() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.frames.WritePing(false, [8]byte{}); err != nil {
		return err
	}
	return c.out.Flush()
}

// readAll reads frames until idle is closed and no stream is open.
func (c *streamConn) readAll(s *schedule, idle <-chan struct{}, record *openRecord) error {
	for {
		frame, err := c.frames.ReadFrame()
		if err != nil {
			return err
		}
		if err := c.take(frame, s, record); err != nil {
			return err
		}
		select {
		case <-idle:
			c.mu.Lock()
			left := len(c.open)
			c.mu.Unlock()
			if left == 0 {
				return nil
			}
		default:
		}
	}
}

// take acts on a frame.
func (c *streamConn) take(frame http2.Frame, s *schedule, record *openRecord) error {
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		if status := f.PseudoValue("status"); status != "200" {
			return fmt.Errorf("status is %q, want 200", status)
		}
		return c.advance(f.StreamID, 0, f.StreamEnded(), s, record)
	case *http2.DataFrame:
		c.received += int64(f.Length)
		if c.received >= window/2 {
			if err := c.answer(func() error { return c.frames.WriteWindowUpdate(0, uint32(c.received)) }); err != nil {
				return err
			}
			c.received = 0
		}
		return c.advance(f.StreamID, int64(len(f.Data())), f.StreamEnded(), s, record)
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.answer(c.frames.WriteSettingsAck)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.answer(func() error { return c.frames.WritePing(true, f.Data) })
		}
	case *http2.RSTStreamFrame:
		return fmt.Errorf("stream was reset: %v", f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Errorf("connection is going away: %v", f.ErrCode)
	}
	return nil
}

// answer writes a frame.
func (c *streamConn) answer(write func() error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return errors.Join(write(), c.out.Flush())
}

// advance takes note of n bytes of a response, and of its end.
func (c *streamConn) advance(id uint32, n int64, ended bool, s *schedule, record *openRecord) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st, ok := c.open[id]
	if !ok {
		return fmt.Errorf("frame for stream %d, which is not open", id)
	}
	st.body += n
	c.open[id] = st
	if !ended {
		return nil
	}
	if st.body != c.want {
		return fmt.Errorf("response has %d bytes, want %d", st.body, c.want)
	}
	now := s.now()
	if len(c.open) >= c.streams {
		c.since = now
	}
	delete(c.open, id)
	c.changed.Broadcast()
	record.finish(now, st.due)
	return nil
}

// fail makes err, if it is not nil, that of the connection.
func (c *streamConn) fail(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.changed.Broadcast()
}

// h2Fields returns the fields of a GET as a browser sends them.
func h2Fields(target, scheme string) []hpack.HeaderField {
	var list []hpack.HeaderField
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", scheme}, {":authority", hostSent}, {":path", target},
		{"user-agent", userAgent},
		{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		{"accept-language", "en-GB,en;q=0.5"}, {"accept-encoding", "gzip, deflate, br"},
		{"cookie", "session=4f3c2b1a09f8e7d6"},
	} {
		list = append(list, hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return list
}
