// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// grpcMethod is the only method: it sends each message back. A call of it is
// one exchange of messages, or one stream of them.
const grpcMethod = "/bench.Echo/Call"

// rawCodec passes messages as the bytes that they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

// grpcServer returns a server that answers every method as grpcMethod.
func (o *origin) grpcServer() *grpc.Server {
	echo := func(_ any, stream grpc.ServerStream) error {
		for {
			var message []byte
			if err := stream.RecvMsg(&message); err != nil {
				if err == io.EOF {
					return nil
				}
				return err
			}
			o.requests.Add(1)
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
	}
	return grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(echo), grpc.MaxConcurrentStreams(10_000))
}

// A countedListener counts the connections that it accepts.
type countedListener struct {
	net.Listener
	accepts *atomic.Int64
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepts.Add(1)
	}
	return conn, err
}

// grpcDial returns job.Conns clients, each with a connection of its own.
func grpcDial(job *loadJob) ([]*grpc.ClientConn, error) {
	var conns []*grpc.ClientConn
	for range job.Conns {
		conn, err := grpc.NewClient("passthrough:///"+job.Addr,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithAuthority(hostSent),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// runGRPC keeps job.Streams calls or streams busy on each connection for d.
func (g *generator) runGRPC(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d+patience)
	defer cancel()
	until := time.Now().Add(d)
	work := g.unaryCalls
	if g.job.Mode == grpcStreamMode {
		work = g.streamMessages
	}
	var wg sync.WaitGroup
	for _, conn := range g.grpc {
		for range g.job.Streams {
			wg.Go(func() {
				if err := work(ctx, conn, until); err != nil {
					g.fail(err)
				}
			})
		}
	}
	wg.Wait()
}

// unaryCalls makes calls, one after the other and at least one.
func (g *generator) unaryCalls(ctx context.Context, conn *grpc.ClientConn, until time.Time) error {
	message := filler[:g.job.Response]
	for again := true; again; again = time.Now().Before(until) {
		start := time.Now()
		var answer []byte
		if err := conn.Invoke(ctx, grpcMethod, &message, &answer); err != nil {
			return err
		}
		if err := g.countMessage(start, answer); err != nil {
			return err
		}
	}
	return nil
}

// streamMessages sends messages on one stream, each after the answer to the
// last, and at least one.
func (g *generator) streamMessages(ctx context.Context, conn *grpc.ClientConn, until time.Time) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, grpcMethod)
	if err != nil {
		return err
	}
	message := filler[:g.job.Response]
	for again := true; again; again = time.Now().Before(until) {
		start := time.Now()
		if err := stream.SendMsg(&message); err != nil {
			return fmt.Errorf("send message: %w", err)
		}
		var answer []byte
		if err := stream.RecvMsg(&answer); err != nil {
			return fmt.Errorf("receive message: %w", err)
		}
		if err := g.countMessage(start, answer); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(new([]byte)); err != io.EOF {
		return fmt.Errorf("end of the stream: %w", err)
	}
	return nil
}

// countMessage counts an answer to what was sent at start.
func (g *generator) countMessage(start time.Time, answer []byte) error {
	if int64(len(answer)) != g.job.Response {
		return fmt.Errorf("message has %d bytes, want %d", len(answer), g.job.Response)
	}
	g.requests.Add(1)
	g.latency.add(time.Since(start))
	return nil
}
