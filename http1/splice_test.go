// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// A splicing is a server whose handler passes on the response of an origin.
type splicing struct {
	client, far net.Conn // the ends outside: of the client and of the origin
	result      chan error
	up          *ClientConn
	asked       *bufio.Reader // at far
}

// ask sends the client's request and waits until the origin has it.
func (s *splicing) ask(t *testing.T) {
	t.Helper()
	io.WriteString(s.client, get11)
	if got, want := readRequest(s.asked), `GET / 0 "" map[]`; got != want {
		t.Fatalf("the origin got %q, want %q", got, want)
	}
}

// newSplicing starts one. The response has size bytes of body.
func newSplicing(t *testing.T, server ServerConfig, cfg ClientConfig, watch Watcher) *splicing {
	t.Helper()
	client, near := tcpPair(t)
	nc, far := tcpPair(t)
	nc.SetDeadline(time.Time{})
	far.SetDeadline(time.Now().Add(patience))
	s := &splicing{client: client, far: far, result: make(chan error, 1), up: NewClientConn(nc), asked: bufio.NewReader(far)}
	cfg = cfg.WithDefaults()
	serve(t, near, server, func(down *ServerStream) { s.result <- s.pass(down, &cfg, watch) })
	t.Cleanup(s.up.Close)
	return s
}

func (s *splicing) pass(down *ServerStream, cfg *ClientConfig, watch Watcher) error {
	s.up.Begin(cfg, watch)
	err := s.up.WriteHead(newRequest("GET", "/", 0), "", false, true)
	var res header.Response
	if err = errors.Join(err, s.up.SendAndReadHead(&res)); err != nil {
		return err
	}
	down.WriteHead(&res, false)
	for !CanSplice(down, s.up) { // what came with the head
		piece, last, err := s.up.ReadBody()
		if err != nil || last {
			return errors.Join(errors.New("nothing left to splice"), err)
		}
		down.WriteBody(piece, false)
	}
	if err := Splice(down, s.up); err != nil {
		return err
	}
	if !s.up.Reusable() || s.up.BodyReceived() != spliceSize {
		return fmt.Errorf("after Splice: reusable %v, received %d", s.up.Reusable(), s.up.BodyReceived())
	}
	s.up.Park()
	return nil
}

const spliceSize = 1 << 20

// originHead is the head of the origin's answer.
var originHead = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", spliceSize)

// skipIfNoSplice skips the test where Splice does not work.
func skipIfNoSplice(t *testing.T) {
	t.Helper()
	client, server := tcpPair(t)
	down := &ServerStream{}
	up := NewClientConn(client)
	down.out.conn = NewClientConn(server).io
	up.body.in = &up.in
	up.body.start(bodyFixed, minSplice)
	down.out.start(bodyFixed, minSplice)
	if !CanSplice(down, up) {
		t.Skip("no splice on this system")
	}
	for name, change := range map[string]func(){
		"too little":       func() { up.body.start(bodyFixed, minSplice-1); down.out.start(bodyFixed, minSplice-1) },
		"lengths differ":   func() { down.out.start(bodyFixed, minSplice+1) },
		"chunked upstream": func() { up.body.start(bodyChunked, -1) },
		"chunked to us":    func() { down.out.start(bodyChunked, -1) },
		"not TCP":          func() { up.in.conn = NewClientConn(&scriptConn{}).io },
		"buffered":         func() { up.in.r, up.in.w = 0, 1 },
	} {
		up.body.start(bodyFixed, minSplice)
		down.out.start(bodyFixed, minSplice)
		in := up.in
		if change(); CanSplice(down, up) {
			t.Errorf("%s: CanSplice = true, want false", name)
		}
		up.in = in
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	skipIfNoSplice(t)
	s := newSplicing(t, ServerConfig{}, ClientConfig{}, nil)
	body := make([]byte, spliceSize)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	br := bufio.NewReader(s.client)
	for range 2 { // both connections can be used again
		s.ask(t)
		sent := make(chan error, 1)
		go func() {
			io.WriteString(s.far, originHead)
			for i := 0; i < len(body); i += spliceSize / 4 { // the wait is part of the test
				if _, err := s.far.Write(body[i : i+spliceSize/4]); err != nil {
					sent <- err
					return
				}
				time.Sleep(time.Millisecond)
			}
			sent <- nil
		}()
		_, got := recvResponse(t, br, "GET")
		if got != string(body) {
			t.Fatal("the body has changed on its way")
		}
		if err := errors.Join(<-sent, <-s.result); err != nil {
			t.Fatal(err)
		}
	}
}

// The client gets less than announced, and sees it.
func TestSpliceOriginFails(t *testing.T) {
	t.Parallel()
	skipIfNoSplice(t)
	tests := []struct {
		name string
		fail func(nc *net.TCPConn)
		kind error
	}{
		{"closes", func(nc *net.TCPConn) { nc.Close() }, proxyerr.ConnClosed},
		{"resets", func(nc *net.TCPConn) { nc.SetLinger(0); nc.Close() }, proxyerr.ConnClosed},
		{"stalls", func(*net.TCPConn) {}, proxyerr.ReadTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSplicing(t, ServerConfig{}, ClientConfig{ReadTimeout: 300 * time.Millisecond}, nil)
			s.ask(t)
			io.WriteString(s.far, originHead)
			s.far.Write(make([]byte, spliceSize/2))
			res, err := http.ReadResponse(bufio.NewReader(s.client), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, make([]byte, spliceSize/4)); err != nil {
				t.Fatal(err)
			}
			tt.fail(s.far.(*net.TCPConn))
			if n, err := io.Copy(io.Discard, res.Body); err == nil {
				t.Errorf("the client saw no error, but %d bytes", n)
			}
			e, ok := errors.AsType[*proxyerr.Error](<-s.result)
			if !ok || e.Kind != tt.kind || e.Source != proxyerr.Upstream || s.up.Reusable() {
				t.Errorf("Splice = %v, reusable %v, want %v", e, s.up.Reusable(), tt.kind)
			}
		})
	}
}

func TestSpliceClientFails(t *testing.T) {
	t.Parallel()
	skipIfNoSplice(t)
	tests := []struct {
		name string
		fail func(nc *net.TCPConn)
		kind error
	}{
		{"resets", func(nc *net.TCPConn) { nc.SetLinger(0); nc.Close() }, proxyerr.ConnClosed},
		{"stalls", func(*net.TCPConn) {}, proxyerr.WriteTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSplicing(t, ServerConfig{WriteTimeout: 300 * time.Millisecond}, ClientConfig{}, nil)
			s.client.(*net.TCPConn).SetReadBuffer(4 << 10)
			s.ask(t)
			size := int64(1 << 30) // more than any socket buffer
			fmt.Fprintf(s.far, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
			piece := make([]byte, 1<<20)
			go func() {
				for {
					if _, err := s.far.Write(piece); err != nil {
						return
					}
				}
			}()
			if _, err := io.ReadFull(s.client, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			tt.fail(s.client.(*net.TCPConn))
			select {
			case err := <-s.result:
				e, ok := errors.AsType[*proxyerr.Error](err)
				if !ok || e.Kind != tt.kind || e.Source != proxyerr.Downstream {
					t.Errorf("Splice = %v, want %v downstream", err, tt.kind)
				}
			case <-time.After(patience):
				t.Fatal("Splice goes on")
			}
			if s.up.Reusable() {
				t.Error("reusable, though the body was not read to its end")
			}
			s.far.Close()
			if tt.kind == proxyerr.WriteTimeout { // what it has is visibly cut
				if n, err := io.Copy(io.Discard, s.client); !isReset(err) {
					t.Errorf("after %d more bytes: %v, want a reset", n, err)
				}
			}
		})
	}
}

// A slow client, and a source that pauses, change nothing: no byte is lost
// when deadlines pass in the middle.
func TestSpliceSlowly(t *testing.T) {
	t.Parallel()
	skipIfNoSplice(t)
	asked := 0
	s := newSplicing(t, ServerConfig{WriteTimeout: 5 * time.Second}, ClientConfig{ReadTimeout: patience},
		watchFunc(func() error { asked++; return nil }))
	s.ask(t)
	body := make([]byte, spliceSize)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	go func() {
		io.WriteString(s.far, originHead)
		s.far.Write(body[:spliceSize/2])
		time.Sleep(250 * time.Millisecond) // more than a tick of the Watcher
		s.far.Write(body[spliceSize/2:])
	}()
	br := bufio.NewReaderSize(s.client, 16)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, spliceSize)
	buf := make([]byte, 64<<10)
	for {
		time.Sleep(time.Millisecond)
		n, err := res.Body.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, body) {
		t.Error("the body has changed on its way")
	}
	if err := <-s.result; err != nil || asked == 0 {
		t.Errorf("Splice = %v, asked %d times", err, asked)
	}
}
