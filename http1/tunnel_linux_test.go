// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// The end of a tunnel that arrives together with the last bytes is passed on
// with them: there is no event for it.
func TestReadTunnelFinWithData(t *testing.T) {
	t.Parallel()
	client, server := tcpPair(t)
	cork(t, client)
	io.WriteString(client, "bye")
	client.(*net.TCPConn).CloseWrite()

	calls, dataAt, endAt := 0, 0, 0
	r := tunnelReader{in: &input{conn: netio.New(server)}, limit: patience}
	r.f = func(piece []byte, last bool) error {
		if string(piece) == "bye" {
			dataAt = calls
		}
		if last {
			endAt = calls
		}
		return nil
	}
	r.begin()
	r.in.conn.ArmRead(time.Now().Add(patience))
	if err := r.in.conn.Loop(func() bool { calls++; return r.step() }); err != nil {
		t.Fatal(err)
	}
	if dataAt == 0 || endAt != dataAt {
		t.Errorf("the data came in call %d, the end in %d, want one call", dataAt, endAt)
	}
}
