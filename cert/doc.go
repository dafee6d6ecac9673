// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package cert keeps the certificates of TLS listeners: it loads them from
// files, checks them, chooses one for each handshake, and takes over new ones
// when the files change.
//
//	store, err := cert.New(cert.Config{Pairs: []cert.Pair{
//		{Cert: "keys/example.com.crt", Key: "keys/example.com.key"},
//	}})
//	if err != nil { … } // missing, expired, or not a pair
//	srv.Background("certificates", store) // looks at the files every second
//
// A [Store] has the certificates that a server shows, [CAs] those by which it
// checks its clients. Both are safe for concurrent use, answer from an
// immutable snapshot, and keep what they have when a new file is no good.
package cert
