// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// hand adds the socket of l to in, as an upgrade does.
func hand(t *testing.T, in *Inherited, l *Listener) {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Add(l.Name(), l.ConfiguredAddr(), f); err != nil {
		t.Fatal(err)
	}
}

// shortPath returns a path for a socket.
func shortPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// TestInherit checks which socket a configuration takes, and that a connection
// waiting there is not lost when the old process closes it.
func TestInherit(t *testing.T) {
	const port = "PORT" // of the old listener
	path := shortPath(t)
	tests := []struct {
		name     string
		old, new Config
		unknown  bool // Add is not told the address
		taken    bool
	}{
		{"same", Config{Addr: "127.0.0.1:0"}, Config{Addr: "127.0.0.1:" + port}, false, true},
		{"any port", Config{Addr: "127.0.0.1:0"}, Config{Addr: "127.0.0.1:0"}, false, true},
		{"any port, other name", Config{Addr: "127.0.0.1:0"}, Config{Addr: "127.0.0.1:0", Name: "x"}, false, false},
		{"any port, other address", Config{Addr: "127.0.0.1:0", Name: "x"}, Config{Addr: "127.0.0.2:0", Name: "x"}, false, false},
		{"other name", Config{Addr: "127.0.0.1:0", Name: "x"}, Config{Addr: "127.0.0.1:" + port, Name: "y"}, false, true},
		{"other host", Config{Addr: "127.0.0.1:0"}, Config{Addr: "127.0.0.2:" + port}, false, false},
		{"other port", Config{Addr: "127.0.0.1:0", Name: "x"}, Config{Addr: "127.0.0.1:1", Name: "x"}, false, false},
		{"host name", Config{Addr: "127.0.0.1:0"}, Config{Addr: "localhost:" + port}, false, true},
		{"wildcards", Config{Addr: "0.0.0.0:0"}, Config{Addr: ":" + port}, false, true},
		{"wildcards of both versions", Config{Addr: "[::]:0"}, Config{Addr: "0.0.0.0:" + port}, false, true},
		{"wildcard and host", Config{Addr: "127.0.0.1:0"}, Config{Addr: ":" + port}, false, false},
		{"IPv6 only", Config{Addr: "[::]:0", IPv6Only: true}, Config{Addr: "[::]:" + port, IPv6Only: true}, false, true},
		{"not IPv6 only any more", Config{Addr: "[::]:0", IPv6Only: true}, Config{Addr: "[::]:" + port}, false, false},
		{"Unix", Config{Addr: "unix:" + path}, Config{Addr: "unix:" + path, Mode: 0o600}, false, true},
		{"Unix, other path", Config{Addr: "unix:" + path}, Config{Addr: "unix:" + path + "2"}, false, false},
		{"abstract", Config{Addr: "unix:@" + path}, Config{Addr: "unix:@" + path}, false, true},
		{"TCP and Unix", Config{Addr: "127.0.0.1:0", Name: "x"}, Config{Addr: "unix:" + path, Name: "x"}, false, false},
		{"by name", Config{Addr: "127.0.0.1:0", Name: "x"}, Config{Addr: ":1", Name: "x"}, true, true},
		{"by name, any port", Config{Addr: "127.0.0.1:0", Name: "x"}, Config{Addr: "127.0.0.1:0", Name: "x"}, true, true},
		{"by name, Unix", Config{Addr: "unix:" + path, Name: "x"}, Config{Addr: "unix:" + path + "2", Name: "x"}, true, true},
		{"by address", Config{Addr: "127.0.0.1:0", Name: "x"}, Config{Addr: "127.0.0.1:" + port, Name: "y"}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, err := Listen(t.Context(), tt.old)
			if err != nil {
				t.Skip(err) // no IPv6, perhaps
			}
			defer old.Close()
			if a, ok := old.Addr().(*net.TCPAddr); ok {
				tt.new.Addr = strings.ReplaceAll(tt.new.Addr, port, strconv.Itoa(a.Port))
			}
			waiting := dial(t, old)

			var in Inherited
			f, err := old.File()
			if err != nil {
				t.Fatal(err)
			}
			addr := tt.old.Addr
			if tt.unknown {
				addr = ""
			}
			if err := in.Add(old.Name(), addr, f); err != nil {
				t.Fatal(err)
			}
			number, s, err := in.claim(t.Context(), tt.new.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			if got := s != nil; got != tt.taken {
				t.Fatalf("taken: %t, want %t", got, tt.taken)
			}
			if !tt.taken {
				if names := in.Close(); len(names) != 1 || names[0] != old.Name() {
					t.Errorf("left over: %q, want %q", names, old.Name())
				}
				return
			}
			l, err := adopt(tt.new, s)
			s.file.Close()
			if err != nil {
				t.Fatal(err)
			}
			if number != 0 || len(in.Close()) > 0 {
				t.Errorf("number %d, want 0, and nothing left", number)
			}
			serve(t, l, echo)
			old.SetShared(true)
			old.Close()
			checkEcho(t, waiting)
			checkEcho(t, dial(t, l))
			if tt.new.Mode != 0 {
				if info, err := os.Lstat(path); err != nil || info.Mode().Perm() == tt.new.Mode {
					t.Errorf("mode %v, %v, while the old process may need another", info.Mode(), err)
				}
				if err := l.Apply(); err != nil {
					t.Error(err)
				}
				if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != tt.new.Mode {
					t.Errorf("mode %v, %v, want %v", info.Mode(), err, tt.new.Mode)
				}
			}
			l.Close() // it is still shared
			if file, ok := strings.CutPrefix(tt.old.Addr, "unix:/"); ok {
				if _, err := os.Lstat("/" + file); err != nil {
					t.Errorf("the file of a shared socket was removed: %v", err)
				}
				os.Remove("/" + file)
			}
		})
	}
}

// TestInheritSeveral checks that sockets with the same address are taken one
// by one, those with the right name first, and that what is missing is bound.
func TestInheritSeveral(t *testing.T) {
	a := listen(t, Config{Addr: "127.0.0.1:0", Name: "a", ReusePort: true})
	b := listen(t, Config{Addr: a.Addr().String(), Name: "b", ReusePort: true})
	var in Inherited
	hand(t, &in, a)
	hand(t, &in, b)
	if n := in.Len(); n != 2 {
		t.Errorf("Len = %d, want 2", n)
	}
	for _, tt := range []struct {
		name string
		want int
	}{{"b", 1}, {"c", 0}, {"d", -1}} {
		l, number, err := in.Listen(t.Context(), Config{Addr: a.Addr().String(), Name: tt.name, ReusePort: true, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if number != tt.want || l.Shared() != (tt.want >= 0) {
			t.Errorf("%s has socket %d, shared %t, want %d", tt.name, number, l.Shared(), tt.want)
		}
	}
	if _, _, err := in.Listen(t.Context(), Config{Addr: "nonsense"}); err == nil {
		t.Error("a bad configuration is accepted")
	}
}

// TestInheritConflict checks that the reason is given if a socket of the old
// process is in the way of a new one.
func TestInheritConflict(t *testing.T) {
	old := listen(t, Config{Addr: "127.0.0.1:0", Name: "web"})
	var in Inherited
	hand(t, &in, old)
	_, port, _ := net.SplitHostPort(old.Addr().String())
	_, _, err := in.Listen(t.Context(), Config{Addr: ":" + port, Logger: quiet})
	if want := fmt.Sprintf(`listener "web", which is not taken over because it is bound to %v`, old.Addr()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Listen = %v, want %s", err, want)
	}
	if ln, number, err := in.Take(t.Context(), Config{Addr: ":" + port}); ln != nil || number != -1 || err != nil {
		t.Errorf("Take = %v, %d, %v, want nothing", ln, number, err)
	}
	ln, number, err := in.Take(t.Context(), Config{Addr: old.Addr().String()})
	if err != nil || number != 0 {
		t.Fatalf("Take = %d, %v", number, err)
	}
	defer ln.Close()
	c := dial(t, old)
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.RemoteAddr().String() != c.LocalAddr().String() {
		t.Errorf("connection from %v, want %v", a.RemoteAddr(), c.LocalAddr())
	}
}

// TestInheritGone checks that a Unix socket whose file is gone, so that nobody
// can reach it, is made anew.
func TestInheritGone(t *testing.T) {
	path := shortPath(t)
	old := listen(t, Config{Addr: "unix:" + path})
	var in Inherited
	hand(t, &in, old)
	os.Remove(path)
	l, number, err := in.Listen(t.Context(), Config{Addr: "unix:" + path, Logger: quiet})
	if err != nil || number != -1 {
		t.Fatalf("Listen = %d, %v, want a new socket", number, err)
	}
	serve(t, l, echo)
	in.Close()
	checkEcho(t, dial(t, l))
}

func TestAddRefuses(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	l := listen(t, Config{Addr: "127.0.0.1:0"})
	c := dial(t, l)
	for _, tt := range []struct {
		name string
		file func() (*os.File, error)
	}{
		{"datagrams", udp.(*net.UDPConn).File},
		{"connection", c.(*net.TCPConn).File},
		{"file", func() (*os.File, error) { return os.Open(os.DevNull) }},
	} {
		f, err := tt.file()
		if err != nil {
			t.Fatal(err)
		}
		var in Inherited
		if err := in.Add("x", "", f); err == nil {
			t.Errorf("%s: Add works", tt.name)
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: the file was left open", tt.name)
		}
	}
}

// TestSharedStaysNonBlocking checks that handing a socket over does not make it
// blocking: the flag belongs to both processes, and Close would hang.
func TestSharedStaysNonBlocking(t *testing.T) {
	old := listen(t, Config{Addr: "127.0.0.1:0"})
	done := make(chan struct{})
	go func() {
		old.Serve(echo)
		close(done)
	}()
	var in Inherited
	hand(t, &in, old)
	l, _, err := in.Listen(t.Context(), Config{Addr: old.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, echo)
	old.SetShared(true)
	old.Close()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Serve of the old listener does not end")
	}
}

// TestCloseTakesBacklog checks that Close has the connections served that wait,
// one after the other if MaxConns says so, and leaves them alone if the socket
// is shared.
func TestCloseTakesBacklog(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "unix:" + shortPath(t)} {
		for _, shared := range []bool{false, true} {
			const n = 20
			l := listen(t, Config{Addr: addr, MaxConns: 1})
			var mu sync.Mutex
			open, most := 0, 0
			begun, goOn := make(chan struct{}, n), make(chan struct{})
			done := make(chan struct{})
			go func() {
				l.Serve(func(c net.Conn) {
					mu.Lock()
					open++
					most = max(most, open)
					mu.Unlock()
					begun <- struct{}{}
					<-goOn
					mu.Lock()
					open--
					mu.Unlock()
					echo(c)
				})
				close(done)
			}()
			var conns []net.Conn
			for i := range n {
				c := dial(t, l)
				io.WriteString(c, "x")
				conns = append(conns, c)
				if i == 0 {
					<-begun // it takes the only slot
				}
			}
			l.SetShared(shared)
			l.Close()
			close(goOn)
			<-done
			for i, c := range conns {
				got, err := io.ReadAll(c)
				if served := string(got) == "x"; served != (i == 0 || !shared) {
					t.Errorf("%s, shared %t: connection %d: %q, %v", addr, shared, i, got, err)
				}
			}
			l.Wait()
			if most != 1 {
				t.Errorf("%d connections were served at the same time, want 1", most)
			}
			if path, ok := strings.CutPrefix(addr, "unix:"); ok {
				if _, err := os.Lstat(path); (err == nil) != shared {
					t.Errorf("shared %t: file: %v", shared, err)
				}
				os.Remove(path)
			}
		}
	}
}

// TestCloseWithoutServe checks that Close does not wait for anybody to serve
// the backlog.
func TestCloseWithoutServe(t *testing.T) {
	l := listen(t, Config{Addr: "127.0.0.1:0"})
	c := dial(t, l)
	l.Close()
	l.Wait()
	if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
		t.Error("a connection was served by nobody")
	}
}
