// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/belay-proxy/belay/header"
)

// errCut ends a connection as an option asks for.
var errCut = errors.New("cut on purpose")

// serve serves the connection until it ends. The caller closes it.
func (c *conn) serve() {
	conf := &c.origin.conf
	switch {
	case conf.neverRead:
		<-c.done
		return
	case conf.script != nil:
		conf.script(c, c.br)
		return
	}
	for index := 1; ; index++ {
		if index > 1 && conf.closeOnReuse {
			_, _ = c.br.Peek(1)
			return
		}
		if !c.exchange(index) {
			return
		}
	}
}

// exchange receives and answers one request. It reports whether the connection
// goes on.
func (c *conn) exchange(index int) bool {
	conf := &c.origin.conf
	w := wire{br: c.br}
	req, n, err := w.requestHead()
	req.Conn, req.Index = c.number, index
	if err == nil && conf.early {
		answerErr := c.answer(&req)
		req.Body, req.Trailers, err = w.body(req.Framing, n)
		c.origin.record(req, w.raw, err)
		return answerErr == nil && err == nil && c.persists(&req)
	}
	if err == nil && !conf.ignoreExpectation && hasToken(&req.Fields, "Expect", "100-continue") {
		_, err = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if err == nil {
		req.Body, req.Trailers, err = w.body(req.Framing, n)
	}
	c.origin.record(req, w.raw, err)
	if _, ok := errors.AsType[*SyntaxError](err); ok {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	}
	if err != nil || c.answer(&req) != nil {
		return false
	}
	return c.persists(&req)
}

// persists reports whether the connection stays open after the answer to req.
func (c *conn) persists(req *RecordedRequest) bool {
	conf := &c.origin.conf
	return !conf.closeIdle && !c.lastAnswer(req)
}

// lastAnswer reports whether the answer to req says, or by its framing means,
// that the connection ends.
func (c *conn) lastAnswer(req *RecordedRequest) bool {
	conf := &c.origin.conf
	return conf.http10 || conf.closeDelimited || req.Proto == header.HTTP10 || hasToken(&req.Fields, "Connection", "close")
}

// answer sends the response to req. It returns an error if the connection is
// to be closed because of it.
func (c *conn) answer(req *RecordedRequest) error {
	conf := &c.origin.conf
	switch {
	case conf.neverAnswer:
		_, err := io.Copy(io.Discard, c.br) // until the client gives up
		return errors.Join(err, errCut)
	case !c.sleep(conf.delay):
		return errCut
	case conf.resetBeforeHead:
		Reset(c)
		return errCut
	case conf.upgrade != "" && hasToken(&req.Fields, "Upgrade", conf.upgrade):
		return c.echo(conf.upgrade)
	}
	for _, head := range conf.informational {
		if _, err := io.WriteString(c, head); err != nil {
			return err
		}
	}
	if conf.handle != nil {
		answer := conf.handle(*req)
		if answer == nil {
			return errCut
		}
		_, err := c.Write(answer)
		return err
	}
	return c.respond(req)
}

// echo switches protocols and sends back what it receives.
func (c *conn) echo(protocol string) error {
	head := statusLine("HTTP/1.1", 101) + "Connection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
	if _, err := io.WriteString(c, head); err != nil {
		return err
	}
	_, err := io.Copy(c, c.br)
	return errors.Join(err, errCut)
}

// respond sends the head and body that the options describe.
func (c *conn) respond(req *RecordedRequest) error {
	conf := &c.origin.conf
	out := bytes.NewBufferString(c.head(req))
	if req.Method == "HEAD" || conf.status == 204 || conf.status == 304 {
		out.WriteString(conf.extra)
		_, err := out.WriteTo(c)
		return err
	}
	if err := c.body(out); err != nil {
		return err
	}
	if conf.chunk > 0 {
		out.WriteString("0\r\n" + strings.Join(conf.trailers, "") + "\r\n")
	}
	out.WriteString(conf.extra)
	if _, err := out.WriteTo(c); err != nil {
		return err
	}
	if conf.declared > int64(len(conf.body)) {
		return errCut
	}
	return nil
}

// head returns the response head.
func (c *conn) head(req *RecordedRequest) string {
	conf := &c.origin.conf
	var b strings.Builder
	if conf.http10 {
		b.WriteString(statusLine("HTTP/1.0", conf.status))
	} else {
		b.WriteString(statusLine("HTTP/1.1", conf.status))
	}
	for _, line := range conf.fields {
		b.WriteString(line)
	}
	switch {
	case conf.status == 204 || conf.closeDelimited && conf.chunk == 0:
	case conf.chunk > 0:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case conf.declared >= 0:
		b.WriteString("Content-Length: " + strconv.FormatInt(conf.declared, 10) + "\r\n")
	default:
		b.WriteString("Content-Length: " + strconv.Itoa(len(conf.body)) + "\r\n")
	}
	if c.lastAnswer(req) && !conf.http10 {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// body sends out, which holds the head, and the body behind it, and ends the
// connection in the middle if an option says so. The last piece may be left in
// out.
func (c *conn) body(out *bytes.Buffer) error {
	conf := &c.origin.conf
	rest, sent := conf.body, 0
	for {
		if sent == conf.resetAfter || sent == conf.closeAfter {
			_, _ = out.WriteTo(c)
			if sent == conf.resetAfter {
				Reset(c)
			}
			return errCut
		}
		if len(rest) == 0 {
			return nil
		}
		if sent > 0 && conf.drip > 0 && !c.sleep(conf.dripEvery) {
			return errCut
		}
		n := c.pieceSize(len(rest), sent)
		if conf.chunk > 0 {
			fmt.Fprintf(out, "%x\r\n%s\r\n", n, rest[:n])
		} else {
			out.Write(rest[:n])
		}
		rest, sent = rest[n:], sent+n
		if len(rest) > 0 || conf.drip > 0 {
			if _, err := out.WriteTo(c); err != nil {
				return err
			}
		}
	}
}

// pieceSize returns how much of the rest of a body goes out at once: no more
// than a chunk, a drip, or what is left until the connection is to be cut.
func (c *conn) pieceSize(rest, sent int) int {
	conf := &c.origin.conf
	n := min(rest, 64<<10)
	for _, limit := range []int{conf.chunk, conf.drip, conf.resetAfter - sent, conf.closeAfter - sent} {
		if limit > 0 {
			n = min(n, limit)
		}
	}
	return n
}

func statusLine(proto string, status int) string {
	return proto + " " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n"
}
