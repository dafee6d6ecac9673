// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// patience bounds every wait that should end long before.
const patience = 20 * time.Second

// transports are the kinds of connection. raw says that there is a descriptor.
var transports = []struct {
	name string
	raw  bool
	pair func(testing.TB) (near, far net.Conn)
}{
	{"tcp", haveRaw, tcpPair},
	{"unix", haveRaw, unixPair},
	{"pipe", false, pipePair},
	{"tls", haveRaw, tlsPair},
}

// eachTransport runs a test on every kind of connection. far fails instead of
// waiting for ever.
func eachTransport(t *testing.T, test func(t *testing.T, c *Conn, far net.Conn)) {
	t.Helper()
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			near, far := tr.pair(t)
			c := New(near)
			if c.Raw() != tr.raw || c.NetConn() != near {
				t.Errorf("Raw = %v, NetConn = %v, want %v, %v", c.Raw(), c.NetConn(), tr.raw, near)
			}
			test(t, c, far)
		})
	}
}

func listenPair(t testing.TB, network, addr string) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err = net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	far.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func tcpPair(t testing.TB) (near, far net.Conn) { return listenPair(t, "tcp", "127.0.0.1:0") }

func unixPair(t testing.TB) (near, far net.Conn) {
	dir, err := os.MkdirTemp("", "netio") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return listenPair(t, "unix", filepath.Join(dir, "s"))
}

func pipePair(t testing.TB) (near, far net.Conn) {
	near, far = net.Pipe()
	far.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// tlsPair is tcpPair with TLS on both sides. The near one is the server.
func tlsPair(t testing.TB) (near, far net.Conn) {
	near, far = tcpPair(t)
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	server := tls.Server(NewTransport(near), &tls.Config{Certificates: testCerts()})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// testCerts returns the certificate of the standard library's test server.
var testCerts = sync.OnceValue(func() []tls.Certificate {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	return srv.TLS.Certificates
})

// recvLoop receives once, inside Loop.
func recvLoop(c *Conn, p []byte) (n int, err error) {
	loopErr := c.Loop(func() bool {
		n, err = c.Recv(p)
		return err != ErrAgain
	})
	if loopErr != nil {
		err = loopErr
	}
	return n, err
}

func TestLoop(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		go func() {
			for _, s := range []string{"one", "two", "three"} {
				io.WriteString(far, s)
				time.Sleep(2 * time.Millisecond) // so that most come alone
			}
			far.Close()
		}()
		var got []byte
		calls, again := 0, 0
		var end error
		err := c.Loop(func() bool {
			for calls++; ; {
				p := make([]byte, 4)
				n, err := c.Recv(p)
				got = append(got, p[:n]...)
				switch err {
				case nil:
				case ErrAgain:
					again++
					return false
				default:
					end = err
					return true
				}
			}
		})
		if err != nil || end != io.EOF || string(got) != "onetwothree" {
			t.Errorf("Loop = %v, got %q, %v, want onetwothree, EOF", err, got, end)
		}
		if !c.Raw() && (again > 0 || calls > 1) {
			t.Errorf("%d calls, %d times ErrAgain, want 1 and 0 where Recv blocks", calls, again)
		}
		// At the end, Recv goes on saying so.
		if n, err := recvLoop(c, make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Recv = %d, %v, want EOF", n, err)
		}
	})
}

// The trick: a caller that has a whole message, and sends the answer, waits for
// the next one without asking first. No message is missed.
func TestLoopPingPong(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		const n = 2000
		var wg sync.WaitGroup
		wg.Go(func() {
			p := make([]byte, 1)
			for i := range n {
				if _, err := far.Write([]byte{byte(i)}); err != nil {
					return
				}
				if _, err := io.ReadFull(far, p); err != nil || p[0] != byte(i) {
					t.Errorf("answer %d is %v, %v", i, p, err)
					return
				}
			}
		})
		c.ArmRead(time.Now().Add(patience))
		got := 0
		var buf [10]byte
		err := c.Loop(func() bool {
			k, err := c.Recv(buf[:])
			if err == ErrAgain {
				return false
			}
			if k != 1 || err != nil || buf[0] != byte(got) {
				t.Errorf("message %d is %v, %v", got, buf[:k], err)
				return true
			}
			if _, err := c.Write(buf[:1], nil, nil, time.Second); err != nil {
				t.Errorf("Write = %v", err)
			}
			got++
			return got == n
		})
		wg.Wait()
		if err != nil || got != n {
			t.Errorf("Loop = %v after %d messages, want %d", err, got, n)
		}
	})
}

func TestLoopDeadline(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		recv := func() error {
			_, err := recvLoop(c, make([]byte, 1))
			return err
		}
		c.ArmRead(time.Now().Add(10 * time.Millisecond))
		if err := recv(); !IsTimeout(err) || IsClosed(err) {
			t.Errorf("Recv with a deadline = %v, want a timeout", err)
		}
		// One that has passed ends the Loop at once, though there is data.
		go io.WriteString(far, "x")
		if err := recv(); !IsTimeout(err) {
			t.Errorf("Recv after the deadline = %v, want a timeout", err)
		}
		c.ArmRead(time.Time{})
		if err := recv(); err != nil {
			t.Errorf("Recv without a deadline = %v", err)
		}
		// One that is set while the Loop waits ends it.
		go func() {
			time.Sleep(5 * time.Millisecond)
			c.Interrupt()
		}()
		if err := recv(); !IsTimeout(err) {
			t.Errorf("Recv = %v, want a timeout", err)
		}
	})
}

func TestLoopAfterClose(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		c.Close()
		if _, err := recvLoop(c, make([]byte, 1)); !IsClosed(err) || IsTimeout(err) {
			t.Errorf("Recv after Close = %v, want closed", err)
		}
		if _, err := c.Write([]byte("x"), nil, nil, 0); !IsClosed(err) {
			t.Errorf("Write after Close = %v, want closed", err)
		}
		if got := c.Idle(); c.Raw() && got != PeerClosed {
			t.Errorf("Idle after Close = %v, want PeerClosed", got)
		}
		if got := c.PeerGone(); got != c.Raw() {
			t.Errorf("PeerGone after Close = %v, want %v", got, c.Raw())
		}
	})
}

// Outside Loop, Recv blocks.
func TestRecvOutsideLoop(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		go func() {
			time.Sleep(5 * time.Millisecond)
			io.WriteString(far, "hello")
		}()
		p := make([]byte, 10)
		if n, err := c.Recv(p); string(p[:n]) != "hello" || err != nil {
			t.Errorf("Recv = %q, %v, want hello", p[:n], err)
		}
	})
}

func TestEnsureRead(t *testing.T) {
	t.Parallel()
	const min, max = 2 * time.Second, 4 * time.Second
	tests := []struct {
		armed time.Duration // from now; zero means none
		want  time.Duration // from now
	}{
		{0, max},
		{time.Second, max},
		{2*time.Second - 1, max},
		{2 * time.Second, 2 * time.Second},
		{3 * time.Second, 3 * time.Second},
		{4 * time.Second, 4 * time.Second},
		{4*time.Second + 1, max},
		{-time.Hour, max},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			nc, far := net.Pipe()
			defer far.Close()
			c := New(nc)
			defer c.Close()
			now := time.Now()
			if tt.armed != 0 {
				c.ArmRead(now.Add(tt.armed))
			}
			c.EnsureRead(now, min, max)
			_, err := c.Recv(make([]byte, 1))
			if took := time.Since(now); !IsTimeout(err) || took != tt.want {
				t.Errorf("armed %v: %v after %v, want a timeout after %v", tt.armed, err, took, tt.want)
			}
		})
	}
}

// Interrupt holds until Resume, whatever deadlines are set meanwhile.
func TestInterrupt(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		if c.Interrupted() {
			t.Error("interrupted from the start")
		}
		waiting := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			<-waiting
			c.Interrupt()
		})
		close(waiting)
		if _, err := recvLoop(c, make([]byte, 1)); !IsTimeout(err) {
			t.Errorf("Recv = %v, want a timeout", err)
		}
		wg.Wait()
		c.ArmRead(time.Now().Add(time.Hour))
		c.EnsureRead(time.Now(), time.Minute, 2*time.Minute)
		if _, err := recvLoop(c, make([]byte, 1)); !IsTimeout(err) || !c.Interrupted() || c.Killed() {
			t.Errorf("Recv = %v, interrupted %v, killed %v, want a timeout", err, c.Interrupted(), c.Killed())
		}
		go io.WriteString(far, "x")
		c.Resume()
		if _, err := recvLoop(c, make([]byte, 1)); err != nil || c.Interrupted() {
			t.Errorf("after Resume: Recv = %v, interrupted %v", err, c.Interrupted())
		}
	})
}

// Interrupts that race with deadlines, Resume and data are never lost. The race
// detector watches.
func TestInterruptRace(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		const rounds = 300
		go io.Copy(io.Discard, far)
		got := make(chan struct{})
		go func() {
			for range rounds {
				c.Interrupt()
				c.PeerGone()
				<-got
			}
		}()
		for range rounds {
			for {
				c.EnsureRead(time.Now(), time.Minute, time.Hour)
				if _, err := recvLoop(c, make([]byte, 1)); !IsTimeout(err) {
					t.Fatalf("Recv = %v, want a timeout", err)
				}
				if c.Interrupted() {
					break
				}
			}
			c.Resume()
			got <- struct{}{}
		}
	})
}

// Kill is for good, for both directions, whatever happens at the same time.
func TestKill(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		var wg sync.WaitGroup
		wg.Go(func() { // a writer that sets and clears deadlines of its own
			for {
				if _, err := c.Write(make([]byte, 100<<10), nil, nil, time.Hour); err != nil {
					if !IsTimeout(err) {
						t.Errorf("Write = %v, want a timeout", err)
					}
					return
				}
			}
		})
		wg.Go(func() { // a reader that does
			for !c.Killed() {
				c.ArmRead(time.Now().Add(time.Hour))
				recvLoop(c, make([]byte, 1))
			}
		})
		io.ReadFull(far, make([]byte, 1<<20))
		c.Kill()
		wg.Wait()
		c.Resume()
		c.ArmRead(time.Now().Add(time.Hour))
		go io.Copy(io.Discard, far) // room to write
		for range 10 {
			if _, err := recvLoop(c, make([]byte, 1)); !IsTimeout(err) {
				t.Errorf("Recv after Kill = %v, want a timeout", err)
			}
			for _, timeout := range []time.Duration{time.Hour, 0} {
				if _, err := c.Write([]byte("x"), nil, nil, timeout); !IsTimeout(err) {
					t.Errorf("Write after Kill = %v, want a timeout", err)
				}
			}
		}
		if !c.Killed() || !c.Interrupted() {
			t.Errorf("Killed %v, Interrupted %v, want true", c.Killed(), c.Interrupted())
		}
	})
}

// Kill wins against the end of a write that had a deadline.
func TestKillAfterWrite(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		near, far := tr.pair(t)
		c := New(near)
		go io.Copy(io.Discard, far)
		c.writeArmed.Store(true) // as after a wait
		c.Kill()
		c.disarmWrite()
		if _, err := c.Write([]byte("x"), nil, nil, 0); !IsTimeout(err) {
			t.Errorf("%s: Write after Kill = %v, want a timeout", tr.name, err)
		}
	}
}

func TestWrite(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
		parts := [][3][]byte{
			{[]byte("a"), []byte("b"), []byte("c")},
			{nil, []byte("b"), nil},
			{[]byte("a"), nil, []byte("c")},
			{[]byte("head"), big, []byte("tail")},
			{big, big, big},
			{nil, nil, big},
			{nil, nil, nil},
		}
		var want []byte
		for _, p := range parts {
			want = append(want, bytes.Join(p[:], nil)...)
		}
		done := make(chan error, 1)
		go func() {
			defer c.CloseWrite()
			for i, p := range parts {
				n, err := c.Write(p[0], p[1], p[2], []time.Duration{0, -1, patience}[i%3])
				if all := len(p[0]) + len(p[1]) + len(p[2]); n != all || err != nil {
					t.Errorf("Write of parts %d = %d, %v, want %d", i, n, err, all)
				}
			}
			done <- nil
		}()
		got := make([]byte, len(want))
		for i := 0; i < len(got); { // a reader in no hurry, so that the buffers fill
			n, err := far.Read(got[i:min(i+30_000, len(got))])
			if i += n; err != nil {
				t.Fatalf("after %d bytes: %v", i, err)
			}
		}
		<-done
		if !bytes.Equal(got, want) {
			t.Error("what arrived is not what was written")
		}
	})
}

// A small send buffer makes every write one of many parts.
func TestWriteSmallBuffer(t *testing.T) {
	t.Parallel()
	near, far := tcpPair(t)
	near.(*net.TCPConn).SetWriteBuffer(4 << 10)
	far.(*net.TCPConn).SetReadBuffer(4 << 10)
	c := New(near)
	a, b, tail := bytes.Repeat([]byte("a"), 3000), bytes.Repeat([]byte("b"), 70_001), bytes.Repeat([]byte("c"), 9999)
	go func() {
		if n, err := c.Write(a, b, tail, patience); n != len(a)+len(b)+len(tail) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		c.CloseWrite()
	}()
	got, err := io.ReadAll(far)
	if want := bytes.Join([][]byte{a, b, tail}, nil); !bytes.Equal(got, want) || err != nil {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
}

func TestWriteTimeout(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		big := make([]byte, 16<<20) // more than any socket buffer
		n, err := c.Write(big, nil, nil, 20*time.Millisecond)
		if !IsTimeout(err) || n >= len(big) {
			t.Errorf("Write = %d, %v, want a timeout", n, err)
		}
	})
}

// Each wait has the whole timeout, and one call's does not bound the next.
func TestWriteTimeoutIsPerWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := New(near)
		defer c.Close()
		const size = 10 * plainPiece
		go func() {
			buf := make([]byte, plainPiece)
			for range 10 {
				time.Sleep(900 * time.Millisecond)
				io.ReadFull(far, buf)
			}
			time.Sleep(time.Hour)
			io.ReadFull(far, buf[:1])
		}()
		if n, err := c.Write(make([]byte, size), nil, nil, time.Second); n != size || err != nil {
			t.Errorf("Write to a slow reader = %d, %v, want %d", n, err, size)
		}
		if n, err := c.Write([]byte("x"), nil, nil, 0); n != 1 || err != nil {
			t.Errorf("Write without timeout = %d, %v, want 1", n, err)
		}
	})
}

func TestWriteToClosed(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		if tc, ok := far.(*net.TCPConn); ok {
			tc.SetLinger(0)
		}
		far.Close()
		for deadline := time.Now().Add(patience); ; {
			_, err := c.Write([]byte("x"), nil, nil, time.Second)
			if err != nil {
				if !IsClosed(err) || IsTimeout(err) {
					t.Errorf("Write = %v, want closed", err)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("writes to a closed connection succeed")
			}
		}
	})
}

func TestIdle(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		check := func(what string, want IdleState, gone bool) {
			t.Helper()
			if !c.Raw() {
				want, gone = Quiet, false // it cannot tell
			}
			for deadline := time.Now().Add(patience); c.Idle() != want || c.PeerGone() != gone; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s: Idle = %v, PeerGone = %v, want %v, %v", what, c.Idle(), c.PeerGone(), want, gone)
				}
			}
		}
		check("at first", Quiet, false)
		go io.WriteString(far, "x")
		check("with data", HasData, false)
		if n, err := recvLoop(c, make([]byte, 2)); n != 1 || err != nil { // it is still there
			t.Errorf("Recv = %d, %v, want 1", n, err)
		}
		check("without data", Quiet, false)
		if half, ok := far.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
			if c.tls != nil { // a goodbye is data until the end of the stream is behind it
				check("after the goodbye", HasData, false)
			} else {
				check("half closed", PeerClosed, true)
			}
		}
		far.Close()
		if c.tls != nil && runtime.GOOS != "linux" {
			return
		}
		check("closed", PeerClosed, true)
		// It can be asked from inside Loop.
		c.ArmRead(time.Now().Add(patience))
		c.Loop(func() bool {
			check("inside Loop", PeerClosed, true)
			return true
		})
	})
}

func TestCloseWrite(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		if err := c.CloseWrite(); err != nil {
			t.Errorf("CloseWrite = %v", err)
		}
		if !c.Raw() {
			return // a pipe cannot
		}
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read = %v, want EOF", err)
		}
		go io.WriteString(far, "x")
		if n, err := recvLoop(c, make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Recv = %d, %v, want 1", n, err)
		}
	})
}

func TestAbort(t *testing.T) {
	eachTransport(t, func(t *testing.T, c *Conn, far net.Conn) {
		c.Abort()
		c.Close()
		if _, err := far.Read(make([]byte, 1)); !IsClosed(err) || c.NetConn().LocalAddr().Network() == "tcp" && err == io.EOF {
			t.Errorf("read after Abort = %v, want a reset", err)
		}
	})
}

// TLS ends in good order unless told otherwise; a cut message must not.
func TestAbortTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(nil) // for its certificate
	defer srv.Close()
	for _, abort := range []bool{false, true} {
		near, far := tcpPair(t)
		client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		c := New(tls.Server(near, srv.TLS))
		go func() {
			c.Write([]byte("part"), nil, nil, patience)
			if abort {
				c.Abort()
			}
			c.Close()
		}()
		got, err := io.ReadAll(client)
		if string(got) != "part" && !abort || (err != nil) != abort {
			t.Errorf("abort %v: got %q, %v, want an error %v", abort, got, err, abort)
		}
	}
}

func TestIsClosed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err             error
		closed, timeout bool
	}{
		{nil, false, false},
		{io.EOF, true, false},
		{io.ErrUnexpectedEOF, false, false},
		{io.ErrClosedPipe, true, false},
		{net.ErrClosed, true, false},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("recv", syscall.ECONNRESET)}, true, false},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("send", syscall.EPIPE)}, true, false},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, false, true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, false, false},
		{ErrAgain, false, false},
		{errors.New("other"), false, false},
	}
	for _, tt := range tests {
		if IsClosed(tt.err) != tt.closed || IsTimeout(tt.err) != tt.timeout {
			t.Errorf("%v: IsClosed %v, IsTimeout %v, want %v, %v", tt.err, IsClosed(tt.err), IsTimeout(tt.err), tt.closed, tt.timeout)
		}
	}
}

// A wrapped connection may hold bytes that its descriptor does not show.
func TestNewWrapped(t *testing.T) {
	t.Parallel()
	near, _ := tcpPair(t)
	if c := New(struct{ net.Conn }{near}); c.Raw() {
		t.Error("a wrapped connection is taken for a raw one")
	}
}

func TestNow(t *testing.T) {
	t.Parallel()
	a, b, c := time.Now(), Now(), time.Now()
	if b.Before(a) || b.After(c) {
		t.Errorf("Now = %v, want one between %v and %v", b, a, c)
	}
	synctest.Test(t, func(t *testing.T) {
		before, start := Now(), time.Now()
		time.Sleep(time.Hour)
		if got := Now().Sub(before); got != time.Hour {
			t.Errorf("an hour of Now is %v", got)
		}
		if got := Now().Sub(start); got != time.Hour {
			t.Errorf("Now and time.Now differ by %v", got-time.Hour)
		}
	})
}

func BenchmarkLoop(b *testing.B) {
	near, far := tcpPair(b)
	c := New(near)
	far.SetDeadline(time.Time{})
	go func() {
		defer far.Close()
		msg := make([]byte, 100)
		for {
			if _, err := far.Write(msg); err != nil {
				return
			}
			if _, err := io.ReadFull(far, msg); err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	var buf [100]byte
	n := 0
	err := c.Loop(func() bool {
		if _, err := c.Recv(buf[:]); err == ErrAgain {
			return false
		} else if err != nil {
			b.Fatal(err)
		}
		c.Write(buf[:], nil, nil, time.Second)
		n++
		return !b.Loop()
	})
	if err != nil {
		b.Fatal(err)
	}
}
