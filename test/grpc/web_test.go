// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/belay-proxy/belay/filter/grpcweb"
	"github.com/belay-proxy/belay/proxytest"
)

// A webClient calls methods of the test service by grpc-web, as a browser
// does.
type webClient struct {
	http        *http.Client
	url         string
	contentType string
}

// text reports whether the client speaks the text form.
func (c *webClient) text() bool { return strings.Contains(c.contentType, "-text") }

// start sends a request with one message and returns the response.
func (c *webClient) start(t *testing.T, method string, req proto.Message) *http.Response {
	t.Helper()
	message, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	body = append(body, message...)
	if c.text() {
		body = base64.StdEncoding.AppendEncode(nil, body)
	}
	r, err := http.NewRequestWithContext(patient(t), "POST", c.url+"/grpc.testing."+method, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", c.contentType)
	r.Header.Set("X-Grpc-Web", "1")
	r.Header.Set("X-Grpc-Test-Echo-Initial", "first")
	r.Header.Set("X-Grpc-Test-Echo-Trailing-Bin", "q6ur")
	res, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || !strings.HasPrefix(ct, strings.TrimSuffix(c.contentType, "+proto")) {
		t.Fatalf("%s: got %s of type %q", method, res.Status, ct)
	}
	return res
}

// frames returns a reader of the frames of a response.
func (c *webClient) frames(res *http.Response) io.Reader {
	if c.text() {
		return &groupReader{r: res.Body}
	}
	return res.Body
}

// A groupReader decodes base64 group by group, as padding may come anywhere.
type groupReader struct {
	r    io.Reader
	rest []byte
}

func (g *groupReader) Read(p []byte) (int, error) {
	if len(g.rest) == 0 {
		var group [4]byte
		if _, err := io.ReadFull(g.r, group[:]); err != nil {
			return 0, err
		}
		out, err := base64.StdEncoding.AppendDecode(nil, group[:])
		if err != nil {
			return 0, err
		}
		g.rest = out
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// readFrame reads a frame: its flags and what is in it.
func readFrame(r io.Reader) (flags byte, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	content = make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err = io.ReadFull(r, content)
	return head[0], content, err
}

// call calls a method and returns the sizes of the payloads that come back,
// and the trailers.
func (c *webClient) call(t *testing.T, method string, req proto.Message) (sizes []int, trailers string, head http.Header) {
	t.Helper()
	res := c.start(t, method, req)
	defer res.Body.Close()
	frames := c.frames(res)
	for {
		flags, content, err := readFrame(frames)
		if err != nil {
			t.Fatalf("%s: no trailers: %v", method, err)
		}
		if flags == 0x80 {
			if n, err := frames.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: something follows the trailers: %v", method, err)
			}
			if len(res.Trailer) != 0 {
				t.Errorf("%s: trailers %v, want all in the body", method, res.Trailer)
			}
			return sizes, string(content), res.Header
		}
		var message testpb.StreamingOutputCallResponse // and SimpleResponse begins like it
		if err := proto.Unmarshal(content, &message); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		sizes = append(sizes, len(message.GetPayload().GetBody()))
	}
}

// eachWebClient runs test with both forms over HTTP/1 and HTTP/2.
func eachWebClient(t *testing.T, addr string, test func(*testing.T, *webClient)) {
	for _, h2 := range []bool{false, true} {
		for _, contentType := range []string{"application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"} {
			t.Run(fmt.Sprintf("h2=%v %s", h2, strings.TrimPrefix(contentType, "application/")), func(t *testing.T) {
				transport := &http.Transport{Protocols: new(http.Protocols)}
				transport.Protocols.SetHTTP1(!h2)
				transport.Protocols.SetUnencryptedHTTP2(h2)
				defer transport.CloseIdleConnections()
				test(t, &webClient{&http.Client{Transport: transport}, "http://" + addr, contentType})
			})
		}
	}
}

// The cases of the interoperability client that a browser can run.
func TestWeb(t *testing.T) {
	proxytest.CheckLeaks(t)
	addr := serveProxy(t, serveInterop(t), grpcweb.Filter[none]())
	payload := func(n int) *testpb.Payload { return &testpb.Payload{Body: make([]byte, n)} }
	eachWebClient(t, addr, func(t *testing.T, c *webClient) {
		check := func(method string, req proto.Message, sizes []int, trailers ...string) http.Header {
			t.Helper()
			gotSizes, gotTrailers, head := c.call(t, method, req)
			if fmt.Sprint(gotSizes) != fmt.Sprint(sizes) {
				t.Errorf("%s: payloads of %v bytes, want %v", method, gotSizes, sizes)
			}
			for _, want := range trailers {
				if !strings.Contains(gotTrailers, want+"\r\n") {
					t.Errorf("%s: trailers %q, want %q in them", method, gotTrailers, want)
				}
			}
			return head
		}
		check("TestService/EmptyCall", &testpb.Empty{}, []int{0}, "grpc-status: 0")
		large := &testpb.SimpleRequest{ResponseSize: 314159, Payload: payload(271828)}
		head := check("TestService/UnaryCall", large, []int{314159}, "grpc-status: 0", "x-grpc-test-echo-trailing-bin: q6ur")
		if got := head.Get("X-Grpc-Test-Echo-Initial"); got != "first" {
			t.Errorf("initial metadata %q, want first", got)
		}
		streaming := &testpb.StreamingOutputCallRequest{}
		sizes := []int{31415, 9, 0, 2653, 58979}
		for _, n := range sizes {
			streaming.ResponseParameters = append(streaming.ResponseParameters, &testpb.ResponseParameters{Size: int32(n)})
		}
		check("TestService/StreamingOutputCall", streaming, sizes, "grpc-status: 0")
		for range 10 {
			failing := &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: 2, Message: "test status message"}}
			check("TestService/UnaryCall", failing, nil, "grpc-status: 2", "grpc-message: test status message")
			check("TestService/UnimplementedCall", &testpb.Empty{}, nil, "grpc-status: 12")
			check("None/None", &testpb.Empty{}, nil, "grpc-status: 12")
		}
	})
}

// A message arrives whole while the call goes on, and the server hears of a
// client that leaves.
func TestWebStreams(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := newWaitingServer()
	origin := serveGRPC(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, server) })
	eachWebClient(t, serveProxy(t, origin, grpcweb.Filter[none]()), func(t *testing.T, c *webClient) {
		res := c.start(t, "TestService/StreamingOutputCall", &testpb.StreamingOutputCallRequest{})
		if flags, content, err := readFrame(c.frames(res)); err != nil || flags != 0 || len(content) != 0 {
			t.Errorf("frame with flags %#x, %d bytes, %v, want an empty message", flags, len(content), err)
		}
		receive(t, "call at the server", server.began)
		res.Body.Close()
		receive(t, "end at the server", server.ended)
	})
}

// gRPC itself passes the filter as if it were not there.
func TestInteropBesideWeb(t *testing.T) {
	proxytest.CheckLeaks(t)
	cc := dial(t, serveProxy(t, serveInterop(t), grpcweb.Filter[none]()))
	for _, c := range interopCases {
		runCase(t, c, cc)
	}
}
