// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package matrix tests what a proxy does with HTTP on every pair of protocols:
// HTTP/1.1 and HTTP/2 on the side of the client, and both on that of the
// origin. Each behaviour is one test that runs four times.
//
// Clients and origins are those of net/http wherever these are able to do
// what a test needs, so that the engines of this module are judged by others.
// Where they are not, the tests write and read single frames.
package matrix
