// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// respond serves one request with handle and returns the exact response.
func respond(request string, handle func(*ServerStream)) string {
	script := &scriptConn{pieces: pieces([]byte(request), 0)}
	cfg := ServerConfig{}.WithDefaults()
	NewServerConn(script, &cfg, handle).Serve()
	return dateLine.ReplaceAllString(script.out.String(), "")
}

const (
	get11  = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	head11 = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
	get10  = "GET / HTTP/1.0\r\n\r\n"
)

func TestServerStreamFraming(t *testing.T) {
	t.Parallel()
	const unknown = header.UnknownLength
	tests := []struct {
		name, request string
		status        int
		length        int64
		body          []string // pieces; nil means that WriteHead is the last call
		want          string
	}{
		{"length", get11, 200, 5, []string{"he", "llo"}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
		{"length zero", get11, 200, 0, nil, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"length zero, empty last piece", get11, 200, 0, []string{""}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"unknown", get11, 200, unknown, []string{"he", "", "llo"}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"},
		{"unknown, empty", get11, 200, unknown, []string{""}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"unknown, empty last piece", get11, 200, unknown, []string{"x", ""}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"},
		{"unknown, but no body follows", get11, 200, unknown, nil, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"unknown for 1.0", get10, 200, unknown, []string{"he", "llo"}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
		{"unknown for 1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, unknown, []string{"x"}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx"},
		{"length for 1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, 1, []string{"x"}, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx"},
		{"HEAD", head11, 200, 5, nil, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{"HEAD with a body", head11, 200, 5, []string{"hello"}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{"HEAD, unknown", head11, 200, unknown, []string{"x"}, "HTTP/1.1 200 OK\r\n\r\n"},
		{"204", get11, 204, 0, nil, "HTTP/1.1 204 No Content\r\n\r\n"},
		{"204 with a body", get11, 204, 5, []string{"hello"}, "HTTP/1.1 204 No Content\r\n\r\n"},
		{"304", get11, 304, 5, nil, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
		{"304, unknown", get11, 304, unknown, nil, "HTTP/1.1 304 Not Modified\r\n\r\n"},
		{"large pieces", get11, 200, unknown, []string{strings.Repeat("x", 40_000), "y"}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n" + strings.Repeat("x", 40_000) + "\r\n1\r\ny\r\n0\r\n\r\n"},
	}
	for _, tt := range tests {
		got := respond(tt.request+get11, func(s *ServerStream) {
			if s.Conn().Requests() > 1 {
				return // enough to see that the connection is still good
			}
			if s.HeadSent() {
				t.Errorf("%s: HeadSent before WriteHead", tt.name)
			}
			err := s.WriteHead(&header.Response{Status: tt.status, Length: tt.length}, tt.body == nil)
			for i, piece := range tt.body {
				err = errors.Join(err, s.WriteBody([]byte(piece), i == len(tt.body)-1))
			}
			if err != nil || !s.HeadSent() {
				t.Errorf("%s: %v, HeadSent %v", tt.name, err, s.HeadSent())
			}
		})
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Where nothing is missing, the program need not say that it has finished.
func TestServerStreamUnfinished(t *testing.T) {
	t.Parallel()
	tests := []struct {
		request string
		res     header.Response
		body    string
		want    string
	}{
		{head11, header.Response{Status: 200, Length: 5}, "", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{get11, header.Response{Status: 204}, "", "HTTP/1.1 204 No Content\r\n\r\n"},
		{get11, header.Response{Status: 200}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{get11, header.Response{Status: 200, Length: 2}, "ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	}
	for _, tt := range tests {
		got := respond(tt.request+tt.request, func(s *ServerStream) {
			s.WriteHead(&tt.res, false)
			if tt.body != "" {
				s.WriteBody([]byte(tt.body), false)
			}
		})
		if got != tt.want+tt.want { // the connection goes on
			t.Errorf("%.4s %d: got %q, want %q twice", tt.request, tt.res.Status, got, tt.want)
		}
	}
}

func TestServerStreamHead(t *testing.T) {
	t.Parallel()
	got := respond(get11, func(s *ServerStream) {
		res := header.Response{Status: 404, Reason: "Not Here", Length: 0}
		for _, name := range []string{"Connection", "content-length", "Transfer-Encoding", "Keep-Alive", "Upgrade", "Proxy-Connection"} {
			res.Fields.Add(name, "5")
		}
		res.Fields.Add("x-Case", "kept")
		res.Fields.Add("Date", "yesterday")
		s.WriteHead(&res, true)
	})
	if want := "HTTP/1.1 404 Not Here\r\nx-Case: kept\r\nContent-Length: 0\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	script := &scriptConn{pieces: pieces([]byte(get11), 0)}
	cfg := ServerConfig{}.WithDefaults()
	NewServerConn(script, &cfg, func(s *ServerStream) { answer(s, 200, "") }).Serve()
	res, err := http.ReadResponse(bufio.NewReader(&script.out), nil)
	if err != nil {
		t.Fatal(err)
	}
	date, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("Date is %q", res.Header.Get("Date"))
	}
}

// A program's mistakes are errors, and what the client has is never whole.
func TestServerStreamMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		handle func(s *ServerStream) error
	}{
		{"too much", func(s *ServerStream) error {
			s.WriteHead(&header.Response{Status: 200, Length: 2}, false)
			return s.WriteBody([]byte("xyz"), true)
		}},
		{"too little", func(s *ServerStream) error {
			s.WriteHead(&header.Response{Status: 200, Length: 2}, false)
			return s.WriteBody([]byte("x"), true)
		}},
		{"too little, with trailers", func(s *ServerStream) error {
			s.WriteHead(&header.Response{Status: 200, Length: 2}, false)
			return s.WriteTrailers(new(header.Fields))
		}},
		{"head with a length, and last", func(s *ServerStream) error {
			return s.WriteHead(&header.Response{Status: 200, Length: 2}, true)
		}},
		{"status", func(s *ServerStream) error { return s.WriteHead(&header.Response{Status: 99}, true) }},
		{"large status", func(s *ServerStream) error { return s.WriteHead(&header.Response{Status: 1000}, true) }},
		{"101 unasked", func(s *ServerStream) error {
			res := header.Response{Status: 101}
			res.Fields.Add("Upgrade", "x")
			return s.WriteHead(&res, true)
		}},
	}
	for _, tt := range tests {
		got := respond(get11+get11, func(s *ServerStream) {
			err := tt.handle(s)
			if _, ok := errors.AsType[*proxyerr.Error](err); err == nil || ok {
				t.Errorf("%s: %v, want an error of the program", tt.name, err)
			}
		})
		if strings.Contains(got, "\r\n\r\n") {
			if _, err := readAllResponse(got); err == nil {
				t.Errorf("%s: the client got a whole response %q", tt.name, got)
			}
		}
	}
	respond(get11, func(s *ServerStream) {
		answer(s, 200, "ok")
		if err := s.WriteHead(&header.Response{Status: 200}, true); err == nil {
			t.Error("a second head is no error")
		}
		if err := s.WriteHead(&header.Response{Status: 100}, true); err == nil {
			t.Error("an informational head behind the final one is no error")
		}
		if err := s.WriteBody([]byte("more"), true); err != nil {
			t.Errorf("body behind the end: %v, want it to be dropped", err)
		}
	})
}

func readAllResponse(s string) ([]byte, error) {
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(s)), nil)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(res.Body)
}

func TestServerStreamInformational(t *testing.T) {
	t.Parallel()
	hints := header.Response{Status: 103}
	hints.Fields.Add("Link", "</a>")
	hints.Fields.Add("Content-Length", "5")
	handle := func(s *ServerStream) {
		for range 2 {
			if err := s.WriteHead(&hints, false); err != nil || s.HeadSent() {
				t.Errorf("WriteHead(103) = %v, HeadSent %v", err, s.HeadSent())
			}
		}
		answer(s, 200, "ok")
	}
	const info = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	if got, want := respond(get11, handle), info+info+echoed("ok"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := respond(get10, handle), echoed("ok", closes); got != want {
		t.Errorf("HTTP/1.0: got %q, want %q", got, want)
	}
}

func TestServerStreamContinue(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		serve(t, server, ServerConfig{}, func(s *ServerStream) {
			if !s.ExpectsContinue() || s.BodyComplete() || s.BodyBuffered() {
				t.Error("does not expect 100, or has a body")
			}
			for range 2 { // the second does nothing
				if err := s.WriteContinue(); err != nil || s.ExpectsContinue() {
					t.Errorf("WriteContinue = %v, ExpectsContinue %v", err, s.ExpectsContinue())
				}
			}
			echo(s)
		})
		br := bufio.NewReader(client)
		for range 2 {
			io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			want := "HTTP/1.1 100 Continue\r\n\r\n"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
			io.WriteString(client, "hello")
			if _, body := recvResponse(t, br, "POST"); body != `POST / h "hello" ""` {
				t.Errorf("got %q", body)
			}
		}
	})
}

func TestServerStreamExpectsContinue(t *testing.T) {
	t.Parallel()
	for request, want := range map[string]bool{
		"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n":            true,
		"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n":   true,
		"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello":       false, // it is here
		"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n":            false,
		"POST / HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n":            false, // RFC 9110 section 10.1.1
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n":                                    false,
		"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\nX: 1\r\n\r\nhel": true,
	} {
		called := false
		got := respond(request, func(s *ServerStream) {
			called = true
			if got := s.ExpectsContinue(); got != want {
				t.Errorf("%q: ExpectsContinue = %v, want %v", request, got, want)
			}
			answer(s, 417, "") // a final answer instead ends the connection
		})
		if !called || want != strings.Contains(got, closes) && !strings.Contains(request, "HTTP/1.0") && strings.HasSuffix(request, "hello") {
			t.Errorf("%q: answered %q", request, got)
		}
	}
}

func TestServerStreamTrailers(t *testing.T) {
	t.Parallel()
	var trailers header.Fields
	trailers.Add("Checksum", "1f")
	trailers.Add("Content-Length", "5")
	send := func(length int64, trailers *header.Fields) func(*ServerStream) {
		return func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 200, Length: length}, false)
			s.WriteBody([]byte("ok"), false)
			if err := s.WriteTrailers(trailers); err != nil {
				t.Errorf("WriteTrailers = %v", err)
			}
		}
	}
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
	for _, tt := range []struct {
		request  string
		length   int64
		trailers *header.Fields
		want     string
	}{
		{get11, -1, &trailers, chunked + "Checksum: 1f\r\n\r\n"},
		{get11, -1, new(header.Fields), chunked + "\r\n"},
		{get11, -1, nil, chunked + "\r\n"},
		{get11, 2, &trailers, echoed("ok")},
		{get10, -1, &trailers, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"},
		{head11, -1, &trailers, "HTTP/1.1 200 OK\r\n\r\n"},
	} {
		if got := respond(tt.request, send(tt.length, tt.trailers)); got != tt.want {
			t.Errorf("%.20q, length %d: got %q, want %q", tt.request, tt.length, got, tt.want)
		}
	}
}

func TestServerStreamUpgrade(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]string{
		"Connection: upgrade\r\nUpgrade: websocket\r\n":      "websocket",
		"Connection: x, Upgrade\r\nUpgrade: a, b\r\n":        "a, b",
		"Upgrade: websocket\r\n":                             "", // RFC 9110 section 7.8
		"Connection: upgrade\r\n":                            "",
		"Connection: close\r\nUpgrade: websocket\r\n":        "",
		"Connection: upgrade, close\r\nUpgrade: websocket\r": "websocket",
	} {
		fields = strings.TrimSuffix(fields, "\n") + "\n"
		respond("GET / HTTP/1.1\r\nHost: h\r\n"+fields+"\r\n", func(s *ServerStream) {
			if got := s.Upgrade(); got != want {
				t.Errorf("%q: Upgrade = %q, want %q", fields, got, want)
			}
		})
		respond("GET / HTTP/1.0\r\n"+fields+"\r\n", func(s *ServerStream) {
			if got := s.Upgrade(); got != "" {
				t.Errorf("HTTP/1.0 with %q: Upgrade = %q, want none", fields, got)
			}
		})
	}
}

func TestServerStreamTunnel(t *testing.T) {
	for _, tt := range []struct{ name, request, head, want string }{
		{
			"101", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", "echo",
			"HTTP/1.1 101 Switching Protocols\r\nX: y\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
		},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: h\r\n\r\n", "", "HTTP/1.1 200 OK\r\nX: y\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, client, server net.Conn) {
				_, done := serve(t, server, ServerConfig{IdleTimeout: 50 * time.Millisecond}, func(s *ServerStream) {
					res := header.Response{Status: 200}
					if tt.head != "" {
						res.Status = 101
						res.Fields.Add("Upgrade", tt.head)
					}
					res.Fields.Add("X", "y")
					if err := s.WriteHead(&res, true); err != nil {
						t.Errorf("WriteHead = %v", err)
						return
					}
					conn, early, err := s.Tunnel()
					if err != nil {
						t.Errorf("Tunnel = %v", err)
						return
					}
					conn.Write([]byte("early:"), early, nil, 0)
					// The deadlines of requests do not hold here.
					buf := make([]byte, 100)
					n, err := conn.Recv(buf)
					if err != nil {
						t.Errorf("Recv = %v", err)
					}
					conn.Write([]byte(" late:"), buf[:n], nil, 0)
				})
				const early = "GET / HTTP/1.1\r\n"
				send(t, client, tt.request+early)
				br := bufio.NewReader(client)
				if got := recvHead(t, br); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				got := make([]byte, len("early:"+early))
				if _, err := io.ReadFull(br, got); err != nil || string(got) != "early:"+early {
					t.Fatalf("got %q, %v, want %q", got, err, "early:"+early)
				}
				time.Sleep(100 * time.Millisecond) // longer than IdleTimeout
				io.WriteString(client, "bye")
				if rest := recvAll(t, br); rest != " late:bye" {
					t.Errorf("then got %q, want %q", rest, " late:bye")
				}
				waitFor(t, "Serve after a tunnel", done)
			})
		})
	}
}

// What follows the answer to a CONNECT is never read as a request.
func TestServerStreamConnectIsLast(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 403} {
		n := 0
		respond("CONNECT a:443 HTTP/1.1\r\nHost: h\r\n\r\n"+get11, func(s *ServerStream) {
			n++
			s.WriteHead(&header.Response{Status: status}, true)
		})
		if n != 1 {
			t.Errorf("CONNECT answered %d: %d requests, want 1", status, n)
		}
	}
}

// One goroutine may read the body while another sends the response. The race
// detector judges.
func TestServerStreamReadsWhileWriting(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		const size = 300_000
		handled := make(chan struct{})
		serve(t, server, ServerConfig{}, func(s *ServerStream) {
			var wg sync.WaitGroup
			wg.Go(func() {
				body, err := readBody(s.ReadBody)
				if len(body) != size || err != nil {
					t.Errorf("read %d bytes, %v, want %d", len(body), err, size)
				}
			})
			s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
			for range 100 {
				s.WriteBody(make([]byte, size/100), false)
				s.Flush()
				s.ClientGone()
				s.BodyReceived()
			}
			s.WriteBody(nil, true)
			wg.Wait()
			close(handled)
		})
		send(t, client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n"+strings.Repeat("x", size))
		if _, body := recvResponse(t, bufio.NewReader(client), "POST"); len(body) != size {
			t.Errorf("got %d bytes, want %d", len(body), size)
		}
		waitFor(t, "reading of the body", handled)
	})
}

// Reading can be interrupted and goes on where it was.
func TestServerStreamInterrupt(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		waiting := make(chan struct{})
		serve(t, server, ServerConfig{BodyTimeout: -1}, func(s *ServerStream) {
			if s.Request().Target == "/next" {
				echo(s)
				return
			}
			piece, _, err := s.ReadBody()
			if string(piece) != "hel" || err != nil {
				t.Errorf("ReadBody = %q, %v, want hel", piece, err)
			}
			got := make(chan error, 1)
			go func() {
				_, _, err := s.ReadBody()
				got <- err
			}()
			s.InterruptReading()
			if err := <-got; err == nil {
				t.Error("ReadBody after InterruptReading: no error")
			}
			if _, _, err := s.ReadBody(); err == nil {
				t.Error("ReadBody while interrupted: no error")
			}
			s.ResumeReading()
			close(waiting)
			echo(s)
		})
		go func() {
			io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
			<-waiting
			io.WriteString(client, "lo"+"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
		}()
		br := bufio.NewReader(client)
		if _, body := recvResponse(t, br, "POST"); body != `POST / h "lo" ""` {
			t.Errorf("got %q", body)
		}
		if _, body := recvResponse(t, br, "GET"); body != `GET /next h "" ""` {
			t.Errorf("got %q", body)
		}
	})
}

func TestServerStreamReadErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body string
		kind       error
		status     int
	}{
		{"cut", "5\r\nhel", proxyerr.ConnClosed, 0},
		{"malformed", "5\r\nhelloX", proxyerr.BadMessage, 400},
		{"extensions", "5" + strings.Repeat(";", 9000), proxyerr.BadMessage, 400},
	} {
		out := respond("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+tt.body, func(s *ServerStream) {
			_, err := readBody(s.ReadBody)
			e, ok := errors.AsType[*proxyerr.Error](err)
			if !ok || !errors.Is(err, tt.kind) || e.Status != tt.status || e.Source != proxyerr.Downstream || e.Retry != proxyerr.RetryNever {
				t.Errorf("%s: %v, want %v with status %d", tt.name, err, tt.kind, tt.status)
			}
			answer(s, 400, "")
		})
		if !strings.Contains(out, closes) {
			t.Errorf("%s: answered %q, want close", tt.name, out)
		}
	}
}

// A stream that comes from the pool knows nothing of its last request.
func TestServerStreamPooled(t *testing.T) {
	t.Parallel()
	dirty := "POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: u\r\n\r\n"
	for range 10 {
		respond(dirty, func(s *ServerStream) { echo(s); s.CloseAfter(); s.Abort() })
		got := respond(get11+get11, func(s *ServerStream) {
			if s.Upgrade() != "" || s.ExpectsContinue() || s.HeadSent() || s.BytesSent() != 0 || s.BodySent() != 0 || s.BodyReceived() != 0 ||
				s.Trailers().Len() != 0 || !s.BodyComplete() || s.Request().Fields.Len() != 1 {
				t.Errorf("a fresh stream is %+v", s)
			}
			echo(s)
		})
		if want := echoed(`GET / h "" ""`); got != want+want {
			t.Fatalf("got %q, want %q twice", got, want)
		}
	}
}

// BytesSent counts heads and framing too, BodySent does not.
func TestServerStreamBytesSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // for a Date of known length
		script := &scriptConn{pieces: pieces([]byte(get11), 0)}
		cfg := ServerConfig{}.WithDefaults()
		var got, body int64
		NewServerConn(script, &cfg, func(s *ServerStream) {
			s.WriteHead(&header.Response{Status: 103}, false)
			s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false)
			s.WriteBody([]byte("hello"), true)
			got, body = s.BytesSent(), s.BodySent()
		}).Serve()
		if want := int64(script.out.Len()); got != want {
			t.Errorf("BytesSent = %d, want %d", got, want)
		}
		if body != 5 {
			t.Errorf("BodySent = %d, want 5", body)
		}
	})
}
