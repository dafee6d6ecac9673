// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpc_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/belay-proxy/belay/proxytest"
)

// failures is a logger that turns the fatal errors by which the cases of
// package interop end into panics, so that the case fails and not the process.
type failures struct{ grpclog.LoggerV2 }

func (failures) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (failures) Fatalln(args ...any)               { panic(fmt.Sprintln(args...)) }
func (failures) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (failures) FatalDepth(_ int, args ...any)     { panic(fmt.Sprint(args...)) }
func (failures) InfoDepth(int, ...any)             {}
func (failures) WarningDepth(int, ...any)          {}
func (failures) ErrorDepth(int, ...any)            {}

func TestMain(m *testing.M) {
	quiet := grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)
	grpclog.SetLoggerV2(failures{quiet})
	os.Exit(m.Run())
}

// An interopCase is a case of grpc-go's interoperability client.
type interopCase struct {
	name string
	run  func(ctx context.Context, cc *grpc.ClientConn)
}

// onService makes a case of a function of package interop.
func onService(f func(context.Context, testpb.TestServiceClient, ...grpc.CallOption), opts ...grpc.CallOption) func(context.Context, *grpc.ClientConn) {
	return func(ctx context.Context, cc *grpc.ClientConn) { f(ctx, testpb.NewTestServiceClient(cc), opts...) }
}

// zipped compresses the messages of a call. The server does the same.
var zipped = grpc.UseCompressor(gzip.Name)

// interopCases has every case but those that need the credentials of a cloud;
// pick_first_unary, as grpc-go's server does not say who it is; and orca_oob,
// which waits for reports that a server outside grpc-go may not send more often
// than every 30 seconds. TestSoak has the soak cases. Those whose name ends in _compressed are ours.
var interopCases = []interopCase{
	{"empty_unary", onService(interop.DoEmptyUnaryCall)},
	{"large_unary", onService(interop.DoLargeUnaryCall)},
	{"client_streaming", onService(interop.DoClientStreaming)},
	{"server_streaming", onService(interop.DoServerStreaming)},
	{"ping_pong", onService(interop.DoPingPong)},
	{"empty_stream", onService(interop.DoEmptyStream)},
	{"timeout_on_sleeping_server", onService(interop.DoTimeoutOnSleepingServer)},
	{"cancel_after_begin", onService(interop.DoCancelAfterBegin)},
	{"cancel_after_first_response", onService(interop.DoCancelAfterFirstResponse)},
	{"status_code_and_message", onService(interop.DoStatusCodeAndMessage)},
	{"special_status_message", onService(interop.DoSpecialStatusMessage)},
	{"custom_metadata", onService(interop.DoCustomMetadata)},
	{"unimplemented_method", interop.DoUnimplementedMethod},
	{"unimplemented_service", func(ctx context.Context, cc *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(cc))
	}},
	{"orca_per_rpc", func(ctx context.Context, cc *grpc.ClientConn) {
		interop.DoORCAPerRPCTest(ctx, testpb.NewTestServiceClient(cc))
	}},
	{"large_unary_compressed", onService(interop.DoLargeUnaryCall, zipped)},
	{"client_streaming_compressed", onService(interop.DoClientStreaming, zipped)},
	{"server_streaming_compressed", onService(interop.DoServerStreaming, zipped)},
	{"ping_pong_compressed", onService(interop.DoPingPong, zipped)},
}

// runCase runs a case and reports its failure as one of t.
func runCase(t *testing.T, c interopCase, cc *grpc.ClientConn) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("%s: %.300v", c.name, v) // some show the whole message
		}
	}()
	c.run(patient(t), cc)
}

// Every case passes, each on a connection of its own and then all of them one
// after the other on one.
func TestInterop(t *testing.T) {
	proxytest.CheckLeaks(t)
	addr := serveProxy(t, serveInterop(t))
	for _, c := range interopCases {
		t.Run(c.name, func(t *testing.T) { runCase(t, c, dial(t, addr)) })
	}
	t.Run("one connection", func(t *testing.T) {
		cc := dial(t, addr)
		for _, c := range interopCases {
			runCase(t, c, cc)
		}
	})
}

// An answer that has nothing but a status is one HEADERS frame, and arrives
// as one, whatever the timing.
func TestTrailersOnly(t *testing.T) {
	proxytest.CheckLeaks(t)
	cc := dial(t, serveProxy(t, serveInterop(t)))
	for _, c := range interopCases {
		switch c.name {
		case "status_code_and_message", "special_status_message", "unimplemented_method", "unimplemented_service":
			t.Run(c.name, func(t *testing.T) {
				for range 30 {
					runCase(t, c, cc)
				}
			})
		}
	}
}

// The cases do not disturb each other.
func TestInteropInParallel(t *testing.T) {
	proxytest.CheckLeaks(t)
	cc := dial(t, serveProxy(t, serveInterop(t)))
	t.Run("all", func(t *testing.T) {
		for _, c := range interopCases {
			for i := range 4 {
				t.Run(fmt.Sprintf("%s/%d", c.name, i), func(t *testing.T) {
					t.Parallel()
					runCase(t, c, cc)
				})
			}
		}
	})
}
