// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// originCount is the number of origins behind each proxy.
const originCount = 3

// echoTarget is the target that an origin answers with the head it received.
const echoTarget = "/echo"

// bodyTarget starts the targets that an origin answers with a body; the number
// of its bytes follows.
const bodyTarget = "/b/"

// checkTarget starts the targets that an origin answers as /b/, but with status
// 400 unless the bytes of the request's body are right.
const checkTarget = "/v/"

// delayTarget starts the targets that an origin answers as /b/, originDelay
// later.
const delayTarget = "/d/"

const originDelay = 100 * time.Millisecond

// originReady is the first line that the origin program prints: addresses.
type originReady struct {
	Addrs []string `json:"addrs"` // of HTTP/1.1
	H2    []string `json:"h2"`    // of HTTP/2 without TLS
	GRPC  []string `json:"grpc"`  // of gRPC without TLS
}

// originStats is what the origin program prints for each line it reads.
type originStats struct {
	Accepts  int64 `json:"accepts"`  // connections accepted so far
	Requests int64 `json:"requests"` // requests or messages answered so far
}

// An origin is a program with several listeners that answers GET /b/N with N
// bytes as cheaply as it can.
type origin struct {
	accepts, requests atomic.Int64
	starts            sync.Map // int64 size to []byte, as of bodyStart
}

// runOrigin is the origin program, with count listeners for HTTP/1.1 and
// originCount for each of the others: it serves until in ends.
func runOrigin(count int, in io.Reader, out io.Writer) error {
	o := new(origin)
	var ready originReady
	server := o.grpcServer()
	defer server.Stop()
	for _, kind := range []struct {
		count int
		addrs *[]string
		serve func(net.Listener)
	}{
		{count, &ready.Addrs, func(ln net.Listener) { o.accept(ln, o.serve) }},
		{originCount, &ready.H2, func(ln net.Listener) { o.accept(ln, o.serveH2) }},
		{originCount, &ready.GRPC, func(ln net.Listener) { _ = server.Serve(countedListener{ln, &o.accepts}) }},
	} {
		for i := range kind.count {
			ln, err := listenAsOrigin(i)
			if err != nil {
				return err
			}
			defer ln.Close() // ends serve
			*kind.addrs = append(*kind.addrs, ln.Addr().String())
			go kind.serve(ln)
		}
	}
	enc := json.NewEncoder(out)
	if err := enc.Encode(ready); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := enc.Encode(originStats{o.accepts.Load(), o.requests.Load()}); err != nil {
			return err
		}
	}
	return nil
}

// listenAsOrigin returns the listener of origin i. Some share an address of the
// loopback network, each with its own port, so that none runs out of ports.
func listenAsOrigin(i int) (net.Listener, error) {
	const each = 1000
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.%d.1:0", i/each))
	if err != nil {
		return nil, fmt.Errorf("listen as origin: %w", err)
	}
	return ln, nil
}

// accept serves connections of ln until it is closed.
func (o *origin) accept(ln net.Listener, serve func(*net.TCPConn)) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		o.accepts.Add(1)
		go serve(conn.(*net.TCPConn)) // ends with its connection
	}
}

// serve answers requests on conn until the proxy closes it or sends something
// that is not one of ours.
func (o *origin) serve(conn *net.TCPConn) {
	defer conn.Close()
	c := &originConn{origin: o, conn: conn, buf: make([]byte, 16<<10)}
	_ = readEach(conn, nil, c.space, c.take) // its end is the connection's
}

// An originConn is a connection to an origin.
type originConn struct {
	*origin
	conn *net.TCPConn
	buf  []byte
	have int // bytes in buf

	req     originRequest // under way, if head is not nil
	head    []byte
	left    int64 // bytes of its body still to come
	checker bodyChecker
	wrong   error // what checker has found
	socket  bool  // a WebSocket
}

func (c *originConn) space() []byte { return c.buf[c.have:] }

// take answers what n more bytes in space() complete.
func (c *originConn) take(n int) (bool, error) {
	c.have += n
	for {
		step := c.advance
		if c.socket {
			step = c.echoMessages
		}
		used, err := step(c.buf[:c.have])
		if err != nil {
			return false, err
		}
		if used == 0 {
			break
		}
		c.have = copy(c.buf, c.buf[used:c.have])
	}
	if c.have == len(c.buf) {
		return false, fmt.Errorf("request head is longer than %d bytes", len(c.buf))
	}
	return false, nil
}

// advance consumes a head or some body at the start of b, answers the request
// if that completes it, and returns the number of bytes; 0 means that it needs
// more.
func (c *originConn) advance(b []byte) (used int, err error) {
	if c.head == nil {
		if c.req, used, err = consumeRequest(b); err != nil || used == 0 {
			return 0, err
		}
		c.head, c.left = b[:used], c.req.body
		c.checker, c.wrong = bodyChecker{}, nil
		if c.req.kind == echoRequest {
			c.head = bytes.Clone(c.head)
		}
	} else {
		used = int(min(c.left, int64(len(b))))
		if c.req.kind == checkRequest && c.wrong == nil {
			_, c.wrong = c.checker.Write(b[:used])
		}
		c.left -= int64(used)
	}
	if c.left > 0 {
		return used, nil
	}
	err = c.answer()
	c.head = nil
	return used, err
}

// answer sends the response to a request that is complete.
func (c *originConn) answer() error {
	if c.req.kind == socketRequest { // its messages count, not the handshake
		c.socket = true
		_, err := c.conn.Write(webSocketResponse())
		return err
	}
	c.requests.Add(1)
	switch c.req.kind {
	case echoRequest:
		_, err := c.conn.Write(append(c.responseHead(c.conn, int64(len(c.head))), c.head...))
		return err
	case delayRequest:
		size := c.req.size
		time.AfterFunc(originDelay, func() { _ = c.respond(c.conn, size) }) // its error is the connection's
		return nil
	case checkRequest:
		if c.wrong != nil {
			_, err := io.WriteString(c.conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return err
		}
	}
	return c.respond(c.conn, c.req.size)
}

// respond sends a response with size bytes of body.
func (o *origin) respond(conn *net.TCPConn, size int64) error {
	start, ok := o.starts.Load(size)
	if !ok {
		start = bodyStart(o.responseHead(conn, size), size)
		o.starts.Store(size, start)
	}
	if _, err := conn.Write(start.([]byte)); err != nil {
		return err
	}
	return writeRest(conn, size)
}

// responseHead returns a response head of ordinary size. Its X-Origin field names
// the origin in an echo; other responses are shared by all origins.
func (o *origin) responseHead(conn *net.TCPConn, size int64) []byte {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n")
	b = append(b, "Date: "+time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")+"\r\n"...)
	b = append(b, "Cache-Control: max-age=60\r\nETag: \"5f3e-1b2c\"\r\nX-Origin: "+conn.LocalAddr().String()+"\r\n"...)
	return append(b, "Content-Length: "+strconv.FormatInt(size, 10)+"\r\n\r\n"...)
}
