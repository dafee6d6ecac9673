// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// patience bounds every wait that should end long before.
const patience = 20 * time.Second

// raceEnabled tells a build with the race detector: there buffers are counted.
var raceEnabled = func() bool {
	b := bytebuf.Get(1)
	defer b.Release()
	return bytebuf.Outstanding() != 0
}()

// defaultLimits are the limits of a zero configuration.
var defaultLimits = Limits{}.withDefaults()

// A scriptConn is a connection on which the given pieces arrive, one for each
// read, and then the end. What is written to it is kept.
type scriptConn struct {
	pieces [][]byte
	out    bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error) {
	for len(c.pieces) > 0 && len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	c.pieces[0] = c.pieces[0][n:]
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// pieces cuts data into pieces of n bytes; zero means one piece.
func pieces(data []byte, n int) [][]byte {
	if n <= 0 {
		return [][]byte{data}
	}
	var list [][]byte
	for ; len(data) > n; data = data[n:] {
		list = append(list, data[:n])
	}
	return append(list, data)
}

// newInput returns an input on which the pieces arrive.
func newInput(list [][]byte) *input {
	return &input{conn: netio.New(&scriptConn{pieces: list})}
}

// transports are the kinds of connection that the engine tells apart: with a
// descriptor and without.
var transports = []struct {
	name string
	pair func(testing.TB) (client, server net.Conn)
}{
	{"tcp", tcpPair},
	{"parked", parkPair},
	{"pipe", pipePair},
}

// eachTransport runs a test on every kind of connection.
func eachTransport(t *testing.T, test func(t *testing.T, client, server net.Conn)) {
	t.Helper()
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			client, server := tr.pair(t)
			test(t, client, server)
		})
	}
}

// tcpPair returns the two ends of a connection over loopback. The test's end
// fails instead of waiting for ever.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// parkable has the connections that serve parks while they are idle.
var parkable sync.Map

// parkPair returns the two ends of a connection over loopback that is parked
// whenever it is idle.
func parkPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, server = tcpPair(t)
	parkable.Store(server, true)
	t.Cleanup(func() { parkable.Delete(server) })
	return client, server
}

// pipePair returns the two ends of a connection in memory.
func pipePair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, server = net.Pipe()
	client.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// serve serves nc and returns a channel that is closed when it has ended. The
// test waits for that at its end.
func serve(t testing.TB, nc net.Conn, cfg ServerConfig, handle func(*ServerStream)) (*ServerConn, <-chan struct{}) {
	t.Helper()
	park := false
	if _, park = parkable.Load(nc); park {
		cfg.ParkAfter = cmp.Or(cfg.ParkAfter, time.Millisecond)
	}
	cfg = cfg.WithDefaults()
	c := NewServerConn(nc, &cfg, handle)
	done := make(chan struct{})
	var goOn func()
	goOn = func() {
		if park && c.ServeOrPark(goOn) {
			return
		}
		if !park {
			c.Serve()
		}
		close(done)
	}
	go goOn()
	t.Cleanup(func() {
		c.Kill()
		<-done
	})
	return c, done
}

// waitFor waits until a channel is closed.
func waitFor(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: nothing happened", what)
	}
}

// send writes in the background, as a pipe takes what is read only. The write
// may fail: the other side may have hung up.
func send(t testing.TB, nc net.Conn, data string) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { io.WriteString(nc, data) })
	t.Cleanup(func() {
		nc.Close()
		wg.Wait()
	})
}

// recvAll reads to the end and returns what came, without Date fields.
func recvAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("after %q: %v", b, err)
	}
	return dateLine.ReplaceAllString(string(b), "")
}

var dateLine = regexp.MustCompile("Date: [^\r]*\r\n")

// recvHead reads a head as it comes, without Date.
func recvHead(t testing.TB, br *bufio.Reader) string {
	t.Helper()
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := br.ReadBytes('\n')
		if head = append(head, line...); err != nil {
			t.Fatalf("after %q: %v", head, err)
		}
	}
	return dateLine.ReplaceAllString(string(head), "")
}

// recvResponse reads a response with the standard library's client.
func recvResponse(t testing.TB, br *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read response head: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read response body after %q: %v", body, err)
	}
	return res, string(body)
}

// readBody reads a body to its end.
func readBody(read func() ([]byte, bool, error)) (body []byte, err error) {
	for {
		piece, last, err := read()
		body = append(body, piece...)
		if err != nil || last {
			return body, err
		}
	}
}

// answer sends a short response.
func answer(s *ServerStream, status int, body string) {
	res := header.Response{Status: status, Length: int64(len(body))}
	if s.WriteHead(&res, false) == nil {
		s.WriteBody([]byte(body), true)
	}
}

// echo answers with what it has understood of the request.
func echo(s *ServerStream) {
	body, err := readBody(s.ReadBody)
	if err != nil {
		s.Abort()
		return
	}
	r := s.Request()
	answer(s, 200, fmt.Sprintf("%s %s %s %q %q", r.Method, r.Target, r.Host(), body, s.Trailers().String()))
}

// isReset reports whether err says that the other side reset the connection,
// or, on a pipe, closed it.
func isReset(err error) bool { return err != nil && err != io.EOF && netio.IsClosed(err) }
