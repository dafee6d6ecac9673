// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/proxyerr"
)

const switchRequest = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// startTunnel answers with 101 and begins the tunnel.
func startTunnel(s *ServerStream, idle time.Duration) error {
	res := header.Response{Status: 101}
	res.Fields.Add("Upgrade", "echo")
	if err := s.WriteHead(&res, false); err != nil {
		return err
	}
	s.StartTunnelReads(idle)
	return s.StartTunnelWrites(idle)
}

// echoTunnel is a handler that sends back what it gets. An error is that of
// ReadTunnel.
func echoTunnel(errs chan<- error, idle time.Duration) func(*ServerStream) {
	return func(s *ServerStream) {
		err := startTunnel(s, idle)
		if err == nil {
			err = s.ReadTunnel(func(piece []byte, last bool) error {
				return errors.Join(s.WriteBody(piece, last), s.Flush())
			})
		}
		errs <- err
	}
}

// openTunnel sends a request, with early behind it, and reads the 101.
func openTunnel(t *testing.T, client net.Conn, early string) *bufio.Reader {
	t.Helper()
	send(t, client, switchRequest+early)
	br := bufio.NewReader(client)
	recvHead(t, br)
	return br
}

func wantBytes(t *testing.T, br *bufio.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
		t.Fatalf("got %.100q, %v, want %.100q", got, err, want)
	}
}

func TestReadTunnel(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		errs := make(chan error, 1)
		_, done := serve(t, server, ServerConfig{}, echoTunnel(errs, -1))
		br := openTunnel(t, client, "early")
		wantBytes(t, br, "early")
		for _, s := range []string{"a", "message", string(bytes.Repeat([]byte("much "), 100_000))} {
			send(t, client, s)
			wantBytes(t, br, s)
		}
		if tc, ok := client.(*net.TCPConn); ok {
			tc.CloseWrite()
			if rest := recvAll(t, br); rest != "" {
				t.Errorf("after the end: %q", rest)
			}
		} else {
			client.Close()
		}
		waitFor(t, "Serve after the tunnel", done)
		if err := <-errs; err != nil && client.RemoteAddr().Network() == "tcp" {
			t.Errorf("ReadTunnel = %v", err)
		}
	})
}

// The client's side of the same.
func TestClientConnReadTunnel(t *testing.T) {
	eachTransport(t, func(t *testing.T, nc, far net.Conn) {
		origin(t, far, func(br *bufio.Reader, nc net.Conn) {
			readRequest(br)
			io.WriteString(nc, "HTTP/1.1 101 x\r\nUpgrade: echo\r\n\r\nearly")
			io.CopyN(nc, br, 5)
			nc.Close()
		})
		c := NewClientConn(nc)
		defer c.Close()
		cfg := clientConfig()
		c.Begin(&cfg, nil)
		c.WriteHead(newRequest("GET", "/", 0), "echo", false, true)
		if got := receive(c); got.statuses != "101 " {
			t.Fatalf("got %+v, want 101", got)
		}
		c.StartTunnelReads(patience)
		c.StartTunnelWrites(patience)
		if err := c.WriteBody([]byte("hello"), false); err != nil {
			t.Fatal(err)
		}
		var got []byte
		ends := 0
		err := c.ReadTunnel(func(piece []byte, last bool) error {
			got = append(got, piece...)
			if last {
				ends++
			}
			return nil
		})
		if err != nil || string(got) != "earlyhello" || ends != 1 || c.BodyReceived() != int64(len(got)) {
			t.Errorf("ReadTunnel = %v after %q, %d ends, %d bytes counted", err, got, ends, c.BodyReceived())
		}
	})
}

// An error of f, or a panic, ends the reading at once, and it can be begun
// again.
func TestReadTunnelFails(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		failure := errors.New("failure")
		_, done := serve(t, server, ServerConfig{}, func(s *ServerStream) {
			startTunnel(s, patience)
			got := make(chan string, 3)
			read := func() (err error) {
				defer func() {
					if v := recover(); v != nil {
						err = v.(error)
					}
					errors.Join(s.WriteBody([]byte("."), false), s.Flush())
				}()
				return s.ReadTunnel(func(piece []byte, _ bool) error {
					if got <- string(piece); string(piece) == "panic" {
						panic(failure)
					}
					return failure
				})
			}
			for _, want := range []string{"fail", "panic", "again"} {
				if err := read(); err != failure {
					t.Errorf("ReadTunnel = %v, want %v", err, failure)
				}
				if piece := <-got; piece != want {
					t.Errorf("the piece is %q, want %q", piece, want)
				}
			}
		})
		br := openTunnel(t, client, "")
		for _, s := range []string{"fail", "panic", "again"} {
			io.WriteString(client, s)
			wantBytes(t, br, ".")
		}
		waitFor(t, "Serve after the tunnel", done)
	})
}

// A wait that takes too long ends the reading, which may be begun again, and no
// buffer is held meanwhile.
func TestReadTunnelTimeout(t *testing.T) {
	eachTransport(t, func(t *testing.T, client, server net.Conn) {
		timeouts := make(chan bool) // whether a buffer is held
		errs := make(chan error, 1)
		_, done := serve(t, server, ServerConfig{}, func(s *ServerStream) {
			startTunnel(s, 50*time.Millisecond)
			for {
				err := s.ReadTunnel(func(piece []byte, last bool) error {
					return errors.Join(s.WriteBody(piece, last), s.Flush())
				})
				if !errors.Is(err, proxyerr.ReadTimeout) {
					errs <- err
					return
				}
				timeouts <- s.conn.in.buf != nil && s.conn.io.Raw()
			}
		})
		br := openTunnel(t, client, "early")
		wantBytes(t, br, "early")
		for range 2 {
			if <-timeouts {
				t.Error("a buffer is held while the tunnel waits")
			}
			go func() { io.WriteString(client, "more") }()
			wantBytes(t, br, "more")
		}
		go func() {
			for range timeouts {
			}
		}()
		client.Close()
		waitFor(t, "Serve after the tunnel", done)
		close(timeouts)
		<-errs
	})
}

// A message through a tunnel allocates nothing.
func TestReadTunnelAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	client, server := tcpPair(t)
	errs := make(chan error, 1)
	serve(t, server, ServerConfig{}, echoTunnel(errs, patience))
	br := openTunnel(t, client, "")
	message, buf := bytes.Repeat([]byte("x"), 100), make([]byte, 100)
	bytebuf.Get(bytebuf.Large).Release()
	got := testing.AllocsPerRun(500, func() {
		if _, err := client.Write(message); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(br, buf); err != nil {
			t.Error(err)
		}
	})
	if got > 0 {
		t.Errorf("%v allocations for each message, want none", got)
	}
	client.Close()
	<-errs
}
