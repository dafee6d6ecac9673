// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package listener binds TCP and Unix sockets and accepts connections on them.
//
//	l, err := listener.Listen(ctx, listener.Config{Addr: "0.0.0.0:80"})
//	if err != nil {
//		return err
//	}
//	go l.Serve(handle) // until l.Close
//
// Accept loops survive what an overloaded system does to them: when it has no
// descriptors or memory left they wait a little and try again, without
// spinning, and say so in the log once per second at most.
//
// The connections they hand out are a bare [*net.TCPConn] or [*net.UnixConn],
// so that the layers above can reach the descriptor.
package listener
