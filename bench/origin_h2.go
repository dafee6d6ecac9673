// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2Origin is a connection to an origin that speaks HTTP/2 without TLS. It
// answers in the order of requests and writes when it has read all that has
// come.
type h2Origin struct {
	*origin
	conn   *net.TCPConn
	in     *bufio.Reader
	out    *bufio.Writer
	frames *http2.Framer
	block  bytes.Buffer
	encode *hpack.Encoder

	window  int64            // what we may still send on the connection
	streams map[uint32]int64 // what we may send on a stream more or less than initial
	initial int64            // window of a new stream
	waiting []h2Response     // for a window
	bodies  map[uint32]h2Body
}

// An h2Response is the body of a response, sent as far as at.
type h2Response struct {
	stream   uint32
	at, size int64
}

// An h2Body is a request whose body is under way.
type h2Body struct {
	req     originRequest
	checker bodyChecker
	wrong   bool
}

// serveH2 answers requests on conn until the proxy closes it or sends something
// that is not one of ours.
func (o *origin) serveH2(conn *net.TCPConn) {
	defer conn.Close()
	c := &h2Origin{
		origin: o, conn: conn, in: bufio.NewReaderSize(conn, 16<<10), out: bufio.NewWriterSize(conn, 32<<10),
		window: 65535, initial: 65535, streams: make(map[uint32]int64), bodies: make(map[uint32]h2Body),
	}
	c.frames = http2.NewFramer(c.out, c.in)
	c.frames.SetReuseFrames()
	c.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encode = hpack.NewEncoder(&c.block)
	_ = c.serve() // its end is the connection's
}

func (c *h2Origin) serve() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.in, preface); err != nil || string(preface) != http2.ClientPreface {
		return errors.Join(err, errors.New("no HTTP/2"))
	}
	settings := []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 10_000}, {ID: http2.SettingInitialWindowSize, Val: 1 << 20}}
	if err := errors.Join(c.frames.WriteSettings(settings...), c.frames.WriteWindowUpdate(0, 1<<30)); err != nil {
		return err
	}
	for {
		if c.in.Buffered() == 0 {
			if err := c.out.Flush(); err != nil {
				return err
			}
		}
		frame, err := c.frames.ReadFrame()
		if err != nil {
			return err
		}
		if err := c.take(frame); err != nil {
			return err
		}
	}
}

// take acts on a frame.
func (c *h2Origin) take(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return c.takeHead(f)
	case *http2.DataFrame:
		return c.takeBody(f)
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.initial = int64(v)
		}
		return errors.Join(c.frames.WriteSettingsAck(), c.send())
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.frames.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
		} else {
			c.streams[f.StreamID] += int64(f.Increment)
		}
		return c.send()
	case *http2.RSTStreamFrame:
		return errors.New("the proxy gave a stream up") // none of ours is
	}
	return nil
}

// takeHead starts on a request.
func (c *h2Origin) takeHead(f *http2.MetaHeadersFrame) error {
	if f.PseudoValue("path") == echoTarget {
		return c.echo(f)
	}
	req, err := parseTarget([]byte(f.PseudoValue("path")))
	if err != nil {
		return err
	}
	if f.StreamEnded() {
		return c.respond(f.StreamID, "200", req.size)
	}
	c.bodies[f.StreamID] = h2Body{req: req}
	return nil
}

// takeBody takes note of a piece of a request's body.
func (c *h2Origin) takeBody(f *http2.DataFrame) error {
	b := c.bodies[f.StreamID]
	if b.req.kind == checkRequest && !b.wrong {
		_, err := b.checker.Write(f.Data())
		b.wrong = err != nil
	}
	if !f.StreamEnded() {
		c.bodies[f.StreamID] = b
		if f.Length == 0 {
			return nil
		}
		return errors.Join(c.frames.WriteWindowUpdate(0, f.Length), c.frames.WriteWindowUpdate(f.StreamID, f.Length))
	}
	delete(c.bodies, f.StreamID)
	if b.wrong {
		return c.respond(f.StreamID, "400", 0)
	}
	return c.respond(f.StreamID, "200", b.req.size)
}

// respond sends the head of a response and queues its body.
func (c *h2Origin) respond(stream uint32, status string, size int64) error {
	c.requests.Add(1)
	if err := c.writeHead(stream, status, size); err != nil || size == 0 {
		return err
	}
	c.waiting = append(c.waiting, h2Response{stream: stream, size: size})
	return c.send()
}

// writeHead sends the same fields as an origin of HTTP/1.1.
func (c *h2Origin) writeHead(stream uint32, status string, size int64) error {
	c.block.Reset()
	for _, f := range [][2]string{
		{":status", status}, {"content-type", "text/html; charset=utf-8"},
		{"date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")},
		{"cache-control", "max-age=60"}, {"etag", `"5f3e-1b2c"`}, {"x-origin", c.conn.LocalAddr().String()},
		{"content-length", strconv.FormatInt(size, 10)},
	} {
		_ = c.encode.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to a bytes.Buffer
	}
	return c.frames.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.block.Bytes(), EndStream: size == 0, EndHeaders: true,
	})
}

// send sends as much of what waits as the windows let it.
func (c *h2Origin) send() error {
	const most = 16 << 10 // bytes of a frame
	for len(c.waiting) > 0 {
		r := &c.waiting[0]
		from := r.at % int64(len(filler))
		n := min(r.size-r.at, most, c.window, c.initial+c.streams[r.stream], int64(len(filler))-from)
		if n <= 0 {
			return nil
		}
		last := r.at+n == r.size
		if err := c.frames.WriteData(r.stream, last, filler[from:from+n]); err != nil {
			return err
		}
		r.at += n
		c.window -= n
		c.streams[r.stream] -= n
		if last {
			delete(c.streams, r.stream)
			c.waiting = c.waiting[1:]
		}
	}
	return nil
}

// echo answers with the request as a head of HTTP/1.1.
func (c *h2Origin) echo(f *http2.MetaHeadersFrame) error {
	c.requests.Add(1)
	head := []byte("GET " + echoTarget + " HTTP/1.1\r\nHost: " + f.PseudoValue("authority") + "\r\n")
	for _, field := range f.RegularFields() {
		head = append(head, field.Name+": "+field.Value+"\r\n"...)
	}
	head = append(head, "\r\n"...)
	if err := c.writeHead(f.StreamID, "200", int64(len(head))); err != nil {
		return err
	}
	c.window -= int64(len(head))
	return c.frames.WriteData(f.StreamID, true, head)
}
