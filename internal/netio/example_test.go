// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio_test

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/belay-proxy/belay/internal/netio"
)

// An echo server for one connection. It works the same on a connection with a
// descriptor, where Recv returns ErrAgain, and on one without.
func ExampleNew() {
	near, far := net.Pipe()
	go func() {
		c := netio.New(near)
		defer c.Close()
		c.EnsureRead(netio.Now(), 5*time.Second, 10*time.Second)
		buf := make([]byte, 4096)
		c.Loop(func() (done bool) {
			n, err := c.Recv(buf)
			if err == netio.ErrAgain {
				return false
			}
			if err == nil {
				_, err = c.Write([]byte("echo: "), buf[:n], []byte("\n"), time.Second)
			}
			return err != nil
		})
	}()
	io.WriteString(far, "hello")
	var answer string
	fmt.Fscanf(far, "echo: %s\n", &answer)
	fmt.Println(answer)
	far.Close()
	// Output: hello
}
