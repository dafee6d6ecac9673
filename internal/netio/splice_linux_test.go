// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A chain is a source, two connections in our hands, and a destination.
type chain struct {
	source, sink net.Conn
	src, dst     *Conn
}

func newChain(t *testing.T) chain {
	t.Helper()
	src, source := tcpPair(t)
	dst, sink := tcpPair(t)
	ch := chain{source, sink, New(src), New(dst)}
	ch.src.ArmRead(time.Now().Add(patience))
	return ch
}

// splice moves n bytes.
func (ch chain) splice(n int64, timeout time.Duration) (moved int64, err error) {
	for moved < n && err == nil {
		var k int64
		k, err = Splice(ch.dst, ch.src, n-moved, nil, timeout)
		moved += k
	}
	return moved, err
}

func TestCanSplice(t *testing.T) {
	t.Parallel()
	ch := newChain(t)
	unix, _ := unixPair(t)
	pipe, _ := pipePair(t)
	for _, tt := range []struct {
		dst, src *Conn
		want     bool
	}{
		{ch.dst, ch.src, true},
		{ch.dst, New(unix), false},
		{New(unix), ch.src, false},
		{New(pipe), ch.src, false},
		{ch.dst, New(pipe), false},
	} {
		if got := CanSplice(tt.dst, tt.src); got != tt.want {
			t.Errorf("CanSplice(%T, %T) = %v, want %v", tt.dst.nc, tt.src.nc, got, tt.want)
		}
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	for _, through := range []string{"kernel", "buffer"} {
		ch := newChain(t)
		data := make([]byte, 5<<20)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		const more = "not to be moved"
		go func() {
			for i := 0; i < len(data); i += 1 << 20 {
				ch.source.Write(data[i : i+1<<20])
				time.Sleep(time.Millisecond)
			}
			io.WriteString(ch.source, more)
		}()
		result := make(chan error, 1)
		go func() {
			defer ch.dst.CloseWrite()
			if through == "kernel" {
				_, err := ch.splice(int64(len(data)), patience)
				result <- err
				return
			}
			for left := int64(len(data)); left > 0; {
				n, err := copyPiece(ch.dst, ch.src, left, nil, patience)
				if left -= n; err != nil {
					result <- err
					return
				}
			}
			result <- nil
		}()
		got, err := io.ReadAll(ch.sink)
		if err := errors.Join(err, <-result); err != nil || !bytes.Equal(got, data) {
			t.Errorf("through the %s: got %d bytes, %v, want %d", through, len(got), err, len(data))
		}
		p := make([]byte, 100)
		if n, err := io.ReadFull(ch.src.nc, p[:len(more)]); string(p[:n]) != more {
			t.Errorf("what is left is %q, %v, want %q", p[:n], err, more)
		}
	}
}

// The error says on which side it was.
func TestSpliceErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		fail    func(ch chain)
		dst     bool // whose error
		timeout bool
		eof     bool
	}{
		{"source ends", func(ch chain) { ch.source.Close() }, false, false, true},
		{"source resets", func(ch chain) { ch.source.(*net.TCPConn).SetLinger(0); ch.source.Close() }, false, false, false},
		{"source stalls", func(ch chain) { ch.src.ArmRead(time.Now().Add(20 * time.Millisecond)) }, false, true, false},
		{"source interrupted", func(ch chain) { ch.src.Interrupt() }, false, true, false},
		{"source killed", func(ch chain) { ch.src.Kill() }, false, true, false},
		{"sink resets", func(ch chain) {
			ch.sink.(*net.TCPConn).SetLinger(0)
			ch.sink.Close()
			go ch.source.Write(make([]byte, 64<<20))
		}, true, false, false},
		{"sink stalls", func(ch chain) { go ch.source.Write(make([]byte, 64<<20)) }, true, true, false},
		{"sink killed", func(ch chain) { ch.dst.Kill(); go ch.source.Write(make([]byte, 64<<20)) }, true, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ch := newChain(t)
			go io.WriteString(ch.source, "hello")
			if n, err := ch.splice(5, time.Second); n != 5 || err != nil {
				t.Fatalf("Splice = %d, %v, want 5", n, err)
			}
			tt.fail(ch)
			_, err := ch.splice(1<<40, 50*time.Millisecond)
			we, isDst := errors.AsType[*SpliceWriteError](err)
			if isDst != tt.dst || IsTimeout(err) != tt.timeout || (err == io.EOF) != tt.eof || !IsTimeout(err) && !IsClosed(err) {
				t.Errorf("Splice = %v, of the destination %v", err, isDst)
			}
			if isDst && we.Error() != we.Err.Error() {
				t.Errorf("Error = %q, want %q", we.Error(), we.Err.Error())
			}
		})
	}
}

// Pipes are used again if they are empty, and only then; none leaks.
func TestSplicePipes(t *testing.T) {
	before := descriptors(t)
	for range 20 {
		p := takePipe()
		if p == nil {
			t.Fatal("no pipe")
		}
		p.give()
		p = takePipe()
		p.held = 1 // what is in it must not reach anybody
		p.give()
	}
	wantDescriptors(t, before)
}

// While a source is quiet, as that of a slow upload, it takes no pipe.
func TestSpliceWaitsWithoutPipe(t *testing.T) {
	const waits = 20
	chains := make([]chain, waits)
	for i := range chains {
		chains[i] = newChain(t)
		chains[i].src.ArmRead(time.Now().Add(2 * patience))
	}
	before := descriptors(t)
	results := make(chan error, waits)
	for _, ch := range chains {
		go func() {
			_, err := ch.splice(5, patience)
			results <- err
		}()
	}
	for deadline := time.Now().Add(patience); countStacks("[IO wait]", "netio.Splice(") < waits; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, want %d", countStacks("[IO wait]", "netio.Splice("), waits)
		}
	}
	wantDescriptors(t, before)
	for _, ch := range chains {
		io.WriteString(ch.source, "hello")
		p := make([]byte, 5)
		if _, err := io.ReadFull(ch.sink, p); string(p) != "hello" {
			t.Errorf("got %q, %v, want hello", p, err)
		}
	}
	for range waits {
		if err := <-results; err != nil {
			t.Errorf("Splice = %v", err)
		}
	}
}

// countStacks returns how many goroutines have all these words in their stacks.
func countStacks(words ...string) (n int) {
	buf := make([]byte, 4<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(stack, w) }) {
			n++
		}
	}
	return n
}

// wantDescriptors checks that no more than before are open, and one pipe.
func wantDescriptors(t *testing.T, before int) {
	t.Helper()
	// With the race detector a pool loses some; the collector closes them.
	for deadline := time.Now().Add(patience); descriptors(t) > before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors are open, want at most %d and one pipe", descriptors(t), before)
		}
		runtime.GC()
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

func BenchmarkSplice(b *testing.B) {
	src, source := tcpPair(b)
	dst, sink := tcpPair(b)
	source.SetDeadline(time.Time{})
	sink.SetDeadline(time.Time{})
	go func() {
		data := make([]byte, 1<<20)
		for {
			if _, err := source.Write(data); err != nil {
				return
			}
		}
	}()
	go io.Copy(io.Discard, sink)
	ch := chain{source, sink, New(src), New(dst)}
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := ch.splice(1<<20, time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}

// A destination that goes on taking a little is given up all the same.
func TestSplicePace(t *testing.T) {
	t.Parallel()
	ch := newChain(t)
	ch.dst.SetWritePace(NewPace(maxRate, 20*time.Millisecond))
	takeSlowly(t, ch.sink)
	go func() { // until the source is closed
		for data := make([]byte, 1<<20); ; {
			if _, err := ch.source.Write(data); err != nil {
				return
			}
		}
	}()
	_, err := ch.splice(1<<40, patience)
	if we, ok := errors.AsType[*SpliceWriteError](err); !ok || we.Err != ErrTooSlow {
		t.Errorf("Splice = %v, want %v of the destination", err, ErrTooSlow)
	}
}
