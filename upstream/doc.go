// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package upstream connects to the servers that requests are sent to.
//
// A [Peer] says where and how one attempt connects. A [Connector] gives out a
// connection to a peer, from its pool of idle connections if it can and
// otherwise by dialing:
//
//	connector, err := upstream.New(upstream.Config{})
//	…
//	conn, err := connector.Get(ctx, peer, nil) // &upstream.Peer{Addr: "10.0.0.1:8080"}
//	if err != nil { … }
//	conn.WriteHead(head, "", false, true)
//	err = conn.SendAndReadHead(&res)
//	… // conn.ReadBody to the end
//	conn.Release(time.Now()) // or, after a failure, conn.Discard()
//
// There is one pool for the whole process. A connection is only ever reused
// for a peer that equals the one it was dialed for in everything that makes a
// connection different: address, TLS identity, source address, socket options
// and group.
package upstream
