// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxytest"
)

func TestUpgrade(t *testing.T) {
	proxytest.CheckLeaks(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 80<<10) // more than a message, and than a socket buffer
	tests := []struct {
		name    string
		sockets int
		state   map[string][]byte
		oldLast bool // HandOver is called when TakeOver waits
	}{
		{"nothing", 0, nil, false},
		{"one socket", 1, map[string][]byte{"a": []byte("x")}, false},
		{"new one first", 1, map[string][]byte{"a": nil, "b": {}}, true},
		{"more than a message", perMessage + 1, map[string][]byte{"big": big, "": []byte("no name")}, false},
		{"many", 300, map[string][]byte{strings.Repeat("n", MaxName): big}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(socketPath(t))
			cargo := Cargo{Sockets: listen(t, tt.sockets), State: tt.state}
			old := make(chan given, 1)
			beside(t, func() {
				if tt.oldLast {
					waitForFile(cfg.Path)
				}
				s, err := HandOver(t.Context(), cfg, load(cargo))
				old <- given{s, err}
			})
			p := takeOver(t, cfg)
			if p.PID != os.Getpid() || p.Program != "test" {
				t.Errorf("predecessor is %d %q, want %d %q", p.PID, p.Program, os.Getpid(), "test")
			}
			if len(p.Cargo.Sockets) != tt.sockets {
				t.Fatalf("%d sockets, want %d", len(p.Cargo.Sockets), tt.sockets)
			}
			var taken []int
			for i, s := range p.Cargo.Sockets {
				want := cargo.Sockets[i]
				if s.Name != want.Name || s.Addr != want.Addr || s.Shared != want.Shared {
					t.Errorf("socket %d is %q %q %t, want %q %q %t", i, s.Name, s.Addr, s.Shared, want.Name, want.Addr, want.Shared)
				}
				checkAccepts(t, s)
				if i%2 == 0 {
					taken = append(taken, i)
				}
			}
			if !maps.EqualFunc(p.Cargo.State, tt.state, bytes.Equal) {
				t.Errorf("state of %d entries differs from what was sent", len(p.Cargo.State))
			}
			if err := p.Confirm(t.Context(), taken, nil); err != nil {
				t.Errorf("Confirm = %v", err)
			}
			got := within(t, (<-chan given)(old))
			if got.err != nil {
				t.Fatalf("HandOver = %v", got.err)
			}
			for i, is := range got.successor.Taken {
				if want := i%2 == 0; is != want {
					t.Errorf("socket %d taken: %t, want %t", i, is, want)
				}
			}
			checkGone(t, cfg.Path)
		})
	}
}

// waitForFile returns when there is a file at path.
func waitForFile(path string) {
	for _, err := os.Lstat(path); err != nil; _, err = os.Lstat(path) {
		time.Sleep(time.Millisecond)
	}
}

// TestCargoIsFresh checks that a cargo is put together only when there is somebody
// to have it, and that there is no upgrade if it cannot be.
func TestCargoIsFresh(t *testing.T) {
	proxytest.CheckLeaks(t)
	cfg := testConfig(socketPath(t))
	cfg.Wait = 20 * time.Millisecond
	never := func() (Cargo, error) {
		t.Error("called though there is nobody")
		return Cargo{}, nil
	}
	if _, err := HandOver(t.Context(), cfg, never); !errors.Is(err, ErrNobody) {
		t.Errorf("HandOver = %v, want ErrNobody", err)
	}
	cfg.Wait = 0
	old := make(chan error, 1)
	beside(t, func() {
		_, err := HandOver(t.Context(), cfg, func() (Cargo, error) { return Cargo{}, errors.New("no descriptors") })
		old <- err
	})
	if _, err := TakeOver(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "no descriptors") {
		t.Errorf("TakeOver = %v, want the reason", err)
	}
	if err := within(t, (<-chan error)(old)); err == nil || !strings.Contains(err.Error(), "no descriptors") {
		t.Errorf("HandOver = %v, want the reason", err)
	}
}

// TestNobody checks that each side gives up when the other does not come, and
// that this costs nothing: the next try works.
func TestNobody(t *testing.T) {
	proxytest.CheckLeaks(t)
	cfg := testConfig(socketPath(t))
	cfg.Wait = 50 * time.Millisecond
	if _, err := HandOver(t.Context(), cfg, load(Cargo{})); !errors.Is(err, ErrNobody) {
		t.Errorf("HandOver = %v, want ErrNobody", err)
	}
	if _, err := TakeOver(t.Context(), cfg); !errors.Is(err, ErrNobody) {
		t.Errorf("TakeOver = %v, want ErrNobody", err)
	}
	cfg.Wait = -1
	if _, err := HandOver(t.Context(), cfg, load(Cargo{})); !errors.Is(err, ErrNobody) {
		t.Errorf("HandOver without waiting = %v, want ErrNobody", err)
	}
	checkGone(t, cfg.Path)
	cfg.Wait = 0
	old := handOver(t, t.Context(), cfg, Cargo{})
	if err := takeOver(t, cfg).Confirm(t.Context(), nil, nil); err != nil {
		t.Errorf("Confirm = %v", err)
	}
	if err := within(t, old).err; err != nil {
		t.Errorf("HandOver = %v", err)
	}
}

// TestNewFails checks that HandOver fails, with the reason, whatever happens to
// the new process before it has confirmed, and that another can follow.
func TestNewFails(t *testing.T) {
	proxytest.CheckLeaks(t)
	tests := []struct {
		name string
		fail func(*testing.T, *Predecessor)
		want string
	}{
		{"says so", func(t *testing.T, p *Predecessor) { p.Abort(errors.New("port 80 is taken")) }, "port 80 is taken"},
		{"ends", func(t *testing.T, p *Predecessor) { p.close() }, "it ended before it was ready"},
		{"hangs", func(t *testing.T, p *Predecessor) {
			t.Cleanup(func() {
				err := p.Confirm(context.Background(), nil, nil)
				if err == nil || !strings.Contains(err.Error(), "it was not ready after 300ms") {
					t.Errorf("Confirm when it is too late = %v", err)
				}
			})
		}, "it was not ready after 300ms"},
		{"ends after ready", func(t *testing.T, p *Predecessor) {
			p.conn.send(ready, nil)
			p.conn.expect(yours)
			p.close()
		}, "it ended before it was ready"},
		{"claims what it has not got", func(t *testing.T, p *Predecessor) {
			defer p.close()
			p.conn.send(ready, func(b []byte) []byte { return appendTaken(b, []int{7}) })
			p.conn.expect(yours)
		}, "socket 7 of 2"},
		{"says nonsense", func(t *testing.T, p *Predecessor) {
			defer p.close()
			p.conn.send(mine, nil)
			p.conn.expect(yours)
		}, "message of kind 7, want 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(socketPath(t))
			cfg.ReadyTimeout = 300 * time.Millisecond
			cargo := Cargo{Sockets: listen(t, 2)}
			old := handOver(t, t.Context(), cfg, cargo)
			tt.fail(t, takeOver(t, cfg))
			if err := within(t, old).err; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("HandOver = %v, want %q", err, tt.want)
			}
			if tt.name == "hangs" {
				return
			}
			cfg.ReadyTimeout = 0
			old = handOver(t, t.Context(), cfg, cargo)
			if err := takeOver(t, cfg).Confirm(t.Context(), []int{0, 1}, nil); err != nil {
				t.Errorf("Confirm of the next = %v", err)
			}
			if err := within(t, old).err; err != nil {
				t.Errorf("HandOver to the next = %v", err)
			}
		})
	}
}

// A cut connection to an old process stands for its end.
func TestOldEnds(t *testing.T) {
	proxytest.CheckLeaks(t)
	t.Run("before it has said all", func(t *testing.T) {
		cfg := testConfig(socketPath(t))
		result := make(chan error, 1)
		beside(t, func() {
			_, err := TakeOver(t.Context(), cfg)
			result <- err
		})
		c, _, err := seek(t.Context(), cfg.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		c.greet("")
		c.sendSockets(listen(t, 3))
		c.Close()
		if err := <-result; err == nil || !strings.Contains(err.Error(), "it ended before") {
			t.Errorf("TakeOver = %v, want the end", err)
		}
	})
	t.Run("after that", func(t *testing.T) {
		cfg := testConfig(socketPath(t))
		cargo := Cargo{Sockets: listen(t, 1)}
		beside(t, func() {
			c, _, err := seek(t.Context(), cfg.withDefaults())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.greet("")
			c.sendCargo(cargo)
		})
		p := takeOver(t, cfg)
		if err := p.Confirm(t.Context(), []int{0}, nil); err != nil {
			t.Errorf("Confirm = %v, want nil: nobody else is left to serve", err)
		}
		checkAccepts(t, p.Cargo.Sockets[0])
	})
}

// TestOldStops checks that a new process does not take over from one that has
// been told to stop meanwhile.
func TestOldStops(t *testing.T) {
	proxytest.CheckLeaks(t)
	cfg := testConfig(socketPath(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	old := handOver(t, ctx, cfg, Cargo{})
	p := takeOver(t, cfg)
	cancel(errors.New("told to stop"))
	if err := within(t, old).err; err == nil || !strings.Contains(err.Error(), "told to stop") {
		t.Errorf("HandOver = %v, want told to stop", err)
	}
	if err := p.Confirm(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "told to stop") {
		t.Errorf("Confirm = %v, want told to stop", err)
	}
}

func TestCanceled(t *testing.T) {
	proxytest.CheckLeaks(t)
	cfg := testConfig(socketPath(t))
	cfg.Wait = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := TakeOver(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("TakeOver = %v, want context.Canceled", err)
	}
	if _, err := HandOver(ctx, cfg, load(Cargo{})); !errors.Is(err, context.Canceled) {
		t.Errorf("HandOver = %v, want context.Canceled", err)
	}
	checkGone(t, cfg.Path)
}

// TestBusy checks that of two new processes the second is told that there is
// another, and that the first is not disturbed.
func TestBusy(t *testing.T) {
	proxytest.CheckLeaks(t)
	cfg := testConfig(socketPath(t))
	first := make(chan *Predecessor, 1)
	beside(t, func() {
		p, err := TakeOver(t.Context(), cfg)
		if err != nil {
			t.Error(err)
		}
		first <- p
	})
	waitForFile(cfg.Path)
	checkBusy := func() {
		t.Helper()
		_, err := TakeOver(t.Context(), cfg)
		if want := fmt.Sprintf("process %d waits at", os.Getpid()); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), want) {
			t.Errorf("second TakeOver = %v, want ErrBusy with %q", err, want)
		}
	}
	for range 100 { // until the first has got as far as Listen
		if c, err := net.Dial("unix", cfg.Path); err == nil {
			c.Close()
			break
		}
		time.Sleep(time.Millisecond)
	}
	checkBusy()
	old := handOver(t, t.Context(), cfg, Cargo{})
	p := within(t, (<-chan *Predecessor)(first))
	checkBusy() // still, until it is decided
	if err := p.Confirm(t.Context(), nil, nil); err != nil {
		t.Errorf("Confirm = %v", err)
	}
	if err := within(t, old).err; err != nil {
		t.Errorf("HandOver = %v", err)
	}
}

// TestUsers checks that a process of another user is refused, on both sides,
// unless it may be there.
func TestUsers(t *testing.T) {
	proxytest.CheckLeaks(t)
	me, other := uint32(os.Geteuid()), uint32(os.Geteuid()+1)
	tests := []struct {
		name     string
		old, new uint32   // who they are
		users    []uint32 // Config.Users of both
		want     string   // in an error of the one that refuses
	}{
		{"same", me, me, nil, ""},
		{"root", 0, 0, nil, ""},
		{"listed", other, other, []uint32{other}, ""},
		{"foreign old", other, me, nil, fmt.Sprintf("user %d, which may not hand over", other)},
		{"foreign new", me, other, nil, fmt.Sprintf("user %d, which may not take over", other)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			as := func(uid uint32) Config {
				cfg := testConfig(socketPath(t))
				cfg.Users = tt.users
				cfg.Wait = 100 * time.Millisecond
				cfg.credentials = func(*conn) (Credentials, error) { return Credentials{1, uid}, nil }
				return cfg
			}
			oldCfg, newCfg := as(tt.new), as(tt.old) // each sees the other
			oldCfg.Path = newCfg.Path
			var logged bytes.Buffer
			newCfg.Logger = testLogger(&logged)
			if tt.want == "" {
				oldCfg.Wait, newCfg.Wait = 0, 0
			}
			old := handOver(t, t.Context(), oldCfg, Cargo{})
			p, err := TakeOver(t.Context(), newCfg)
			if err == nil {
				err = p.Confirm(t.Context(), nil, nil)
			}
			oldErr := within(t, old).err
			if tt.want == "" {
				if err != nil || oldErr != nil {
					t.Errorf("TakeOver = %v, HandOver = %v", err, oldErr)
				}
				return
			}
			text := fmt.Sprint(oldErr) + logged.String()
			if err == nil || oldErr == nil || !strings.Contains(text, tt.want) {
				t.Errorf("TakeOver = %v, HandOver = %v, log %s; want %q", err, oldErr, logged.String(), tt.want)
			}
		})
	}
}

// TestBounds checks that too much is refused before anything is sent.
func TestBounds(t *testing.T) {
	long := strings.Repeat("n", MaxName+1)
	many := make(map[string][]byte)
	for i := range MaxStates + 1 {
		many[fmt.Sprint(i)] = nil
	}
	tests := []struct {
		name  string
		cargo Cargo
		want  string
	}{
		{"sockets", Cargo{Sockets: make([]Socket, MaxSockets+1)}, "16385 sockets, want at most 16384"},
		{"name", Cargo{Sockets: []Socket{{Name: long}}}, "longer than 1000 bytes"},
		{"states", Cargo{State: many}, "4097 states, want at most 4096"},
		{"state", Cargo{State: map[string][]byte{"a": make([]byte, MaxState+1)}}, `state "a": 16777217 bytes`},
		{"sum", Cargo{State: map[string][]byte{"a": make([]byte, MaxState), "b": make([]byte, MaxState),
			"c": make([]byte, MaxState), "d": make([]byte, MaxState), "e": make([]byte, 1)}}, "67108865 bytes of state"},
	}
	for _, tt := range tests {
		cfg := testConfig(socketPath(t))
		old := handOver(t, t.Context(), cfg, tt.cargo)
		if _, err := TakeOver(t.Context(), cfg); err == nil {
			t.Errorf("%s: TakeOver works", tt.name)
		}
		if err := within(t, old).err; err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: HandOver = %v, want %q", tt.name, err, tt.want)
		}
	}
	for _, cfg := range []Config{{}, {Path: strings.Repeat("p", 104)}, {Path: "p", ReadyTimeout: -1}} {
		if _, err := TakeOver(t.Context(), cfg); err == nil {
			t.Errorf("TakeOver with %+v works", cfg)
		}
	}
}

// TestMaliciousOld sends a new process what an old one would not.
func TestMaliciousOld(t *testing.T) {
	proxytest.CheckLeaks(t)
	frame := func(k kind, body string) string {
		return string(appendMessage(nil, k, func(b []byte) []byte { return append(b, body...) }))
	}
	helloText := frame(hello, string(greeting{version, ""}.append(nil)))
	label1 := string(appendLabels(nil, []label{{"a", "b", false}}))
	tests := []struct {
		name, sends string
		want        string // error of TakeOver; "" if it goes on waiting
	}{
		{"nothing", "", ""},
		{"other protocol", "GET / HTTP/1.1\r\n\r\n", ""},
		{"other magic", frame(hello, "belay-upgrude\x00\x01\x00\x00"), ""},
		{"version 0", frame(hello, magic+"\x00\x00\x00\x00"), ""},
		{"too long", helloText + "\x02\xff\xff\xff\xff", "more than 65536 bytes"},
		{"names without descriptors", helloText + frame(sockets, label1), "1 names came with 0 descriptors"},
		{"no names", helloText + frame(sockets, "\x00"), "malformed"},
		{"too many names", helloText + frame(sockets, "\xff"), "malformed"},
		{"counts differ", helloText + frame(end, "\x00\x00\x00\x01\x00\x00\x00\x00"), "0 sockets and 0 states came, want 1 and 0"},
		{"state without end", helloText + frame(state, "\x00\x01a\x00x") + frame(end, "\x00\x00\x00\x00\x00\x00\x00\x01"), `end of state "a" is missing`},
		{"state twice", helloText + frame(state, "\x00\x01a\x01x") + frame(state, "\x00\x01a\x01x"), "came twice"},
		{"bad bool", helloText + frame(state, "\x00\x01a\x02x"), "malformed"},
		{"ready", helloText + frame(ready, ""), "message of kind 5 among sockets and states"},
		{"unknown", helloText + frame(99, ""), "message of kind 99"},
		{"fails", helloText + frame(fail, "no\nmood"), `"no\nmood"`},
		{"cut", helloText + frame(state, "\x00\x01a\x01x")[:4], "it ended before"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(socketPath(t))
			cfg.Wait = 500 * time.Millisecond
			beside(t, func() {
				c, _, err := seek(t.Context(), cfg.withDefaults())
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(c, tt.sends)
				c.CloseWrite()
				io.Copy(io.Discard, c)
				c.Close()
			})
			p, err := TakeOver(t.Context(), cfg)
			switch {
			case err == nil:
				p.Abort(errors.New("test"))
				t.Error("TakeOver works")
			case tt.want == "" && !errors.Is(err, ErrNobody), !strings.Contains(err.Error(), tt.want):
				t.Errorf("TakeOver = %v, want %q", err, tt.want)
			}
			checkGone(t, cfg.Path)
		})
	}
}

// TestDescriptorsAreClosed checks that descriptors that came before an error do
// not stay open.
func TestDescriptorsAreClosed(t *testing.T) {
	proxytest.CheckLeaks(t)
	cfg := testConfig(socketPath(t))
	cargo := listen(t, 2*perMessage)
	beside(t, func() {
		c, _, err := seek(t.Context(), cfg.withDefaults())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.greet("")
		for part := range slices.Chunk(cargo, perMessage) {
			c.sendSockets(part)
		}
		c.send(end, counts{1, 1}.append, cargo[0].File)
		io.Copy(io.Discard, c)
	})
	if _, err := TakeOver(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "64 sockets and 0 states came, want 1 and 1") {
		t.Errorf("TakeOver = %v", err)
	}
}

// TestConfirmEnds checks that a new process does not wait for ever for an old
// one that says nothing, and that it can be told to stop.
func TestConfirmEnds(t *testing.T) {
	proxytest.CheckLeaks(t)
	for _, cancelIt := range []bool{false, true} {
		cfg := testConfig(socketPath(t))
		cfg.ReadyTimeout = 100 * time.Millisecond
		if cancelIt {
			cfg.ReadyTimeout = time.Hour
		}
		told := make(chan error, 1)
		beside(t, func() {
			c, _, err := seek(t.Context(), cfg.withDefaults())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.greet("")
			c.sendCargo(Cargo{})
			c.expect(ready)
			_, _, err = c.receive()
			told <- err
		})
		p := takeOver(t, cfg)
		ctx, cancel := context.WithCancelCause(t.Context())
		want := "did not answer within 100ms"
		if cancelIt {
			want = "told to stop"
			time.AfterFunc(20*time.Millisecond, func() { cancel(errors.New(want)) })
		}
		if err := p.Confirm(ctx, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Confirm = %v, want %q", err, want)
		}
		if err := within(t, (<-chan error)(told)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the old process is told %v, want %q", err, want)
		}
		cancel(nil)
		checkGone(t, cfg.Path)
	}
}

// TestReceiverBounds checks the bounds of what a new process takes, which hold
// though no old one would send more.
func TestReceiverBounds(t *testing.T) {
	newReceiver := func() *receiver {
		return &receiver{conn: new(conn), cargo: new(Cargo), open: make(map[string]bool)}
	}
	send := func(r *receiver, name string, last bool, size int) error {
		return r.take(state, piece{name, last, make([]byte, size)}.append(nil))
	}
	r := newReceiver()
	for sent := 0; sent < MaxState; sent += 32 << 10 {
		if err := send(r, "a", false, 32<<10); err != nil {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
	}
	if err := send(r, "a", true, 1); err == nil {
		t.Errorf("a state of %d bytes is taken", MaxState+1)
	}
	r = newReceiver()
	r.sum = MaxStateSum - 1
	if err := send(r, "a", true, 1); err != nil {
		t.Errorf("%d bytes of state: %v", MaxStateSum, err)
	}
	if err := send(r, "b", true, 1); err == nil {
		t.Errorf("%d bytes of state are taken", MaxStateSum+1)
	}
	r = newReceiver()
	for i := range MaxStates {
		if err := send(r, fmt.Sprint(i), true, 0); err != nil {
			t.Fatalf("state %d: %v", i, err)
		}
	}
	if err := send(r, "one more", true, 0); err == nil {
		t.Errorf("%d states are taken", MaxStates+1)
	}
	for _, bad := range []string{"\x03\xe9" + strings.Repeat("n", MaxName+1) + "\x01", "", "\x00", "\x00\x05a"} {
		if err := newReceiver().take(state, []byte(bad)); err == nil {
			t.Errorf("state %.10q is taken", bad)
		}
	}
	for _, bad := range []string{"", "\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if err := newReceiver().take(end, []byte(bad)); err == nil {
			t.Errorf("end %q is taken", bad)
		}
	}
	for _, bad := range []string{"\x00", "\x00\x01", "\x00\x00\x00\x00"} {
		if taken, err := parseTaken([]byte(bad), 1); err == nil {
			t.Errorf("parseTaken(%q, 1) = %v, want an error", bad, taken)
		}
	}
}

func TestDefaultPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	const name = "belay-upgrade-test"
	path, err := DefaultPath(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(path)) })
	if filepath.Base(path) != "upgrade.sock" || !strings.HasPrefix(filepath.Base(filepath.Dir(path)), name) {
		t.Errorf("DefaultPath = %s", path)
	}
	if _, err := DefaultPath("a/b"); err == nil {
		t.Error("DefaultPath takes a path")
	}
}

// old plays an old process up to the moment when the new one is ready, and then
// calls f.
func old(t *testing.T, cfg Config, f func(*conn)) {
	t.Helper()
	beside(t, func() {
		c, _, err := seek(t.Context(), cfg.withDefaults())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.greet("")
		c.sendCargo(Cargo{})
		if _, err := c.expect(ready); err != nil {
			t.Error(err)
			return
		}
		f(c)
	})
}

// TestDecided checks when a new process is called that it has taken over: after
// the decision and before the old one can know of it, or when that has died.
func TestDecided(t *testing.T) {
	proxytest.CheckLeaks(t)
	for _, tt := range []struct {
		name string
		old  func(t *testing.T, c *conn, called *atomic.Bool)
		want bool
		err  string
	}{
		{"hands over", func(t *testing.T, c *conn, called *atomic.Bool) {
			if called.Load() {
				t.Error("called before the decision")
			}
			c.send(yours, nil)
			if _, err := c.expect(mine); err != nil || !called.Load() {
				t.Errorf("receipt: %v, called %t, want that it was called", err, called.Load())
			}
		}, true, ""},
		{"dies", func(*testing.T, *conn, *atomic.Bool) {}, true, ""},
		{"dies after the decision", func(_ *testing.T, c *conn, _ *atomic.Bool) { c.send(yours, nil) }, true, ""},
		{"fails", func(_ *testing.T, c *conn, _ *atomic.Bool) { c.sayFail(errors.New("no")) }, false, `"no"`},
		{"gives up", func(t *testing.T, c *conn, called *atomic.Bool) {
			c.send(yours, nil)
			for !called.Load() {
				time.Sleep(time.Millisecond)
			}
			c.sayFail(errors.New("too slow"))
		}, true, `"too slow"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(socketPath(t))
			var called atomic.Bool
			given := make(chan struct{})
			old(t, cfg, func(c *conn) {
				tt.old(t, c, &called)
				c.Close()
				close(given)
			})
			err := takeOver(t, cfg).Confirm(t.Context(), nil, func() {
				called.Store(true)
				if tt.name == "gives up" {
					<-given // it stalls for so long
				}
			})
			if called.Load() != tt.want {
				t.Errorf("called: %t, want %t", called.Load(), tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Confirm = %v, want %q", err, tt.err)
			}
		})
	}
}
