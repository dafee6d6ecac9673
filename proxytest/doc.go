// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package proxytest is a test kit for proxies: origins that follow a script
// and record what they receive byte by byte, a raw HTTP/1 client that notices
// when a response was cut, and checks for leaked goroutines and descriptors.
//
//	func TestGreeting(t *testing.T) {
//		origin := proxytest.NewOrigin(t, proxytest.Body("hello"))
//		p := newProxy(t, proxytest.To(origin)) // the proxy under test
//		client := proxytest.NewClient(t, proxytest.Listen(t, p))
//
//		client.Get("/").Check(t, 200, "hello")
//		if got := origin.WaitRequests(1)[0].Fields.Get("Host"); got != "origin.test" {
//			t.Errorf("Host = %q, want origin.test", got)
//		}
//	}
//
// The kit has its own reading of RFC 9112, strict and independent of the
// parsers it tests: what the grammar does not allow a sender to send is an
// error here, even where a recipient may put up with it.
//
// All traffic goes over loopback or Unix sockets and real time passes, so the
// kit cannot be used inside a testing/synctest bubble. Every wait is bounded:
// a test that would hang fails instead.
//
// To test one behaviour over every pair of protocols, see [Run].
package proxytest
