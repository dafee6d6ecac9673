// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/belay-proxy/belay/proxytest"
)

// A waitingServer keeps every call until the client gives it up.
type waitingServer struct {
	testpb.UnimplementedTestServiceServer
	began chan context.Context // of each call, once it has been received
	ended chan error           // why its context ended
}

func newWaitingServer() *waitingServer {
	return &waitingServer{began: make(chan context.Context, 100), ended: make(chan error, 100)}
}

// wait waits for the end of a call.
func (s *waitingServer) wait(ctx context.Context) error {
	s.began <- ctx
	<-ctx.Done()
	s.ended <- context.Cause(ctx)
	return status.FromContextError(ctx.Err()).Err()
}

func (s *waitingServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	return nil, s.wait(ctx)
}

func (s *waitingServer) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	return s.wait(stream.Context())
}

func (s *waitingServer) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	return s.wait(stream.Context())
}

func (s *waitingServer) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	return s.wait(stream.Context())
}

// calls are the kinds of calls, each brought to a point at which both sides
// wait for the other. They return the error with which the call ends.
var calls = []struct {
	name string
	run  func(context.Context, testpb.TestServiceClient) error
}{
	{"unary", func(ctx context.Context, c testpb.TestServiceClient) error {
		_, err := c.EmptyCall(ctx, &testpb.Empty{})
		return err
	}},
	{"client streaming", func(ctx context.Context, c testpb.TestServiceClient) error {
		stream, err := c.StreamingInputCall(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingInputCallRequest{}); err != nil && err != io.EOF {
			return err
		}
		return stream.RecvMsg(&testpb.StreamingInputCallResponse{}) // without half-close
	}},
	{"server streaming", func(ctx context.Context, c testpb.TestServiceClient) error {
		stream, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
		if err != nil {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}},
	{"both streaming", func(ctx context.Context, c testpb.TestServiceClient) error {
		stream, err := c.FullDuplexCall(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallRequest{}); err != nil && err != io.EOF {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}},
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
	return v
}

// A call that the client cancels is canceled at the server, in whatever state
// it is.
func TestCancel(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := newWaitingServer()
	addr := serveProxy(t, serveGRPC(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, server) }))
	client := testpb.NewTestServiceClient(dial(t, addr))
	for _, call := range calls {
		t.Run(call.name, func(t *testing.T) {
			for range 5 {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- call.run(ctx, client) }()
				receive(t, "call at the server", server.began)
				canceled := time.Now()
				cancel()
				if err := receive(t, "end of the call", result); status.Code(err) != codes.Canceled {
					t.Errorf("the call ended with %v, want Canceled", err)
				}
				if err := receive(t, "end at the server", server.ended); !errors.Is(err, context.Canceled) {
					t.Errorf("the server's context ended with %v, want %v", err, context.Canceled)
				}
				t.Logf("the server knew after %v", time.Since(canceled))
			}
		})
	}
}

// The client's deadline is the server's, and ends the call on both sides.
func TestDeadline(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := newWaitingServer()
	addr := serveProxy(t, serveGRPC(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, server) }))
	client := testpb.NewTestServiceClient(dial(t, addr))
	for _, call := range calls {
		t.Run(call.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			result := make(chan error, 1)
			go func() { result <- call.run(ctx, client) }()
			deadline, ok := receive(t, "call at the server", server.began).Deadline()
			if want, _ := ctx.Deadline(); !ok || deadline.After(want.Add(10*time.Second)) {
				t.Errorf("the server has the deadline %v, want %v", deadline, want)
			}
			if err := receive(t, "end of the call", result); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the call ended with %v, want DeadlineExceeded", err)
			}
			receive(t, "end at the server", server.ended)
		})
	}
}

// When the connection of a client breaks, all its calls end at the server,
// and no call of another client does.
func TestClientLeaves(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := newWaitingServer()
	addr := serveProxy(t, serveGRPC(t, func(s *grpc.Server) { testpb.RegisterTestServiceServer(s, server) }))
	leaver, stayer := dial(t, addr), dial(t, addr)
	results := make(chan error, 10*len(calls))
	start := func(cc *grpc.ClientConn, ctx context.Context) {
		for _, call := range calls {
			go func() { results <- call.run(ctx, testpb.NewTestServiceClient(cc)) }()
		}
		for range calls {
			receive(t, "call at the server", server.began)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start(stayer, ctx)
	start(leaver, t.Context())
	if err := leaver.Close(); err != nil {
		t.Fatal(err)
	}
	for range calls {
		receive(t, "end of a call", results)
		receive(t, "end at the server", server.ended)
	}
	if len(results) != 0 || len(server.ended) != 0 {
		t.Errorf("%d calls of another client have ended", len(results))
	}
	cancel()
	for range calls {
		receive(t, "end of a call", results)
		receive(t, "end at the server", server.ended)
	}
}

// When the server ends in the middle of calls, the client is told.
func TestServerLeaves(t *testing.T) {
	proxytest.CheckLeaks(t)
	server := newWaitingServer()
	var gs *grpc.Server
	addr := serveProxy(t, serveGRPC(t, func(s *grpc.Server) { gs = s; testpb.RegisterTestServiceServer(s, server) }))
	client := testpb.NewTestServiceClient(dial(t, addr))
	results := make(chan error, len(calls))
	for _, call := range calls {
		go func() { results <- call.run(patient(t), client) }()
	}
	for range calls {
		receive(t, "call at the server", server.began)
	}
	gs.Stop()
	for range calls {
		if err := receive(t, "end of a call", results); err == nil || status.Code(err) == codes.DeadlineExceeded {
			t.Errorf("a call ended with %v, want another error", err)
		}
	}
}
