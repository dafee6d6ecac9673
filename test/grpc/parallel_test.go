// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"google.golang.org/grpc"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/belay-proxy/belay/proxytest"
)

// An echoServer sends back what it receives.
type echoServer struct {
	testpb.UnimplementedTestServiceServer
}

func (echoServer) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: req.Payload}, nil
}

func (echoServer) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: req.Payload}); err != nil {
			return err
		}
	}
}

// More calls at a time than a connection may carry, unary and streaming, of
// all sizes up to several windows: each gets back its own bytes.
func TestParallelStreams(t *testing.T) {
	proxytest.CheckLeaks(t)
	addr := serveProxy(t, serveGRPC(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, echoServer{}) }))
	sizes := []int{0, 1, 100, 5_000, 40_000, 120_000}
	var wg sync.WaitGroup
	ctx := patient(t)
	for c := range 3 {
		client := testpb.NewTestServiceClient(dial(t, addr))
		for i := range 60 {
			wg.Go(func() {
				payload := bytes.Repeat([]byte{byte(c), byte(i), 7}, sizes[i%len(sizes)]/3)
				var err error
				if i%2 == 0 {
					err = echoUnary(ctx, client, payload)
				} else {
					err = echoStream(ctx, client, payload)
				}
				if err != nil {
					t.Errorf("client %d, call %d, %d bytes: %v", c, i, len(payload), err)
				}
			})
		}
	}
	wg.Wait()
}

func echoUnary(ctx context.Context, client testpb.TestServiceClient, payload []byte) error {
	res, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: payload}})
	if err != nil {
		return err
	}
	return checkPayload(res.Payload, payload)
}

// echoStream sends messages while it reads the answers, then half-closes.
func echoStream(ctx context.Context, client testpb.TestServiceClient, payload []byte) error {
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	const rounds = 2
	sent := make(chan error, 1)
	go func() {
		for range rounds {
			req := &testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: payload}}
			if err := stream.Send(req); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for range rounds {
		res, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := checkPayload(res.Payload, payload); err != nil {
			return err
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("the stream ends with %v, want EOF", err)
	}
	return <-sent
}

func checkPayload(got *testpb.Payload, want []byte) error {
	if !bytes.Equal(got.GetBody(), want) {
		return fmt.Errorf("got %d bytes back, not those that were sent", len(got.GetBody()))
	}
	return nil
}
