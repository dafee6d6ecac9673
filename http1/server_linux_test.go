// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// The request and the end of the stream arrive as one: for the end there is no
// event of its own. The response is delivered, and the connection does not stay
// until IdleTimeout.
func TestServerConnFinWithRequest(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		client, server := tcpPair(t)
		_, done := serve(t, server, ServerConfig{IdleTimeout: -1}, echo)
		cork(t, client)
		io.WriteString(client, method+" /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		client.(*net.TCPConn).CloseWrite()
		if got, want := recvAll(t, client), echoed(method+` /a h "" ""`); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		waitFor(t, "Serve after a FIN that came with the request", done)
	}
}

// cork makes a connection keep what is written until its FIN.
func cork(t *testing.T, nc net.Conn) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
	if err != nil {
		t.Fatal(err)
	}
}
