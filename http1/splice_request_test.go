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
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/proxyerr"
)

const uploadSize = 256 << 10

var uploadHead = fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", uploadSize)

// An upload passes the body of a request on to an origin.
type upload struct {
	down *ServerStream
	up   *ClientConn
	last bool       // beforeLast has been called
	done chan error // the outcome of SpliceRequest
}

// start sends the head and begins with the body, on a goroutine of its own.
func (u *upload) start() error {
	cfg := ClientConfig{}.WithDefaults()
	u.up.Begin(&cfg, nil)
	err := u.up.WriteHead(newRequest("POST", "/", uploadSize), "", false, false)
	if err = errors.Join(err, u.up.Flush()); err != nil {
		return err
	}
	u.done = make(chan error, 1)
	go func() { u.done <- u.send() }()
	return nil
}

func (u *upload) send() error {
	for !CanSpliceRequest(u.up, u.down) { // what came with the head
		piece, last, err := u.down.ReadBody()
		if err != nil || last {
			return errors.Join(errors.New("nothing left to splice"), err)
		}
		if err := errors.Join(u.up.WriteBody(piece, false), u.up.Flush()); err != nil {
			return err
		}
	}
	return SpliceRequest(u.up, u.down, func() { u.last = true })
}

// uploadPair returns a client connection of ours, and the end of its origin.
func uploadPair(t *testing.T) (up *ClientConn, far net.Conn) {
	t.Helper()
	far, nc := tcpPair(t)
	up = NewClientConn(nc)
	t.Cleanup(up.Close)
	return up, far
}

// An origin may answer as soon as it has the body: by then the body counts as
// arrived, and the client's connection stays.
func TestSpliceRequest(t *testing.T) {
	t.Parallel()
	skipIfNoSplice(t)
	body := make([]byte, uploadSize)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	client, near := tcpPair(t)
	up, far := uploadPair(t)
	asked := bufio.NewReader(far)
	serve(t, near, ServerConfig{}, func(down *ServerStream) {
		u := &upload{down: down, up: up}
		if err := u.start(); err != nil {
			t.Error(err)
			return
		}
		recvHead(t, asked)
		got := make([]byte, uploadSize)
		if _, err := io.ReadFull(asked, got); err != nil || !bytes.Equal(got, body) {
			t.Errorf("the body has changed on its way, %v", err)
		}
		answer(down, 200, "")
		if err := <-u.done; err != nil || !u.last || down.BodyReceived() != uploadSize {
			t.Errorf("SpliceRequest = %v, beforeLast called: %v, received %d", err, u.last, down.BodyReceived())
		}
	})
	br := bufio.NewReader(client)
	for i := range 50 {
		io.WriteString(client, uploadHead)
		client.Write(body[:uploadSize/2])
		if i == 0 {
			time.Sleep(time.Millisecond) // the wait is part of the test
		}
		client.Write(body[uploadSize/2:])
		if res, _ := recvResponse(t, br, "POST"); res.StatusCode != 200 || res.Close {
			t.Fatalf("request %d: got %d, close %v", i, res.StatusCode, res.Close)
		}
	}
}

func TestSpliceRequestFails(t *testing.T) {
	t.Parallel()
	skipIfNoSplice(t)
	type ends struct {
		client, far net.Conn
		down        *ServerStream
	}
	tests := []struct {
		name   string
		pace   netio.Pace
		fail   func(ends)
		source proxyerr.Source
		kind   proxyerr.Kind
		status int
	}{
		{"closes", netio.Pace{}, func(e ends) { e.client.Close() }, proxyerr.Downstream, proxyerr.ConnClosed, 0},
		{"resets", netio.Pace{}, func(e ends) { e.client.(*net.TCPConn).SetLinger(0); e.client.Close() }, proxyerr.Downstream, proxyerr.ConnClosed, 0},
		{"stalls", netio.Pace{}, func(ends) {}, proxyerr.Downstream, proxyerr.ReadTimeout, 408},
		{"too slow", netio.NewPace(1<<27, 100*time.Millisecond), func(e ends) {
			for range 10_000 {
				if _, err := e.client.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}, proxyerr.Downstream, proxyerr.ReadTimeout, 408},
		{"interrupted", netio.Pace{}, func(e ends) { e.down.InterruptReading() }, proxyerr.Downstream, proxyerr.ReadTimeout, 408},
		{"origin resets", netio.Pace{}, func(e ends) {
			e.far.(*net.TCPConn).SetLinger(0)
			e.far.Close()
			io.WriteString(e.client, strings.Repeat("x", uploadSize/4))
		}, proxyerr.Upstream, proxyerr.ConnClosed, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client, near := tcpPair(t)
			up, far := uploadPair(t)
			started := make(chan *upload)
			cfg := ServerConfig{BodyTimeout: patience}
			if tt.name == "stalls" {
				cfg.BodyTimeout = 300 * time.Millisecond
			}
			result := make(chan error, 1)
			_, done := serve(t, near, cfg, func(down *ServerStream) {
				down.body.pace = tt.pace
				u := &upload{down: down, up: up}
				if err := u.start(); err != nil {
					t.Error(err)
				}
				started <- u
				result <- <-u.done
				if down.BodyReceived() >= uploadSize || u.last || down.BodyComplete() || up.Reusable() {
					t.Errorf("after a failure: received %d, last %v, complete %v, reusable %v", down.BodyReceived(), u.last, down.BodyComplete(), up.Reusable())
				}
			})
			io.WriteString(client, uploadHead+strings.Repeat("x", uploadSize/2))
			u := <-started
			asked := bufio.NewReader(far)
			recvHead(t, asked)
			if _, err := io.CopyN(io.Discard, asked, uploadSize/2); err != nil {
				t.Fatal(err)
			}
			failed := make(chan struct{})
			go func() { defer close(failed); tt.fail(ends{client, far, u.down}) }()
			err := <-result
			e, ok := errors.AsType[*proxyerr.Error](err)
			if !ok || e.Source != tt.source || e.Kind != tt.kind || e.Status != tt.status {
				t.Errorf("SpliceRequest = %v, want %v %v, %d", err, tt.source, tt.kind, tt.status)
			}
			waitFor(t, "Serve", done)
			<-failed
		})
	}
}
