// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpcweb_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/filter/grpcweb"
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

type (
	none  = struct{}
	hooks = proxy.Hooks[none]
)

const (
	binary = "application/grpc-web+proto"
	text   = "application/grpc-web-text+proto"

	message = "\x00\x00\x00\x00\x03abc" // a frame of gRPC
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// frame returns the last frame of a response.
func frame(block string) string { return "\x80\x00\x00\x00" + string(rune(len(block))) + block }

// serve serves a proxy with the filter in front of an origin and returns a
// client of it.
func serve(t *testing.T, o *proxytest.Origin, more ...hooks) *proxytest.Client {
	t.Helper()
	peer := proxytest.To(o)
	own := hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return peer, nil }}
	sets := append([]hooks{grpcweb.Filter[none]()}, more...)
	p, err := proxy.New(proxy.Config{Logger: slog.New(slog.DiscardHandler)}, proxy.Chain(append(sets, own)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Connector().Close)
	return proxytest.NewClient(t, proxytest.Listen(t, p))
}

// grpcOrigin answers with one message and trailers.
func grpcOrigin(t *testing.T, opts ...proxytest.OriginOption) *proxytest.Origin {
	t.Helper()
	return proxytest.NewOrigin(t, append([]proxytest.OriginOption{
		proxytest.Field("Content-Type", "application/grpc+proto"),
		proxytest.Body(message), proxytest.Chunked(3),
		proxytest.Trailer("Grpc-Status", "0"), proxytest.Trailer("X-Sum", "1 2"),
	}, opts...)...)
}

const lastFrame = "grpc-status: 0\r\nx-sum: 1 2\r\n"

// decode decodes base64 that may have padding in the middle.
func decode(t *testing.T, s string) string {
	t.Helper()
	var out strings.Builder
	for i := 0; i < len(s); i += 4 {
		b, err := base64.StdEncoding.DecodeString(s[i:min(i+4, len(s))])
		if err != nil {
			t.Fatalf("%q is not base64: %v", s, err)
		}
		out.Write(b)
	}
	return out.String()
}

func checkField(t *testing.T, f *header.Fields, name, want string) {
	t.Helper()
	if got := f.Get(name); got != want {
		t.Errorf("%s = %q, want %q", name, got, want)
	}
}

// The origin gets gRPC, the client grpc-web of the form it wants.
func TestForms(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		name, contentType, accept string
		body                      string
		want                      string // Content-Type of the response
	}{
		{"binary", binary, "", message, binary},
		{"text", text, "", b64(message), text},
		{"text in parts", text, "*/*", b64(message[:1]) + b64(message[1:]), text},
		{"binary to text", binary, "application/grpc-web-text", message, text},
		{"text to binary", text, "application/grpc-web", b64(message), binary},
		{"without suffix", "application/grpc-web", "", message, binary},
		{"parameters", text + "; charset=utf-8", "", b64(message), text},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := grpcOrigin(t)
			fields := []string{"Content-Type", tt.contentType, "X-Grpc-Web", "1", "Accept-Encoding", "gzip"}
			if tt.accept != "" {
				fields = append(fields, "Accept", tt.accept)
			}
			res := serve(t, o).Post("/a.B/C", tt.body, fields...)
			if res.Err != nil || res.Status != 200 {
				t.Fatalf("got %v, error %v", res, res.Err)
			}
			body := res.Text()
			if tt.want == text {
				body = decode(t, body)
			}
			if want := message + frame(lastFrame); body != want {
				t.Errorf("body %q, want %q", body, want)
			}
			checkField(t, &res.Fields, "Content-Type", tt.want)
			if res.Trailers.Len() != 0 || res.Fields.Has("Trailer") || res.Fields.Has("Content-Length") {
				t.Errorf("trailers %v or their announcement are left in %s", res.Trailers.String(), res.Head)
			}
			req := o.WaitRequests(1)[0]
			if req.Text() != message {
				t.Errorf("the origin got %q, want %q", req.Text(), message)
			}
			suffix := "+proto"
			if !strings.Contains(tt.contentType, "+") {
				suffix = ""
			}
			checkField(t, &req.Fields, "Content-Type", "application/grpc"+suffix)
			checkField(t, &req.Fields, "TE", "trailers")
			checkField(t, &req.Fields, "X-Grpc-Web", "1")
			checkField(t, &req.Fields, "Content-Length", "")
			checkField(t, &req.Fields, "Accept-Encoding", "")
			checkField(t, &req.Fields, "Accept", "")
		})
	}
}

// A status in the head is a frame, and no message.
func TestTrailersOnly(t *testing.T) {
	proxytest.CheckLeaks(t)
	for _, contentType := range []string{binary, text} {
		o := proxytest.NewOrigin(t, proxytest.Field("Content-Type", "application/grpc"), proxytest.Field("grpc-status", "12"),
			proxytest.Field("grpc-message", "no such method"), proxytest.Field("X-Other", "1"))
		res := serve(t, o).Post("/", b64("abc"), "Content-Type", contentType)
		body := res.Text()
		if contentType == text {
			body = decode(t, body)
		}
		if want := frame("grpc-status: 12\r\ngrpc-message: no such method\r\n"); res.Status != 200 || body != want {
			t.Errorf("%s: got %v with body %q, want %q", contentType, res, body, want)
		}
		checkField(t, &res.Fields, "Content-Type", contentType)
		checkField(t, &res.Fields, "X-Other", "1")
		checkField(t, &res.Fields, "Grpc-Status", "")
		checkField(t, &res.Fields, "Grpc-Message", "")
	}
}

// A status in the head and another in the trailers: there is one last frame.
func TestStatusTwice(t *testing.T) {
	proxytest.CheckLeaks(t)
	res := serve(t, grpcOrigin(t, proxytest.Field("grpc-status", "7"))).Post("/", message, "Content-Type", binary)
	if want := message + frame("grpc-status: 7\r\n"); res.Text() != want || res.Trailers.Len() != 0 {
		t.Errorf("got %q and trailers %v, want %q", res.Text(), res.Trailers.String(), want)
	}
}

// Each piece leaves at once, whatever its length, and what has been received
// is passed on without waiting for the rest.
func TestStreaming(t *testing.T) {
	proxytest.CheckLeaks(t)
	o := grpcOrigin(t, proxytest.Chunked(1), proxytest.Drip(1, time.Millisecond))
	conn := serve(t, o).Dial()
	body := b64(message)
	pieces := strings.Split(body, "")
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", text, len(body))
	if err := conn.SendPieces(time.Millisecond, append([]string{head}, pieces...)...); err != nil {
		t.Fatal(err)
	}
	res := conn.Response("POST")
	if got, want := decode(t, res.Text()), message+frame(lastFrame); got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	if got := o.WaitRequests(1)[0].Text(); got != message {
		t.Errorf("the origin got %q, want %q", got, message)
	}
}

func TestBadBase64(t *testing.T) {
	proxytest.CheckLeaks(t)
	for _, body := range []string{"!", "YWJj*", "YWJjZ", "YWJj\r\n"} {
		if res := serve(t, grpcOrigin(t)).Post("/", body, "Content-Type", text); res.Status != 400 {
			t.Errorf("%q: got %v, want 400", body, res)
		}
	}
}

// What is not grpc-web, or not answered with gRPC, passes as it is.
func TestOthersPass(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		name, contentType, answer string
	}{
		{"gRPC", "application/grpc", "application/grpc"},
		{"no gRPC", "text/plain", "application/grpc"},
		{"no gRPC answer", binary, "text/html"},
		{"no gRPC answer to text", text, ""},
		{"grpc-web answer", binary, binary},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := proxytest.NewOrigin(t, proxytest.Field("Content-Type", tt.answer), proxytest.Body("hello"), proxytest.Chunked(2),
				proxytest.Trailer("Grpc-Status", "0"), proxytest.Field("Grpc-Status", "0"))
			res := serve(t, o).Post("/", "AAAA", "Content-Type", tt.contentType, "TE", "trailers", "Connection", "TE")
			res.Check(t, 200, "hello")
			checkField(t, &res.Fields, "Content-Type", tt.answer)
			checkField(t, &res.Fields, "Grpc-Status", "0")
			checkField(t, &res.Trailers, "Grpc-Status", "0")
			if req := o.WaitRequests(1)[0]; !strings.HasPrefix(tt.contentType, "application/grpc-web") {
				checkField(t, &req.Fields, "Content-Type", tt.contentType)
				if req.Text() != "AAAA" {
					t.Errorf("the origin got %q, want AAAA", req.Text())
				}
			}
		})
	}
}

// A retry decodes the body anew, and filters behind this one see gRPC.
func TestRetry(t *testing.T) {
	proxytest.CheckLeaks(t)
	first, second := proxytest.NewOrigin(t, proxytest.ResetBeforeHead()), grpcOrigin(t)
	seen := ""
	logged := make(chan string, 1)
	again := hooks{
		UpstreamPeer: func(s *proxy.Session, _ *none) (*upstream.Peer, error) {
			seen = ""
			if s.Attempt() == 1 {
				return proxytest.To(first), nil
			}
			return proxytest.To(second), nil
		},
		RequestBodyFilter: func(_ *proxy.Session, _ *none, chunk []byte, _ bool) ([]byte, error) {
			seen += string(chunk)
			return chunk, nil
		},
		ResponseTrailerFilter: func(_ *proxy.Session, _ *none, trailers *header.Fields) error {
			trailers.Set("X-Sum", "3")
			return nil
		},
		ErrorWhileProxy: func(_ *proxy.Session, _ *none, _ *upstream.Peer, err error) error { return retried(err) },
		Log:             func(*proxy.Session, *none, error) { logged <- seen },
	}
	res := serve(t, second, again).Post("/", b64(message), "Content-Type", text, "Accept", binary)
	if want := message + frame("grpc-status: 0\r\nx-sum: 3\r\n"); res.Text() != want {
		t.Errorf("got %v with body %q, want %q", res, res.Text(), want)
	}
	if got := <-logged; got != message || second.WaitRequests(1)[0].Text() != message {
		t.Errorf("the filter behind saw %q, the origin %q, want %q", got, second.WaitRequests(1)[0].Text(), message)
	}
}
