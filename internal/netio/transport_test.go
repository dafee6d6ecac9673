// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"
)

// tlsRecords pairs a Conn on a TLS connection with the plain socket of its
// client and the bytes that the client has to send, one record after another.
func tlsRecords(t *testing.T, messages ...string) (c *Conn, client *tls.Conn, far net.Conn, records [][]byte) {
	t.Helper()
	near, far := tcpPair(t)
	tap := &tapConn{Conn: far}
	client = tls.Client(tap, &tls.Config{InsecureSkipVerify: true})
	server := tls.Server(NewTransport(near), &tls.Config{Certificates: testCerts(), SessionTicketsDisabled: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	tap.hold = true
	for _, m := range messages {
		tap.held = nil
		if _, err := io.WriteString(client, m); err != nil {
			t.Fatal(err)
		}
		records = append(records, tap.held)
	}
	tap.hold = false
	c = New(server)
	// What came with the handshake is known to be used up after a first look.
	if c.Raw() {
		if _, err := c.once(); err != ErrAgain {
			t.Fatalf("first look: %v, want %v", err, ErrAgain)
		}
	}
	return c, client, far, records
}

// once calls Recv inside Loop, without a wait.
func (c *Conn) once() (n int, err error) {
	c.Loop(func() bool { n, err = c.Recv(make([]byte, 1)); return true })
	return n, err
}

// A tapConn keeps what is written instead of sending it, if told to.
type tapConn struct {
	net.Conn
	hold bool
	held []byte
}

func (c *tapConn) Write(p []byte) (int, error) {
	if c.hold {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// However the records of a client arrive, Loop hands out all that has come
// before it waits, and More says when it need not look again.
func TestTransportLoop(t *testing.T) {
	if !haveRaw {
		t.Skip("there are no raw calls on this system")
	}
	t.Parallel()
	long := string(bytes.Repeat([]byte("long "), 5000)) // more than one record
	tests := []struct {
		name  string
		send  []string // records
		cut   int      // bytes that the last write lacks
		size  int      // of the buffer
		want  string
		again bool // Recv has to be called once more to know that there is nothing
	}{
		{"one record", []string{"one"}, 0, 100, "one", false},
		{"two records", []string{"one", "two"}, 0, 100, "onetwo", true},
		{"exactly the buffer", []string{"four"}, 0, 4, "four", true},
		{"more than the buffer", []string{"fourandmore"}, 0, 4, "fourandmore", false},
		{"a record and a part", []string{"one", "two"}, 3, 100, "one", true},
		{"a record and part of a header", []string{"one", "two"}, 22, 100, "one", true},
		{"a part", []string{"one"}, 1, 100, "", true},
		{"long", []string{long}, 0, 64 << 10, long, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _, far, records := tlsRecords(t, tt.send...)
			out := bytes.Join(records, nil)
			rest := out[len(out)-tt.cut:]
			if _, err := far.Write(out[:len(out)-tt.cut]); err != nil {
				t.Fatal(err)
			}
			c.ArmRead(time.Now().Add(patience))
			var got []byte
			buf := make([]byte, tt.size)
			again := false
			err := c.Loop(func() bool {
				for {
					n, err := c.Recv(buf)
					got = append(got, buf[:n]...)
					switch {
					case err == ErrAgain && string(got) == tt.want:
						again = true
						return true
					case err == ErrAgain:
						return false
					case err != nil:
						t.Errorf("Recv = %v", err)
						return true
					case !c.More() && string(got) == tt.want:
						return true
					}
				}
			})
			if err != nil || string(got) != tt.want || again != tt.again {
				t.Errorf("Loop = %v, got %d bytes, want %d; another look %v, want %v", err, len(got), len(tt.want), again, tt.again)
			}
			if tt.cut == 0 {
				return
			}
			if _, err := far.Write(rest); err != nil {
				t.Fatal(err)
			}
			if n, err := recvLoop(c, buf); err != nil || string(buf[:n]) != tt.send[len(tt.send)-1] {
				t.Errorf("after the rest: %q, %v, want %q", buf[:n], err, tt.send[len(tt.send)-1])
			}
		})
	}
}

// A goodbye of TLS 1.2 behind data, or a part of it, takes nothing of the data
// away: crypto/tls returns both together.
func TestTransportGoodbye(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range []int{0, 3} {
			near, far := tcpPair(t)
			tap := &tapConn{Conn: far}
			client := tls.Client(tap, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
			server := tls.Server(NewTransport(near), &tls.Config{Certificates: testCerts(), SessionTicketsDisabled: true})
			shaken := make(chan error, 1)
			go func() { shaken <- client.Handshake() }()
			if err := errors.Join(server.Handshake(), <-shaken); err != nil {
				t.Fatal(err)
			}
			tap.hold = true
			io.WriteString(client, "request")
			client.CloseWrite()
			far.SetWriteDeadline(time.Now().Add(patience))
			if _, err := far.Write(tap.held[:len(tap.held)-cut]); err != nil {
				t.Fatal(err)
			}
			c := New(server)
			c.ArmRead(time.Now().Add(patience))
			buf := make([]byte, 100)
			if n, err := recvLoop(c, buf); string(buf[:n]) != "request" || err != nil || !c.More() {
				t.Errorf("%s, cut %d: Recv = %q, %v, more %v; want the request, and to be asked again",
					tls.VersionName(version), cut, buf[:n], err, c.More())
			}
			if _, err := far.Write(tap.held[len(tap.held)-cut:]); err != nil {
				t.Fatal(err)
			}
			if n, err := recvLoop(c, buf); n != 0 || err != io.EOF {
				t.Errorf("%s, cut %d: then Recv = %d, %v, want EOF", tls.VersionName(version), cut, n, err)
			}
		}
	}
}

// A readSpy knows how much crypto/tls has room for.
type readSpy struct {
	*Transport
	room int
}

func (s *readSpy) Read(p []byte) (int, error) {
	s.room = len(p)
	return s.Transport.Read(p)
}

// A record that fills what crypto/tls has room for hides the next one, of which
// there will be no event.
func TestTransportFullRead(t *testing.T) {
	if !haveRaw {
		t.Skip("there are no raw calls on this system")
	}
	t.Parallel()
	near, far := tcpPair(t)
	tap := &tapConn{Conn: far}
	client := tls.Client(tap, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true})
	spy := &readSpy{Transport: NewTransport(near)}
	server := tls.Server(spy, &tls.Config{Certificates: testCerts(), SessionTicketsDisabled: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	c := New(server)
	if _, err := c.once(); err != ErrAgain {
		t.Fatalf("first look: %v", err)
	}
	first := make([]byte, spy.room-recordHeaderLen-1-16) // the record is as long as the room
	tap.hold = true
	client.Write(first)
	if len(tap.held) != spy.room {
		t.Fatalf("the first record has %d bytes, want %d", len(tap.held), spy.room)
	}
	io.WriteString(client, "second")
	if _, err := far.Write(tap.held); err != nil {
		t.Fatal(err)
	}
	c.ArmRead(time.Now().Add(patience))
	got := 0
	buf := make([]byte, 64<<10)
	err := c.Loop(func() bool {
		for {
			n, err := c.Recv(buf)
			if got += n; err == ErrAgain {
				return false
			}
			if err != nil || got == len(first)+len("second") {
				return true
			}
			if !c.More() {
				return false
			}
		}
	})
	if err != nil || got != len(first)+len("second") {
		t.Errorf("Loop = %v after %d bytes, want %d", err, got, len(first)+len("second"))
	}
}

// A wait inside Loop that finds nothing does not spoil the connection, and
// writes go on beside it.
func TestTransportEcho(t *testing.T) {
	t.Parallel()
	c, client, _, _ := tlsRecords(t)
	go func() {
		buf := make([]byte, 100)
		c.Loop(func() bool {
			for {
				n, err := c.Recv(buf)
				if err == ErrAgain {
					return false
				}
				if err != nil {
					return true
				}
				c.Write(buf[:n], nil, nil, patience)
			}
		})
	}()
	for i := range 200 {
		want := string(bytes.Repeat([]byte{'a' + byte(i%26)}, 1+i*7%300))
		go io.WriteString(client, want)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil || string(got) != want {
			t.Fatalf("echo %d = %q, %v, want %q", i, got, err, want)
		}
	}
}

// A write that the peer does not take ends after its timeout, and one without a
// timeout is bounded by nothing.
func TestTransportWriteTimeout(t *testing.T) {
	t.Parallel()
	c, _, _, _ := tlsRecords(t)
	start := time.Now()
	n, err := c.Write(make([]byte, 64<<20), nil, nil, 50*time.Millisecond)
	if !IsTimeout(err) || n == 64<<20 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("Write = %d, %v after %v, want a timeout", n, err, time.Since(start))
	}
}

func FuzzRecordCounter(f *testing.F) {
	f.Add([]byte{23, 3, 3, 0, 2, 'a', 'b', 23, 3, 3, 0, 0, 21}, uint64(1))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		// The truth, from the whole.
		records, rest := 0, stream
		for len(rest) >= recordHeaderLen {
			n := recordHeaderLen + int(binary.BigEndian.Uint16(rest[3:]))
			if len(rest) < n {
				break
			}
			rest = rest[n:]
			records++
		}
		// The same in pieces.
		var c recordCounter
		rng := rand.New(rand.NewPCG(seed, 0))
		for at := 0; at < len(stream); {
			n := min(1+rng.IntN(9), len(stream)-at)
			c.add(stream[at : at+n])
			at += n
		}
		if c.records != records || (c.left > 0 || c.have > 0) != (len(rest) > 0) {
			t.Errorf("%d records, inside one %v; want %d, %v", c.records, c.left > 0 || c.have > 0, records, len(rest) > 0)
		}
	})
}

// A client that has said goodbye is gone; one whose next bytes only look like a
// goodbye is not, wherever the records in the socket begin.
func TestTransportPeerGone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only the end itself shows here")
	}
	request := "GET / HTTP/1.0\r\n\r\n"
	c, client, far, records := tlsRecords(t, "xy", request)
	check := func(what string, want bool) {
		t.Helper()
		if got := c.PeerGone(); got != want {
			t.Errorf("%s: PeerGone = %v, want %v", what, got, want)
		}
	}
	arrive := func(b []byte) {
		t.Helper()
		if _, err := far.Write(b); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); c.Idle() == Quiet; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing arrives")
			}
		}
	}
	check("at first", false)
	arrive(records[0]) // as long as an alert
	check("two bytes of a body", false)
	if n, err := io.ReadFull(c.nc, make([]byte, 2)); n != 2 {
		t.Fatal(err)
	}
	check("after them", false)
	arrive(records[1])
	client.Close()
	check("a request before the goodbye", false)
	if n, err := io.ReadFull(c.nc, make([]byte, len(request))); n != len(request) {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); !c.PeerGone(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("PeerGone is false after %v", patience)
		}
	}
}
