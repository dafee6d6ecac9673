// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package grpc has no code of its own. Its tests run gRPC through the proxy:
// the interoperability cases of grpc-go, deadlines, cancellations and many
// streams at a time, grpc-web through package filter/grpcweb, and the health
// check of package health, each against a server of grpc-go.
package grpc
