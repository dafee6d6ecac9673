// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/test/internal/modes"
	"golang.org/x/net/http2/hpack"
)

// Frame types, flags and error codes of RFC 9113 that the tests need.
const (
	frameData, frameHeaders, frameReset, frameSettings = 0, 1, 3, 4
	framePing, frameGoAway, frameWindow                = 6, 7, 8

	flagEnd, flagAck, flagEndHeaders = 1, 1, 4

	codeNo, codeProtocol, codeRefused, codeCancel = 0, 1, 7, 8
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame is one frame as received.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
	fields      []hpack.HeaderField // of HEADERS
}

func (f frame) ends() bool { return f.kind <= frameHeaders && f.flags&flagEnd != 0 }

func (f frame) field(name string) string {
	for _, hf := range f.fields {
		if hf.Name == name {
			return hf.Value
		}
	}
	return ""
}

// code returns the error code of RST_STREAM and GOAWAY.
func (f frame) code() uint32 {
	if f.kind == frameGoAway {
		return binary.BigEndian.Uint32(f.payload[4:])
	}
	return binary.BigEndian.Uint32(f.payload)
}

// last returns the last stream that a GOAWAY covers.
func (f frame) last() uint32 { return binary.BigEndian.Uint32(f.payload) }

// frames is one end of an HTTP/2 connection whose frames the test writes and
// reads itself. One goroutine may read while others write.
type frames struct {
	nc  net.Conn
	br  *bufio.Reader
	dec *hpack.Decoder

	scheme string // of the requests of a client

	mu  sync.Mutex // guards writing
	enc *hpack.Encoder
	buf bytes.Buffer // of enc
}

// dialFrames connects as a client that speaks p.
func dialFrames(t testing.TB, p modes.Protocol, addr string) *frames {
	t.Helper()
	nc := p.Dial(t, addr)
	c := newFrames(nc)
	c.scheme = p.Scheme()
	_, err := io.WriteString(nc, preface)
	must(t, err)
	must(t, c.write(frameSettings, 0, 0, nil))
	return c
}

// acceptFrames begins a connection as a server.
func acceptFrames(nc net.Conn, settings ...byte) (*frames, error) {
	c := newFrames(nc)
	got := make([]byte, len(preface))
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.br, got); err != nil || string(got) != preface {
		return nil, fmt.Errorf("preface %q: %w", got, err)
	}
	return c, c.write(frameSettings, 0, 0, settings)
}

func newFrames(nc net.Conn) *frames {
	c := &frames{nc: nc, br: bufio.NewReader(nc), dec: hpack.NewDecoder(4096, nil)}
	c.enc = hpack.NewEncoder(&c.buf)
	return c
}

func (c *frames) write(kind, flags byte, stream uint32, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(kind, flags, stream, payload)
}

func (c *frames) writeLocked(kind, flags byte, stream uint32, payload []byte) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	_, err := c.nc.Write(append(b, payload...))
	return err
}

// headers writes a header list, given as names and values in turn. A "!" in
// front of a name makes the field one that is never indexed.
func (c *frames) headers(stream uint32, end bool, fields ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		name, never := strings.CutPrefix(fields[i], "!")
		_ = c.enc.WriteField(hpack.HeaderField{Name: name, Value: fields[i+1], Sensitive: never})
	}
	flags := byte(flagEndHeaders)
	if end {
		flags |= flagEnd
	}
	return c.writeLocked(frameHeaders, flags, stream, c.buf.Bytes())
}

// get writes the head of a GET request with further fields.
func (c *frames) get(stream uint32, target string, fields ...string) error {
	head := []string{":method", "GET", ":scheme", c.scheme, ":authority", "origin.test", ":path", target}
	return c.headers(stream, true, append(head, fields...)...)
}

func (c *frames) data(stream uint32, end bool, p string) error {
	var flags byte
	if end {
		flags = flagEnd
	}
	return c.write(frameData, flags, stream, []byte(p))
}

func (c *frames) reset(stream uint32, code uint32) error {
	return c.write(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

func (c *frames) goAway(last, code uint32) error {
	b := binary.BigEndian.AppendUint32(nil, last)
	return c.write(frameGoAway, 0, 0, binary.BigEndian.AppendUint32(b, code))
}

// next returns the next frame that is about a stream, or a GOAWAY. It answers
// SETTINGS and PING and gives back the window of data.
func (c *frames) next() (frame, error) {
	for {
		f, err := c.read()
		if err != nil {
			return f, err
		}
		switch {
		case f.kind == frameSettings && f.flags&flagAck == 0:
			err = c.write(frameSettings, flagAck, 0, nil)
		case f.kind == framePing && f.flags&flagAck == 0:
			err = c.write(framePing, flagAck, 0, f.payload)
		case f.kind == frameData && len(f.payload) > 0:
			n := binary.BigEndian.AppendUint32(nil, uint32(len(f.payload)))
			err = c.write(frameWindow, 0, 0, n)
			if !f.ends() && err == nil {
				err = c.write(frameWindow, 0, f.stream, n)
			}
		}
		if err != nil || f.kind <= frameReset || f.kind == frameGoAway {
			return f, err
		}
	}
}

// read reads one frame.
func (c *frames) read() (f frame, err error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	var head [9]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return f, err
	}
	f.kind, f.flags, f.stream = head[3], head[4], binary.BigEndian.Uint32(head[5:])
	f.payload = make([]byte, binary.BigEndian.Uint32(head[:])>>8)
	if _, err := io.ReadFull(c.br, f.payload); err != nil {
		return f, err
	}
	if f.kind == frameHeaders {
		if f.flags != flagEndHeaders && f.flags != flagEndHeaders|flagEnd {
			return f, errors.New("HEADERS with padding, priority or continuation: the kit does not read that")
		}
		f.fields, err = c.dec.DecodeFull(f.payload)
	}
	return f, err
}

// request reads until a request is complete and returns its head. It is for
// servers that take one request at a time.
func (c *frames) request() (head frame, err error) {
	for {
		f, err := c.next()
		if err != nil {
			return head, err
		}
		if f.kind == frameHeaders && head.fields == nil {
			head = f
		}
		if f.ends() {
			return head, nil
		}
	}
}

// reply is what came on one stream.
type reply struct {
	status string
	head   frame
	body   string
	reset  bool // by RST_STREAM with code
	code   uint32
}

// reply reads until a stream has ended and returns what came on it.
func (c *frames) reply(t testing.TB, stream uint32) (r reply) {
	t.Helper()
	for {
		f, err := c.next()
		if err != nil {
			t.Fatalf("reply on stream %d: %v", stream, err)
		}
		if f.stream != stream {
			continue
		}
		switch f.kind {
		case frameHeaders:
			if r.status == "" || r.status[0] == '1' {
				r.head, r.status = f, f.field(":status")
			}
		case frameData:
			r.body += string(f.payload)
		case frameReset:
			r.reset, r.code = true, f.code()
			return r
		}
		if f.ends() {
			return r
		}
	}
}

// ok writes a small response.
func (c *frames) ok(stream uint32, body string) error {
	return errors.Join(c.headers(stream, false, ":status", "200"), c.data(stream, true, body))
}
