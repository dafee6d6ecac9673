// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
)

// A message is what must be the same on both sides of a proxy.
type message struct {
	start    string // method and target, or status
	fields   string
	body     string
	trailers string
}

// readTrailers decodes a block of trailers. ok is false if it is malformed.
func readTrailers(block []byte, response bool) (fields header.Fields, ok bool) {
	c := newHeadReader(Config{}, response)
	c.heads.start(&fields)
	c.heads.trailers = true
	err := c.decode(block)
	return fields, err == nil && !c.heads.tooLarge && c.heads.bad == ""
}

// readResponse decodes the block of a response head.
func (c *conn) readResponse(block []byte) (res header.Response, why string, err error) {
	c.heads.start(&res.Fields)
	if err := c.decode(block); err != nil {
		return res, "", err
	}
	if c.heads.tooLarge {
		return res, "too large", nil
	}
	return res, c.heads.finishResponse(&res), nil
}

// fit makes a body of the declared length, which must not be too much.
func fit(body []byte, length int64) ([]byte, bool) {
	if length < 0 {
		return body, true
	}
	if length > 1<<16 {
		return nil, false
	}
	return append(bytes.Clone(body), make([]byte, length)...)[:length], true
}

// sendBody writes a body in two pieces, and trailers.
func sendBody(write func([]byte, bool) error, end func(*header.Fields) error, body []byte, trailers *header.Fields) error {
	half := len(body) / 2
	for _, piece := range [][]byte{body[:half], body[half:]} {
		if err := write(piece, false); err != nil {
			return err
		}
	}
	return end(trailers)
}

// requestAsHTTP1 returns a request as our HTTP/1.1 client sends it.
func requestAsHTTP1(req *header.Request, body []byte, trailers *header.Fields) ([]byte, error) {
	nc := &captureConn{}
	cfg := http1.ClientConfig{}.WithDefaults()
	c := http1.NewClientConn(nc)
	defer c.Close()
	c.Begin(&cfg, nil)
	err := c.WriteHead(req, "", true, false)
	if err == nil {
		err = sendBody(c.WriteBody, c.WriteTrailers, body, trailers)
	}
	if err == nil {
		err = c.Flush()
	}
	return nc.out.Bytes(), err
}

// serveRequests has our HTTP/1 server read what has been sent.
func serveRequests(t *testing.T, wire []byte) (got []message) {
	t.Helper()
	cfg := http1.ServerConfig{OnReject: func(_ *http1.ServerConn, status int, err error) {
		t.Errorf("%q was refused with %d: %v", wire, status, err)
	}}.WithDefaults()
	http1.NewServerConn(&scriptConn{pieces: [][]byte{bytes.Clone(wire)}}, &cfg, func(s *http1.ServerStream) {
		m := message{start: s.Request().Method + " " + s.Request().Target, fields: forwarded(&s.Request().Fields)}
		body, err := readBody(s.ReadBody)
		if err != nil {
			t.Errorf("%q: reading the body: %v", wire, err)
		}
		m.body, m.trailers = string(body), forwarded(s.Trailers())
		got = append(got, m)
		s.WriteHead(&header.Response{Status: 204}, true)
	}).Serve()
	return got
}

// messageBlocks returns blocks of heads for a fuzzer to begin with.
func messageBlocks(lists ...string) (blocks [][]byte) {
	for _, fields := range lists {
		p := &rawPeer{}
		p.enc = hpack.NewEncoder(&p.buf)
		blocks = append(blocks, p.block(strings.Split(fields, "|")...))
	}
	return blocks
}

// FuzzRequestToHTTP1 is FuzzHeadToHTTP1 for requests with bodies, trailers and
// expectations: our own server and that of the standard library read one
// request, the same, and nothing behind it.
func FuzzRequestToHTTP1(f *testing.F) {
	const post = ":method=POST|:scheme=http|:path=/|:authority=h"
	trailers := messageBlocks("grpc-status=0|a=b", "content-length=5|host=x|a=\r\nb", "trailer=a|te=trailers|x=  y")
	for i, block := range messageBlocks(
		post, post+"|content-length=5", post+"|expect=100-continue", post+"|expect=100-continue|content-length=3", post+"|expect=200-ok",
		post+"|trailer=a|te=trailers", ":method=GET|:scheme=http|:path=/|:authority=h|content-length=0", post+"|content-length=70000",
	) {
		f.Add(block, []byte("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"), trailers[i%len(trailers)])
	}
	f.Fuzz(func(t *testing.T, block, body, trailerBlock []byte) {
		req, why, err := newHeadReader(Config{}, false).readRequest(block, false)
		if err != nil || why != "" || req.Method == "CONNECT" {
			return
		}
		body, ok := fit(body, req.Length)
		trailers, wellFormed := readTrailers(trailerBlock, false)
		if !ok || !wellFormed {
			return
		}
		wire, err := requestAsHTTP1(&req, body, &trailers)
		if err != nil {
			t.Fatalf("%v: %v", req, err)
		}
		if e := req.Fields.Get("Expect"); e != "" && !header.EqualName(e, "100-continue") {
			return // an expectation that it does not know is refused there
		}
		want := message{req.Method + " " + req.Target, forwarded(&req.Fields), string(body), ""}
		if req.Length < 0 {
			want.trailers = forwarded(&trailers)
		}
		if got := serveRequests(t, wire); len(got) != 1 || got[0] != want {
			t.Errorf("sent as %q:\n got %q\nwant %q", wire, got, want)
		}
		br := bufio.NewReader(bytes.NewReader(wire))
		std, err := http.ReadRequest(br)
		if err != nil {
			return // it may refuse what is legal
		}
		got, err := io.ReadAll(std.Body)
		rest, _ := io.ReadAll(br)
		if err == nil && (string(got) != string(body) || len(rest) > 0) {
			t.Errorf("%q: net/http reads the body %q and then %q, want %q", wire, got, rest, body)
		}
	})
}

// responseAsHTTP1 returns a response as our HTTP/1.1 server sends it.
func responseAsHTTP1(method string, res *header.Response, body []byte, trailers *header.Fields) (wire []byte, err error) {
	nc := &captureConn{scriptConn: scriptConn{pieces: [][]byte{fmt.Appendf(nil, "%s / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n", method)}}}
	cfg := http1.ServerConfig{}.WithDefaults()
	http1.NewServerConn(nc, &cfg, func(s *http1.ServerStream) {
		if res.Informational() {
			err = s.WriteHead(res, false)
			s.WriteHead(&header.Response{Status: 204}, true)
			return
		}
		if err = s.WriteHead(res, false); err == nil {
			err = sendBody(s.WriteBody, s.WriteTrailers, body, trailers)
		}
	}).Serve()
	return nc.out.Bytes(), err
}

// FuzzResponseToHTTP1: what is accepted as a response and sent on as HTTP/1.1
// is read there as the same message, and nothing behind it.
func FuzzResponseToHTTP1(f *testing.F) {
	trailers := messageBlocks("grpc-status=0|a=b", "content-length=5|set-cookie=x|a=\r\nb")
	for i, block := range messageBlocks(
		":status=200", ":status=200|content-length=5|a=b", ":status=204", ":status=304|content-length=9", ":status=103|link=x",
		":status=100", ":status=999|trailer=a", ":status=200|set-cookie=a|set-cookie=b|a=x\r\ny: z", ":status=205", ":status=200|date=x",
	) {
		f.Add(block, []byte("0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), trailers[i%2], i%3 == 0)
	}
	f.Fuzz(func(t *testing.T, block, body, trailerBlock []byte, head bool) {
		res, why, err := newHeadReader(Config{}, true).readResponse(block)
		if err != nil || why != "" {
			return
		}
		method := map[bool]string{true: "HEAD", false: "GET"}[head]
		body, ok := fit(body, res.Length)
		trailers, wellFormed := readTrailers(trailerBlock, true)
		if !ok || !wellFormed {
			return
		}
		if !res.HasBody(method) {
			body, trailers = nil, header.Fields{}
		}
		want := message{fmt.Sprint(res.Status), "", string(body), ""}
		if res.Length < 0 {
			want.trailers = forwarded(&trailers)
		}
		wire, err := responseAsHTTP1(method, &res, body, &trailers)
		if err != nil {
			t.Fatalf("%v: %v", res, err)
		}
		want.fields = forwarded(&res.Fields)
		if !res.Fields.Has("Date") { // it has been added
			wire = dropDate(wire)
		}
		if got := receiveHTTP1(t, method, wire, res.Informational()); got != want {
			t.Errorf("sent as %q:\n got %q\nwant %q", wire, got, want)
		}
		checkResponse(t, method, wire, res.Informational(), body)
	})
}

// dropDate takes the first Date out of a message.
func dropDate(wire []byte) []byte {
	i := bytes.Index(wire, []byte("\r\nDate: "))
	if i < 0 {
		return wire
	}
	n := bytes.Index(wire[i+2:], []byte("\r\n"))
	return append(bytes.Clone(wire[:i]), wire[i+2+n:]...)
}

// receiveHTTP1 has our HTTP/1 client read a response. The one behind an
// informational one is left out.
func receiveHTTP1(t *testing.T, method string, wire []byte, informational bool) (m message) {
	t.Helper()
	cfg := http1.ClientConfig{}.WithDefaults()
	c := http1.NewClientConn(&scriptConn{pieces: [][]byte{bytes.Clone(wire)}})
	defer c.Close()
	c.Begin(&cfg, nil)
	var res header.Response
	err := c.WriteHead(newRequest(method, "/", 0), "", true, true)
	if err == nil {
		err = c.SendAndReadHead(&res)
	}
	m.start, m.fields = fmt.Sprint(res.Status), forwarded(&res.Fields)
	if err == nil && !informational && res.HasBody(method) {
		var body []byte
		body, err = readBody(c.ReadBody)
		m.body, m.trailers = string(body), forwarded(c.Trailers())
	}
	if err != nil {
		t.Errorf("%q: %v", wire, err)
	}
	return m
}

// checkResponse checks how the standard library reads a response. It may
// refuse what is legal.
func checkResponse(t *testing.T, method string, wire []byte, informational bool, body []byte) {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(wire))
	std, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil || informational {
		return
	}
	got, err := io.ReadAll(std.Body)
	rest, _ := io.ReadAll(br)
	if err == nil && (string(got) != string(body) || len(rest) > 0) {
		t.Errorf("%q: net/http reads the body %q and then %q, want %q", wire, got, rest, body)
	}
}
