// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
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

// originReady is the first line that the origin program prints.
type originReady struct {
	Addrs []string `json:"addrs"`
}

// originStats is what the origin program prints for each line it reads.
type originStats struct {
	Accepts  int64 `json:"accepts"`  // connections accepted so far
	Requests int64 `json:"requests"` // requests answered so far
}

// An origin is a program with originCount listeners that answers GET /b/N with
// N bytes as cheaply as it can.
type origin struct {
	accepts, requests atomic.Int64
	small             sync.Map // int64 size to []byte, whole responses
	filler            []byte
}

// runOrigin is the origin program: it serves until in ends.
func runOrigin(in io.Reader, out io.Writer) error {
	o := &origin{filler: make([]byte, 256<<10)}
	for i := range o.filler {
		o.filler[i] = 'a' + byte(i%26)
	}
	var ready originReady
	for range originCount {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen as origin: %w", err)
		}
		defer ln.Close() // ends accept
		ready.Addrs = append(ready.Addrs, ln.Addr().String())
		go o.accept(ln)
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

// accept serves connections of ln until it is closed.
func (o *origin) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		o.accepts.Add(1)
		go o.serve(conn.(*net.TCPConn)) // ends with its connection
	}
}

// serve answers requests on conn until the proxy closes it or sends something
// that is not one of ours.
func (o *origin) serve(conn *net.TCPConn) {
	defer conn.Close()
	buf := make([]byte, 16<<10)
	have := 0
	space := func() []byte { return buf[have:] }
	take := func(n int) (bool, error) {
		have += n
		for {
			used, err := o.answer(conn, buf[:have])
			if err != nil {
				return false, err
			}
			if used == 0 {
				break
			}
			have = copy(buf, buf[used:have])
		}
		if have == len(buf) {
			return false, fmt.Errorf("request is longer than %d bytes", len(buf))
		}
		return false, nil
	}
	_ = readEach(conn, nil, space, take) // its end is the connection's
}

// answer serves the request at the start of b, head and body, and returns its
// length, 0 if it is incomplete.
func (o *origin) answer(conn *net.TCPConn, b []byte) (used int, err error) {
	req, n, err := consumeRequest(b)
	if err != nil || n == 0 || int64(len(b)-n) < req.body {
		return 0, err
	}
	o.requests.Add(1)
	if req.size < 0 {
		_, err := conn.Write(append(o.head(conn, int64(n)), b[:n]...))
		return n + int(req.body), err
	}
	return n + int(req.body), o.respond(conn, req.size)
}

// respond sends a response with size bytes of body.
func (o *origin) respond(conn *net.TCPConn, size int64) error {
	if size > int64(len(o.filler)) {
		if _, err := conn.Write(o.head(conn, size)); err != nil {
			return err
		}
		for size > 0 {
			n := min(size, int64(len(o.filler)))
			if _, err := conn.Write(o.filler[:n]); err != nil {
				return err
			}
			size -= n
		}
		return nil
	}
	whole, ok := o.small.Load(size)
	if !ok {
		whole = append(o.head(conn, size), o.filler[:size]...)
		o.small.Store(size, whole)
	}
	_, err := conn.Write(whole.([]byte))
	return err
}

// head returns a response head of ordinary size. Its X-Origin field names
// the origin in an echo; other responses are shared by all origins.
func (o *origin) head(conn *net.TCPConn, size int64) []byte {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n")
	b = append(b, "Date: "+time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")+"\r\n"...)
	b = append(b, "Cache-Control: max-age=60\r\nETag: \"5f3e-1b2c\"\r\nX-Origin: "+conn.LocalAddr().String()+"\r\n"...)
	return append(b, "Content-Length: "+strconv.FormatInt(size, 10)+"\r\n\r\n"...)
}
