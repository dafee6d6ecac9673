// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package app puts the parts of the framework together to what the command
// belay does. It takes plain settings and knows nothing of command lines.
//
// proxy.go is the load balancer of "belay proxy", address.go reads what it is to
// listen on and to balance, and backend.go says how backends are checked and
// their TLS verified; demo.go and the files that begin with demo_ are "belay
// demo": the same load balancer with origins and clients around it.
package app
