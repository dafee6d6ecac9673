// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
)

// A GRPCChecker asks a backend by gRPC's own health protocol, the method Check
// of grpc.health.v1.Health, and holds it healthy if it answers SERVING. The
// zero GRPCChecker is ready to use: it asks about the server as a whole, over
// HTTP/2 without TLS.
//
// Each check has a connection of its own, so that it also says whether the
// backend still accepts any.
type GRPCChecker struct {
	// Service is the name of the service to ask about, such as
	// "shop.Orders". Empty means the server as a whole.
	Service string

	// Authority is the name by which the server is addressed. Empty means
	// the address that is checked, or "localhost" for a Unix socket.
	Authority string

	// TLS makes the checks use TLS. An empty ServerName means the host of
	// Authority; NextProtos is set by the check. Nil means no TLS.
	TLS *tls.Config

	// Dial connects. Nil means net.Dialer.DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

var _ Checker = (*GRPCChecker)(nil)

// Check connects to addr, asks, and closes the connection. The error says what
// the server has answered, or why it has not.
func (c *GRPCChecker) Check(ctx context.Context, addr string) error {
	err := c.check(ctx, addr)
	if err != nil && ctx.Err() != nil {
		// That the connection was torn down then says less.
		return fmt.Errorf("gRPC health check: %w", context.Cause(ctx))
	}
	return err
}

func (c *GRPCChecker) check(ctx context.Context, addr string) error {
	network, authority := "tcp", cmp.Or(c.Authority, addr)
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr, authority = "unix", path, cmp.Or(c.Authority, "localhost")
	}
	nc, scheme, err := c.connect(ctx, network, addr, authority)
	if err != nil {
		return err
	}
	conn := http2.NewClientConn(nc, &grpcConfig, scheme)
	stop := context.AfterFunc(ctx, conn.Kill)
	defer func() {
		conn.Close()
		<-conn.Closed() // soon, and at once if ctx ends
		stop()
	}()
	stream := conn.NewStream(nil, 0, 0)
	if stream == nil {
		return errors.New("gRPC health check: connection ended at once")
	}
	defer stream.Finish()
	if err := c.ask(ctx, stream, authority); err != nil {
		return fmt.Errorf("gRPC health check: %w", err)
	}
	answer, err := readAnswer(stream)
	if err != nil {
		return fmt.Errorf("gRPC health check: %w", err)
	}
	if status := parseHealth(answer); status != serving {
		return fmt.Errorf("server is %s", servingName(status))
	}
	return nil
}

// grpcConfig has the limits of the connections. Nothing on them is large.
var grpcConfig = http2.Config{MaxStreams: 1, MaxHeaderBytes: 16 << 10, ReadTimeout: 30 * time.Second}.WithDefaults()

// connect returns a connection on which HTTP/2 can begin.
func (c *GRPCChecker) connect(ctx context.Context, network, addr, authority string) (nc net.Conn, scheme string, err error) {
	dial := c.Dial
	if dial == nil {
		dial = plainDialer.DialContext
	}
	nc, err = dial(ctx, network, addr)
	switch {
	case err != nil && isLocalShortage(err):
		return nil, "", fmt.Errorf("%w: connect: %w", ErrInconclusive, err)
	case err != nil:
		return nil, "", fmt.Errorf("connect: %w", err)
	case c.TLS == nil:
		return nc, "http", nil
	}
	cfg := c.TLS.Clone()
	cfg.NextProtos = []string{"h2"}
	if cfg.ServerName == "" {
		cfg.ServerName = hostOf(authority)
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, "", fmt.Errorf("TLS handshake: %w", err)
	}
	if got := tc.ConnectionState().NegotiatedProtocol; got != "h2" {
		nc.Close()
		return nil, "", fmt.Errorf("TLS handshake: server does not speak HTTP/2 (ALPN %q)", got)
	}
	return tc, "https", nil
}

// hostOf returns authority without its port.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return authority
}

// ask sends the request.
func (c *GRPCChecker) ask(ctx context.Context, stream *http2.ClientStream, authority string) error {
	message := appendHealthRequest(nil, c.Service)
	head := &header.Request{Method: "POST", Target: "/grpc.health.v1.Health/Check", Length: header.UnknownLength}
	head.Fields.Add("Host", authority)
	head.Fields.Add("Content-Type", "application/grpc")
	if deadline, ok := ctx.Deadline(); ok {
		ms := max(time.Until(deadline).Milliseconds(), 1)
		head.Fields.Add("Grpc-Timeout", strconv.FormatInt(min(ms, maxGRPCTimeout), 10)+"m")
	}
	if err := stream.WriteHead(head, "", true, false); err != nil {
		return err
	}
	return stream.WriteBody(appendGRPCFrame(nil, message), true)
}

// maxGRPCTimeout is the longest Grpc-Timeout: it has 8 digits at most. The
// unit is the millisecond.
const maxGRPCTimeout = 99_999_999

// readAnswer reads the response and returns its one message.
func readAnswer(stream *http2.ClientStream) (message []byte, err error) {
	var res header.Response
	for {
		if err := stream.ReadHead(&res); err != nil {
			return nil, err
		}
		if !res.Informational() {
			break
		}
	}
	if res.Status != 200 {
		return nil, fmt.Errorf("HTTP status %d, want 200", res.Status)
	}
	if ct := res.Fields.Get("Content-Type"); !strings.HasPrefix(ct, "application/grpc") {
		return nil, fmt.Errorf("content type %q, want application/grpc", ct)
	}
	body, err := readAll(stream)
	if err != nil {
		return nil, err
	}
	status := &res.Fields // if there is nothing but a head
	if stream.Trailers().Has("Grpc-Status") {
		status = stream.Trailers()
	}
	if err := grpcStatus(status); err != nil {
		return nil, err
	}
	return cutGRPCFrame(body)
}

// maxAnswer limits the body of the response, in bytes. The message that is
// expected has 2, in a frame of 7.
const maxAnswer = 4 << 10

func readAll(stream *http2.ClientStream) (body []byte, err error) {
	for {
		piece, last, err := stream.ReadBody()
		if err != nil {
			return nil, err
		}
		if len(body)+len(piece) > maxAnswer {
			return nil, fmt.Errorf("answer of more than %d bytes", maxAnswer)
		}
		body = append(body, piece...)
		if last {
			return body, nil
		}
	}
}
