// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/belay-proxy/belay/proxytest"
)

// A plan says how an origin answers one request. It travels in the target, so
// that origins need no memory.
type plan struct {
	size    int
	seed    uint64
	framing string // "length", "chunked" or "close"
	fault   string // "", "reset", "short", "slow", "early", "hangup" or "1xx"
}

var (
	framings = []string{"length", "chunked", "close"}

	// What clean says is all that may happen to a response to one of these.
	cleanFaults = []string{"", "", "", "", "slow", "1xx", "hangup"}
)

// target returns the request target that carries p.
func (p plan) target() string {
	return fmt.Sprintf("/%s?size=%d&seed=%d&framing=%s", p.fault, p.size, p.seed, p.framing)
}

func parsePlan(target string) (p plan, err error) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return p, err
	}
	q := u.Query()
	p.fault = strings.TrimPrefix(u.Path, "/")
	p.framing = q.Get("framing")
	if p.size, err = strconv.Atoi(q.Get("size")); err != nil {
		return p, err
	}
	p.seed, err = strconv.ParseUint(q.Get("seed"), 10, 64)
	return p, err
}

// content returns n bytes that depend on seed.
func content(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := rng.Uint64()
		for j := i; j < min(i+8, n); j++ {
			b[j] = byte(v)
			v >>= 8
		}
	}
	return b
}

// checksum is what an origin says about the body it has got.
func checksum(body []byte) string { return fmt.Sprintf("%d-%08x", len(body), crc32.ChecksumIEEE(body)) }

// serveOrigin is the script of an origin.
func serveOrigin(c net.Conn, br *bufio.Reader) {
	for {
		if _, err := br.Peek(1); err != nil {
			return
		}
		if early, _ := br.Peek(len("POST /early")); string(early) == "POST /early" {
			answerEarly(c, br)
			return
		}
		req, err := proxytest.ReadRequest(br)
		if err != nil {
			return
		}
		p, err := parsePlan(req.Target)
		if err != nil {
			_, _ = io.WriteString(c, "HTTP/1.1 500 Bad plan\r\nContent-Length: 0\r\n\r\n")
			return
		}
		switch {
		case p.fault == "reset" && req.Fields.Get("Attempt") == "1":
			proxytest.Reset(c)
			return
		case p.fault == "upgrade":
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.CopyN(c, br, int64(p.size))
			return
		}
		if !answer(c, &req, p) {
			return
		}
	}
}

// answerEarly refuses a request before its body has come.
func answerEarly(c net.Conn, br *bufio.Reader) {
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			break
		}
	}
	_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
	_, _ = io.CopyN(io.Discard, br, 64<<10)
}

// answer sends the response that p asks for. It reports whether the connection
// goes on.
func answer(c net.Conn, req *proxytest.RecordedRequest, p plan) bool {
	body := content(p.seed, p.size)
	head := "HTTP/1.1 200 OK\r\nChecksum: " + checksum(req.Body) + "\r\n"
	if p.fault == "1xx" {
		head = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + head
	}
	var out []byte
	switch p.framing {
	case "length":
		out = fmt.Appendf([]byte(head), "Content-Length: %d\r\n\r\n", len(body))
		out = appendBody(out, req.Method, body)
	case "chunked":
		out = append([]byte(head), "Transfer-Encoding: chunked\r\n\r\n"...)
		if req.Method != "HEAD" {
			for rest := body; len(rest) > 0; {
				n := min(len(rest), 5000)
				out = fmt.Appendf(out, "%x\r\n%s\r\n", n, rest[:n])
				rest = rest[n:]
			}
			out = append(out, "0\r\nSum: "+checksum(body)+"\r\n\r\n"...)
		}
	default:
		out = appendBody(append([]byte(head), "Connection: close\r\n\r\n"...), req.Method, body)
	}
	switch p.fault {
	case "short": // the end is missing
		_, _ = c.Write(out[:len(out)-1-int(p.seed%uint64(min(p.size, 100)))])
		if p.seed%2 == 0 {
			proxytest.Reset(c)
		}
		return false
	case "slow":
		for len(out) > 0 {
			n := min(len(out), 1+len(out)/3)
			if _, err := c.Write(out[:n]); err != nil {
				return false
			}
			out = out[n:]
			time.Sleep(time.Millisecond)
		}
	default:
		if _, err := c.Write(out); err != nil {
			return false
		}
	}
	return p.framing != "close" && p.fault != "hangup"
}

func appendBody(out []byte, method string, body []byte) []byte {
	if method == "HEAD" {
		return out
	}
	return append(out, body...)
}
