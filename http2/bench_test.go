// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"testing"

	"github.com/belay-proxy/belay/header"
)

// A loader is a client that sends batches of requests, as a browser that knows
// the headers by heart would, and allocates nothing.
type loader struct {
	nc    net.Conn
	batch []byte // HEADERS of all requests of a batch
	each  int    // bytes of one
	next  uint32 // stream
	in    []byte
	r, w  int
}

// requestFields is what browsers send, about.
var requestFields = []string{
	":method=GET", ":scheme=http", ":path=/index.html?q=1", ":authority=www.example.com",
	"user-agent=Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"accept=text/html,application/xhtml+xml", "accept-language=en", "accept-encoding=gzip, br", "referer=https://example.com/",
}

func newLoader(tb testing.TB, nc net.Conn, streams int) *loader {
	p := newRawPeer(tb, &scriptConn{})
	l := &loader{nc: nc, next: 1, in: make([]byte, 256<<10)}
	nc.Write(hello(setting{settingInitialWindowSize, 1 << 30}))
	nc.Write(appendWindowUpdate(nil, 0, 1<<30))
	nc.Write(headersFrame(l.next, true, p.block(requestFields...)))
	l.next += 2
	one := headersFrame(0, true, p.block(requestFields...)) // by references to the table
	l.each = len(one)
	for range streams {
		l.batch = append(l.batch, one...)
	}
	if err := l.wait(1); err != nil {
		tb.Fatal(err)
	}
	return l
}

// run sends a batch and waits for all its responses.
func (l *loader) run() error {
	n := 0
	for at := 0; at < len(l.batch); at += l.each {
		binary.BigEndian.PutUint32(l.batch[at+5:], l.next)
		l.next += 2
		n++
	}
	if _, err := l.nc.Write(l.batch); err != nil {
		return err
	}
	return l.wait(n)
}

// wait reads until n streams have ended.
func (l *loader) wait(n int) error {
	received := 0
	for n > 0 {
		h, ok := consumeFrameHeader(l.in[l.r:l.w])
		if !ok || l.w-l.r < frameHeaderLen+h.length {
			copy(l.in, l.in[l.r:l.w])
			l.r, l.w = 0, l.w-l.r
			k, err := l.nc.Read(l.in[l.w:])
			if l.w += k; err != nil {
				return err
			}
			continue
		}
		l.r += frameHeaderLen + h.length
		switch h.typ {
		case frameData:
			received += h.length
			if h.has(flagEndStream) {
				n--
			}
		case frameGoAway, frameRSTStream:
			return io.ErrUnexpectedEOF
		}
	}
	if received > 0 {
		var frame [13]byte
		_, err := l.nc.Write(appendWindowUpdate(frame[:0], 0, int64(received)))
		return err
	}
	return nil
}

// small answers with 100 bytes.
func small(s *ServerStream) {
	res := header.Response{Status: 200, Length: int64(len(hundred))}
	res.Fields.AddValid("content-type", "text/plain")
	if s.WriteHead(&res, false) == nil {
		s.WriteBody(hundred, true)
	}
}

var hundred = make([]byte, 100)

func BenchmarkServer(b *testing.B) {
	for _, bb := range []struct {
		name   string
		handle func(*ServerStream)
	}{
		{"small", small},
		{"64KiB", func(s *ServerStream) { sendBytes(s, 64<<10) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			peer, ours := tcpPair(b)
			cfg := Config{}.WithDefaults()
			c := NewServerConn(ours, &cfg, nil, bb.handle)
			done := make(chan struct{})
			go func() { defer close(done); c.Serve() }()
			l := newLoader(b, peer, 32)
			b.ReportAllocs()
			for i := 0; i < b.N; i += 32 {
				if err := l.run(); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			c.Kill()
			<-done
		})
	}
}

// TestServerAllocs keeps the budget of a request: the two heads and the
// response of the handler, and nothing that grows with the head.
func TestServerAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	peer, ours := tcpPair(t)
	cfg := Config{}.WithDefaults()
	c := NewServerConn(ours, &cfg, nil, small)
	done := make(chan struct{})
	go func() { defer close(done); c.Serve() }()
	l := newLoader(t, peer, 32)
	got := math.Inf(1)
	for try := 0; try < 5 && int(got) != 3; try++ { // a busy machine makes it start more workers, a collection empties the pools
		got = min(got, testing.AllocsPerRun(200, func() {
			if err := l.run(); err != nil {
				t.Fatal(err)
			}
		})/32)
	}
	if int(got) != 3 {
		t.Errorf("%.2f allocations per request, want 3; if it is less, lower the number", got)
	}
	c.Kill()
	<-done
}

// BenchmarkClient sends requests one after the other over one connection.
func BenchmarkClient(b *testing.B) {
	peer, ours := tcpPair(b)
	cfg := Config{}.WithDefaults()
	srv := NewServerConn(peer, &cfg, nil, small)
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve() }()
	c := NewClientConn(ours, &cfg, "http")
	req := newRequest("GET", "/", 0)
	var res header.Response
	b.ReportAllocs()
	for b.Loop() {
		s := c.NewStream(nil, 0, 0)
		err := s.WriteHead(req, "", false, true)
		if err == nil {
			err = s.ReadHead(&res)
		}
		if err == nil {
			_, err = readBody(s.ReadBody)
		}
		s.Finish()
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	c.Close()
	<-done
}
