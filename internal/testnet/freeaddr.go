// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package testnet has addresses for tests that start other processes.
package testnet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

// FreeAddr returns an address on 127.0.0.1 on which nobody listens. Its port is
// one that the system gives to no connection of its own accord, where there are
// such, so that it is still free when a process binds it later.
func FreeAddr(t testing.TB) string {
	t.Helper()
	const lowest = 10_000
	first := 0 // of the ports that the system gives out
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(b), &first)
	}
	var err error
	for range 100 {
		port := 0 // any
		if first > lowest {
			port = lowest + rand.IntN(first-lowest)
		}
		var ln net.Listener
		if ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatalf("find a free port: %v", err)
	return ""
}
