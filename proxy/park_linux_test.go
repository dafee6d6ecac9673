// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
)

// parking is a configuration with which connections are parked as soon as they
// are idle.
var parking = proxy.Config{Downstream: proxy.Downstream{H2C: true, HTTP1: http1.ServerConfig{ParkAfter: time.Millisecond}}}

// waitAllParked waits until there are n connections, and none has a goroutine. No
// other test may run.
func waitAllParked(t *testing.T, r *rig, n int) {
	t.Helper()
	all := make([]byte, 1<<20)
	eventually(t, "parking of all", func() bool {
		stacks := all[:runtime.Stack(all, true)]
		return r.proxy.Stats().Connections == n && !bytes.Contains(stacks, []byte("ServeOrPark")) &&
			!bytes.Contains(stacks, []byte("(*lot).emptied"))
	})
}

// Idle connections have no goroutine, and all else is as ever.
func TestParked(t *testing.T) {
	proxytest.CheckLeaks(t)
	origin := proxytest.NewOrigin(t)
	r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, parking, to(origin))
	conns := make([]*proxytest.Conn, 50)
	for i := range conns {
		conns[i] = r.Dial()
	}
	for range 3 {
		waitAllParked(t, r, len(conns))
		for _, conn := range conns {
			must(t, conn.Send(r.Request("GET", "/", "")))
			conn.Response("GET").Check(t, 200, "")
			r.wantOK()
		}
	}
	waitAllParked(t, r, len(conns))
	must(t, conns[0].Close())
	eventually(t, "the end of the one that was closed", func() bool { return r.proxy.Stats().Connections == len(conns)-1 })
	must(t, receive(t, "Shutdown", shutdown(t.Context(), r)))
	for _, conn := range conns[1:] {
		if rest, err := conn.Rest(); rest != "" || err != nil {
			t.Errorf("a parked connection got %q, %v; want the end", rest, err)
		}
	}
}

// With Retire a parked connection has time for one more request.
func TestParkedRetire(t *testing.T) {
	proxytest.CheckLeaks(t)
	r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, parking, to(proxytest.NewOrigin(t)))
	busy, idle := r.Dial(), r.Dial()
	waitAllParked(t, r, 2)
	r.proxy.Retire(time.Hour)
	must(t, busy.Send(r.Request("GET", "/", "")))
	res := busy.Response("GET")
	res.Check(t, 200, "")
	if res.KeepAlive() {
		t.Error("the connection stays open")
	}
	if got := r.proxy.Stats().Connections; got == 0 {
		t.Error("the other one has ended before its time")
	}
	must(t, receive(t, "Shutdown", shutdown(t.Context(), r)))
	if rest, err := idle.Rest(); rest != "" || err != nil {
		t.Errorf("the other one got %q, %v; want the end", rest, err)
	}
}

// A client may wait before it begins with the preface of HTTP/2.
func TestParkedPreface(t *testing.T) {
	proxytest.CheckLeaks(t)
	r := newRig(t, proxytest.Mode{Downstream: proxytest.H1}, parking, to(proxytest.NewOrigin(t)))
	conn := r.Dial()
	waitAllParked(t, r, 1)
	must(t, conn.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	settings := make([]byte, 9)
	if _, err := io.ReadFull(conn.NetConn(), settings); err != nil || settings[3] != 4 {
		t.Errorf("got frame %x, %v, want SETTINGS", settings, err)
	}
}
