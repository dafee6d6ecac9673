// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/proxytest"
)

// tunnel is a Handler that relays bytes to an address.
type tunnel struct {
	network, address string

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func (p *tunnel) ServeConn(down net.Conn) {
	defer down.Close()
	up, err := net.Dial(p.network, p.address)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	p.conns = append(p.conns, down, up)
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(up, down) })
	_, _ = io.Copy(down, up)
	_ = down.Close()
	wg.Wait()
}

func (p *tunnel) Shutdown(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	return nil
}

func TestListen(t *testing.T) {
	proxytest.CheckLeaks(t)
	origin := proxytest.NewOrigin(t, proxytest.Body("hi"))
	for name, listen := range map[string]func(testing.TB, proxytest.Handler) string{
		"tcp":  proxytest.Listen,
		"unix": proxytest.ListenUnix,
	} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, &tunnel{network: "tcp", address: origin.Addr()})
			proxytest.NewClient(t, addr).Get("/").Check(t, 200, "hi")
		})
	}
}

func TestServe(t *testing.T) {
	proxytest.CheckLeaks(t)
	origin := proxytest.NewOrigin(t, proxytest.OnUnix(), proxytest.Body("hi"))
	url, stop := proxytest.Serve(&tunnel{network: "unix", address: strings.TrimPrefix(origin.Addr(), "unix:")})
	client := proxytest.NewClient(t, url)
	client.Get("/").Check(t, 200, "hi")
	stop()
	stop()
	if res := client.Get("/"); res.Err == nil {
		t.Errorf("after stop: %v, want an error", res)
	}
}

// hello is a Handler that greets and closes.
type hello struct{}

func (hello) ServeConn(c net.Conn) {
	fmt.Fprint(c, "hello")
	_ = c.Close()
}

func (hello) Shutdown(context.Context) error { return nil }

func ExampleServe() {
	url, stop := proxytest.Serve(hello{})
	defer stop()

	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	text, _ := io.ReadAll(c)
	fmt.Println(string(text))
	// Output: hello
}
