// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
)

// serveH2 serves HTTP/2 on l until t ends.
func serveH2(t *testing.T, l net.Listener, handle func(*http2.ServerStream)) {
	t.Helper()
	cfg := http2.Config{}.WithDefaults()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { http2.NewServerConn(nc, &cfg, nil, handle).Serve() })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
}

func listenH2(t *testing.T, handle func(*http2.ServerStream)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveH2(t, l, handle)
	return l.Addr().String()
}

// An answer is what a scripted server says. Trailers are name and value in
// turn.
type answer struct {
	status   int
	head     []string
	body     string
	trailers []string
	reset    bool // after the body
}

func (a answer) send(s *http2.ServerStream) {
	head := &header.Response{Status: a.status, Length: header.UnknownLength}
	for i := 0; i+1 < len(a.head); i += 2 {
		head.Fields.Add(a.head[i], a.head[i+1])
	}
	var trailers header.Fields
	for i := 0; i+1 < len(a.trailers); i += 2 {
		trailers.Add(a.trailers[i], a.trailers[i+1])
	}
	if s.WriteHead(head, false) != nil || s.WriteBody([]byte(a.body), false) != nil || a.reset {
		return // an incomplete response is reset
	}
	_ = s.WriteTrailers(&trailers)
}

var (
	grpcHead   = []string{"Content-Type", "application/grpc"}
	statusOK   = []string{"Grpc-Status", "0"}
	bodyOf     = func(message string) string { return string(appendGRPCFrame(nil, []byte(message))) }
	healthy    = answer{200, grpcHead, bodyOf("\x08\x01"), statusOK, false}
	trailersly = func(fields ...string) answer { return answer{200, append(fields, grpcHead...), "", nil, false} }
)

func TestGRPCChecker(t *testing.T) {
	tests := []struct {
		name   string
		answer answer
		want   string // part of the error; "" means healthy
	}{
		{"serving", healthy, ""},
		{"not serving", answer{200, grpcHead, bodyOf("\x08\x02"), statusOK, false}, "server is NOT_SERVING"},
		{"unknown", answer{200, grpcHead, bodyOf(""), statusOK, false}, "server is UNKNOWN"},
		{"unknown service", answer{200, grpcHead, bodyOf("\x08\x03"), statusOK, false}, "server is SERVICE_UNKNOWN"},
		{"state of the future", answer{200, grpcHead, bodyOf("\x08\x09"), statusOK, false}, "server is in state 9"},
		{"malformed", answer{200, grpcHead, bodyOf("\x08"), statusOK, false}, "malformed message"},
		{"no such service", trailersly("Grpc-Status", "5", "Grpc-Message", "no%20such"), `gRPC status NOT_FOUND: "no such"`},
		{"no health service", trailersly("Grpc-Status", "12"), "gRPC status UNIMPLEMENTED"},
		{"error after the message", answer{200, grpcHead, bodyOf("\x08\x01"), []string{"Grpc-Status", "14"}, false}, "gRPC status UNAVAILABLE"},
		{"no status", answer{200, grpcHead, bodyOf("\x08\x01"), nil, false}, "without grpc-status"},
		{"OK without message", trailersly("Grpc-Status", "0"), "no message"},
		{"cut message", answer{200, grpcHead, bodyOf("\x08\x01")[:6], statusOK, false}, "cut short"},
		{"two messages", answer{200, grpcHead, bodyOf("\x08\x01") + bodyOf("\x08\x01"), statusOK, false}, "more than one message"},
		{"longest answer", answer{200, grpcHead, bodyOf("\x08\x01\x12\xf4\x1f" + strings.Repeat("x", 4084)), statusOK, false}, ""},
		{"too long an answer", answer{200, grpcHead, strings.Repeat("x", maxAnswer+1), statusOK, false}, "more than 4096 bytes"},
		{"HTTP error", answer{503, []string{"Content-Type", "text/plain"}, "busy", nil, false}, "HTTP status 503"},
		{"not gRPC", answer{200, []string{"Content-Type", "text/html"}, "<html>", nil, false}, `content type "text/html"`},
		{"reset", answer{200, grpcHead, bodyOf("\x08\x01"), statusOK, true}, "read response body"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr := listenH2(t, tt.answer.send)
			err := (&GRPCChecker{}).Check(t.Context(), addr)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Check = %v, want nil", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Check = %v, want %q", err, tt.want)
			}
		})
	}
}

// What the server is asked, over TCP and on a Unix socket.
func TestGRPCCheckerAsks(t *testing.T) {
	asked := make(chan string, 2)
	handle := func(s *http2.ServerStream) {
		r := s.Request()
		body, _, _ := s.ReadBody()
		asked <- fmt.Sprintf("%s %s %s type=%s timeout=%v body=%q", r.Method, r.Host(), r.Target,
			r.Fields.Get("Content-Type"), r.Fields.Has("Grpc-Timeout"), body)
		healthy.send(s)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	serveH2(t, l, handle)
	addr := listenH2(t, handle)
	const target = "/grpc.health.v1.Health/Check type=application/grpc"
	limited, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tests := []struct {
		name    string
		ctx     context.Context
		checker GRPCChecker
		addr    string
		want    string
	}{
		{"server", t.Context(), GRPCChecker{}, addr, "POST " + addr + " " + target + ` timeout=false body="\x00\x00\x00\x00\x00"`},
		{"service", limited, GRPCChecker{Service: "a.B", Authority: "b.example"}, addr, "POST b.example " + target + ` timeout=true body="\x00\x00\x00\x00\x05\n\x03a.B"`},
		{"unix", t.Context(), GRPCChecker{}, "unix:" + l.Addr().String(), "POST localhost " + target + ` timeout=false body="\x00\x00\x00\x00\x00"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.checker.Check(tt.ctx, tt.addr); err != nil {
				t.Fatal(err)
			}
			if got := <-asked; got != tt.want {
				t.Errorf("the server was asked\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// A server that does not speak HTTP/2, or says nothing, fails in time.
func TestGRPCCheckerOfOthers(t *testing.T) {
	tests := []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"HTTP/1", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") }, "gRPC health check: "},
		{"closes", func(net.Conn) {}, "gRPC health check: "},
		{"silent", func(c net.Conn) { io.Copy(io.Discard, c) }, "gRPC health check: context deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near, far := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer far.Close()
				far.Read(make([]byte, 24))
				tt.serve(far)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			c := GRPCChecker{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
			if err := c.Check(ctx, "a:1"); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("Check = %v, want %q", err, tt.want)
			}
			<-done // the connection is closed
		})
	}
}

func TestGRPCCheckerConnect(t *testing.T) {
	refuse := errors.New("refused")
	dial := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	err := (&GRPCChecker{Dial: dial(refuse)}).Check(t.Context(), "a:1")
	if !errors.Is(err, refuse) || errors.Is(err, ErrInconclusive) {
		t.Errorf("Check = %v, want %v", err, refuse)
	}
	err = (&GRPCChecker{Dial: dial(&net.OpError{Op: "dial", Err: syscall.EMFILE})}).Check(t.Context(), "a:1")
	if !errors.Is(err, ErrInconclusive) {
		t.Errorf("Check without descriptors = %v, want %v", err, ErrInconclusive)
	}
	// A server without TLS is none that speaks it.
	addr := listenH2(t, healthy.send)
	err = (&GRPCChecker{TLS: &tls.Config{}}).Check(t.Context(), addr)
	if err == nil || !strings.Contains(err.Error(), "TLS handshake") {
		t.Errorf("Check with TLS = %v, want a failed handshake", err)
	}
}

// Over TLS, with a server that is not ours.
func TestGRPCCheckerTLS(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			io.WriteString(w, bodyOf("\x08\x01"))
			w.Header().Set("Grpc-Status", "0")
		}))
		srv.EnableHTTP2 = h2
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		defer srv.Close()
		addr, roots := srv.Listener.Addr().String(), x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		for _, c := range []GRPCChecker{
			{TLS: &tls.Config{RootCAs: roots}},
			{TLS: &tls.Config{RootCAs: roots}, Authority: "example.com"},
			{TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"}, Authority: "a:1"},
		} {
			if err := c.Check(t.Context(), addr); (err == nil) != h2 {
				t.Errorf("HTTP/2 %v, authority %q: Check = %v", h2, c.Authority, err)
			}
		}
		for _, c := range []GRPCChecker{
			{TLS: &tls.Config{RootCAs: x509.NewCertPool()}},
			{TLS: &tls.Config{RootCAs: roots}, Authority: "other.example:443"},
		} {
			if err := c.Check(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "TLS handshake") {
				t.Errorf("authority %q: Check = %v, want a failed handshake", c.Authority, err)
			}
		}
	}
}
