// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/test/internal/modes"
	"github.com/belay-proxy/belay/test/internal/wsframe"
)

// echo is a WebSocket server: messages come back with their fragments, pings
// as pongs, and a close frame ends it. A frame that is not masked is an error.
func echo(e end) {
	br := bufio.NewReader(e)
	for {
		f, err := wsframe.Read(br)
		if err != nil || !f.Masked {
			e.Reset()
			return
		}
		f.Masked = false
		if f.Op == wsframe.Ping {
			f.Op = wsframe.Pong
		}
		if _, err := e.Write(f.Append(nil)); err != nil {
			return
		}
		if f.Op == wsframe.Close {
			_ = e.CloseWrite()
			_, _ = io.Copy(io.Discard, br)
			return
		}
	}
}

// sizes are those at which the form of a length changes, and others.
var sizes = []int{0, 1, 2, 124, 125, 126, 127, 128, 1000, 16383, 16384, 16385, 65534, 65535, 65536, 65537, 100_000}

// sequence returns frames of a client: messages, whole and in fragments, with
// control frames between them, and a close frame with a code.
func sequence(rnd *rand.Rand, number int) (frames []wsframe.Frame) {
	add := func(op wsframe.Opcode, final bool, n int) {
		f := wsframe.Frame{Op: op, Final: final, Masked: true, Payload: make([]byte, 0, n+8)}
		for len(f.Payload) < n {
			f.Payload = binary.LittleEndian.AppendUint64(f.Payload, rnd.Uint64())
		}
		f.Payload = f.Payload[:n]
		for i := range f.Mask {
			f.Mask[i] = byte(rnd.Uint32())
		}
		frames = append(frames, f)
	}
	size := func() int {
		if rnd.IntN(40) == 0 {
			return 1 << 20
		}
		if rnd.IntN(3) > 0 {
			return rnd.IntN(300)
		}
		return sizes[rnd.IntN(len(sizes))]
	}
	for range 1 + rnd.IntN(6) {
		op := wsframe.Text + wsframe.Opcode(rnd.IntN(2))
		for fragments := rnd.IntN(4); fragments > 0; fragments-- {
			add(op, false, size())
			op = wsframe.Continuation
			if rnd.IntN(2) == 0 {
				add(wsframe.Ping, true, rnd.IntN(126))
			}
		}
		add(op, true, size())
		if rnd.IntN(3) == 0 {
			add(wsframe.Ping, true, rnd.IntN(126))
		}
	}
	codes := []uint16{1000, 1001, 1003, 1009, 3000, 4999}
	code := codes[number%len(codes)]
	reason := strings.Repeat("r", rnd.IntN(124))
	add(wsframe.Close, true, 0)
	frames[len(frames)-1].Payload = append([]byte{byte(code >> 8), byte(code)}, reason...)
	return frames
}

// 200 sequences on each pair, 30 with -short, and every frame compared. The bytes
// are sent in pieces that know nothing of frames.
func TestEcho(t *testing.T) {
	sequences := 200
	if testing.Short() {
		sequences = 30
	}
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		r := newRig(t, m, proxy.Config{}, &server{serve: echo})
		for number := range sequences {
			rnd := rand.New(rand.NewPCG(6455, uint64(number)))
			if err := exchange(r.dial(), sequence(rnd, number), rnd); err != nil {
				t.Fatalf("sequence %d: %v; Log got %v", number, err, r.outcome())
			}
			if err := r.outcome(); err != nil {
				t.Fatalf("sequence %d: Log got %v", number, err)
			}
		}
	})
}

// exchange sends frames and checks that they come back.
func exchange(e end, frames []wsframe.Frame, rnd *rand.Rand) error {
	var raw []byte
	for _, f := range frames {
		raw = f.Append(raw)
	}
	var pieces [][]byte
	for len(raw) > 0 {
		n := 1 + rnd.IntN(min(len(raw), 50_000))
		if rnd.IntN(4) == 0 {
			n = min(1+rnd.IntN(8), len(raw))
		}
		pieces, raw = append(pieces, raw[:n]), raw[n:]
	}
	sent := make(chan error, 1)
	go func() {
		for _, p := range pieces {
			if _, err := e.Write(p); err != nil {
				sent <- err
				return
			}
		}
		sent <- e.CloseWrite()
	}()
	br := bufio.NewReader(e)
	for i, want := range frames {
		got, err := wsframe.Read(br)
		if err != nil {
			return fmt.Errorf("frame %d of %d: %w", i, len(frames), err)
		}
		if want.Op == wsframe.Ping {
			want.Op = wsframe.Pong
		}
		if got.Op != want.Op || got.Final != want.Final || got.Masked || !bytes.Equal(got.Payload, want.Payload) {
			return fmt.Errorf("frame %d: opcode %d, final %v, %d bytes; want %d, %v, %d bytes",
				i, got.Op, got.Final, len(got.Payload), want.Op, want.Final, len(want.Payload))
		}
	}
	if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
		return fmt.Errorf("after the close frame: %q, %v", rest, err)
	}
	return <-sent
}

// A side that has ended can still be sent to.
func TestHalfClose(t *testing.T) {
	for _, first := range []string{"client", "server"} {
		t.Run(first, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				heard := make(chan string, 1)
				r := newRig(t, m, proxy.Config{}, &server{serve: func(e end) {
					if first == "server" {
						_, _ = io.WriteString(e, "bye")
						_ = e.CloseWrite()
					}
					all, err := io.ReadAll(e)
					heard <- fmt.Sprint(string(all), " ", err)
					if first == "client" {
						_, _ = io.WriteString(e, "bye")
						_ = e.CloseWrite()
					}
				}})
				e := r.dial()
				if first == "server" {
					if got, err := io.ReadAll(e); string(got) != "bye" || err != nil {
						t.Errorf("the client got %q, %v; want bye", got, err)
					}
				}
				_, err := io.WriteString(e, "last words")
				must(t, errors.Join(err, e.CloseWrite()))
				if got := receive(t, "end at the server", heard); got != "last words <nil>" {
					t.Errorf("the server got %q", got)
				}
				if first == "client" {
					if got, err := io.ReadAll(e); string(got) != "bye" || err != nil {
						t.Errorf("the client got %q, %v; want bye", got, err)
					}
				}
				if err := r.outcome(); err != nil {
					t.Errorf("Log got %v", err)
				}
			})
		})
	}
}

// A side that breaks off ends the other.
func TestBreak(t *testing.T) {
	for _, who := range []string{"client", "server"} {
		t.Run(who, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				ended := make(chan error, 1)
				goOn := make(chan struct{})
				r := newRig(t, m, proxy.Config{}, &server{greeting: "hi", serve: func(e end) {
					if who == "server" {
						<-goOn
						e.Reset()
						return
					}
					_, err := io.Copy(io.Discard, e)
					ended <- err
				}})
				e := r.dial()
				if _, err := io.ReadFull(e, make([]byte, 2)); err != nil {
					t.Fatal(err)
				}
				close(goOn)
				if who == "client" {
					e.Reset()
					receive(t, "end at the server", ended)
				} else {
					_, _ = io.Copy(io.Discard, e)
				}
				r.outcome()
			})
		})
	}
}

// A tunnel on which nothing moves ends; one that is used does not.
func TestIdleTimeout(t *testing.T) {
	const idle = time.Second
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		t.Parallel()
		r := newRig(t, m, proxy.Config{TunnelIdleTimeout: idle}, &server{serve: func(e end) { _, _ = io.Copy(e, e) }})
		for attempt := 1; ; attempt++ {
			e := r.dial()
			paused, err := keepUsing(e, 2*idle, idle/2)
			switch {
			case err == nil:
			case paused && attempt < 10: // nothing has moved: the machine was busy with other things
				r.outcome()
				continue
			default:
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, e) // ends by the timeout, or never
			if err := r.outcome(); err != nil {
				t.Errorf("Log got %v", err)
			}
			return
		}
	})
}

// keepUsing sends a byte through an echo now and then, for so long. paused says
// that it could not for longer than pause.
func keepUsing(e end, long, pause time.Duration) (paused bool, err error) {
	start := time.Now()
	for last := start; last.Sub(start) < long; {
		if _, err = io.WriteString(e, "x"); err == nil {
			_, err = io.ReadFull(e, make([]byte, 1))
		}
		now := time.Now()
		paused = paused || now.Sub(last) > pause
		if err != nil {
			return paused, fmt.Errorf("after %v: %w", now.Sub(start), err)
		}
		last = now
		time.Sleep(pause / 20)
	}
	return paused, nil
}

// A side that does not read slows the other down: what is on its way is no more
// than the buffers of the sockets, the windows of HTTP/2 and what the proxy and
// the test have in hand.
func TestBackPressure(t *testing.T) {
	const (
		size   = 8 << 20
		piece  = 32 << 10
		socket = 64 << 10 // of which the system makes twice as much
		inHand = 5 * (128 << 10)
	)
	for _, direction := range []string{"up", "down"} {
		t.Run(direction, func(t *testing.T) {
			modes.Few(t, func(t *testing.T, m modes.Mode) {
				goOn := make(chan struct{})
				var sent atomic.Int64
				got, done := make(chan int64, 1), make(chan error, 1)
				send := func(e end) {
					done <- sendPieces(e, size, make([]byte, piece), &sent)
				}
				take := func(e end) {
					<-goOn
					n, _ := io.Copy(io.Discard, e)
					got <- n
				}
				atServer, atClient := take, send
				if direction == "down" {
					atServer, atClient = send, take
				}
				ended := make(chan struct{})
				r := newRig(t, m, proxy.Config{}, &server{socketBuffer: socket, serve: func(e end) {
					atServer(e)
					if direction == "up" {
						_ = e.CloseWrite()
					}
					<-ended
				}})
				defer close(ended)
				go atClient(r.dial())
				limit := int64(2*2*2*socket + inHand) // two connections, two sockets each
				for _, h2 := range []bool{m.Down.H2, m.Up.H2} {
					if h2 {
						limit += 1 << 20 // MaxStreamWindow
					}
				}
				n := settled(t, &sent)
				t.Logf("%d KiB on their way, at most %d", n>>10, limit>>10)
				if n > limit {
					t.Errorf("%d bytes were taken while nobody read, want at most %d", n, limit)
				}
				close(goOn)
				must(t, receive(t, "end of sending", done))
				if n := receive(t, "end of receiving", got); n != size {
					t.Errorf("%d bytes arrived, want %d", n, size)
				}
			})
		})
	}
}

// sendPieces sends size bytes, counts them and ends its side.
func sendPieces(e end, size int, piece []byte, sent *atomic.Int64) error {
	for range size / len(piece) {
		if _, err := e.Write(piece); err != nil {
			return err
		}
		sent.Add(int64(len(piece)))
	}
	return e.CloseWrite()
}

// settled waits until a counter has not moved for a while and returns it.
func settled(t testing.TB, counter *atomic.Int64) int64 {
	t.Helper()
	last, since := int64(0), time.Now()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if n := counter.Load(); n != last {
			last, since = n, time.Now()
		} else if n > 0 && time.Since(since) > 300*time.Millisecond {
			return n
		}
	}
	t.Fatalf("the counter still moves at %d", last)
	return 0
}

func TestRefusal(t *testing.T) {
	for _, status := range []int{403, 404, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				r := newRig(t, m, proxy.Config{}, &server{refuse: status})
				_, err := r.open("")
				if e, ok := errors.AsType[*errRefused](err); !ok || e.status != status || e.body != "no" {
					t.Errorf("got %v, want %d with its body", err, status)
				}
				r.outcome()
			})
		})
	}
}

// A server of HTTP/1.1 that has not understood the key cannot be taken for
// one that speaks WebSocket. Where the client has made the key, it checks.
func TestWrongAccept(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if m.Up.H2 {
			t.Skip("HTTP/2 has no Sec-WebSocket-Accept")
		}
		r := newRig(t, m, proxy.Config{}, &server{wrongAccept: true, serve: echo})
		_, err := r.open("")
		if err == nil {
			t.Fatal("the handshake succeeded")
		}
		if e, ok := errors.AsType[*errRefused](err); m.Down.H2 && (!ok || e.status != 502) {
			t.Errorf("got %v, want 502", err)
		}
	})
}

// What either side sends with its head is not lost.
func TestEarlyData(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r := newRig(t, m, proxy.Config{}, &server{greeting: "welcome ", serve: func(e end) { _, _ = io.Copy(e, e); _ = e.CloseWrite() }})
		e, err := r.open("early ")
		must(t, err)
		_, err = io.WriteString(e, "late")
		must(t, errors.Join(err, e.CloseWrite()))
		if got, err := io.ReadAll(e); string(got) != "welcome early late" || err != nil {
			t.Errorf("got %q, %v; want welcome early late", got, err)
		}
	})
}
