// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// Whatever is received and consumed, in whatever order, nothing is lost.
func TestInput(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 300_000)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		in := newInput(pieces(data, 1+rnd.IntN(20_000)))
		sizes := []int{bytebuf.Small, bytebuf.Medium, bytebuf.Large}
		var got []byte
		for {
			err := in.recv(sizes[rnd.IntN(3)])
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if u := in.unread(); len(u) > 0 && rnd.IntN(2) == 0 {
				n := 1 + rnd.IntN(len(u))
				got = append(got, u[:n]...)
				in.skip(n)
			}
			if in.release(); in.empty() != (in.buf == nil) {
				t.Fatalf("empty %v, buffer %v", in.empty(), in.buf)
			}
		}
		got = append(got, in.unread()...)
		in.drop()
		if !bytes.Equal(got, data) {
			t.Fatalf("seed %d: got %d bytes that differ from the %d sent", seed, len(got), len(data))
		}
	}
}

func TestInputFull(t *testing.T) {
	t.Parallel()
	in := newInput(pieces(make([]byte, 3*bytebuf.Small/2), 0))
	defer in.drop()
	for _, want := range []bool{true, false} {
		if err := in.recv(bytebuf.Small); err != nil || in.full != want {
			t.Errorf("recv = %v, full %v, want %v", err, in.full, want)
		}
		in.skip(len(in.unread()))
	}
}

// The time of a wait counts from its start, whatever deadline was set before.
func TestInputRecvWait(t *testing.T) {
	t.Parallel()
	tests := []struct {
		armed, limit time.Duration
		want         time.Duration // when errTimeout comes; zero means never
	}{
		{0, time.Second, time.Second},
		{time.Millisecond, time.Second, time.Second},
		{600 * time.Millisecond, time.Second, time.Second},
		{time.Hour, time.Second, time.Second},
		{-time.Hour, time.Second, time.Second},
		{0, 10 * time.Millisecond, 10 * time.Millisecond},
		{time.Millisecond, -1, 0},
		{-time.Hour, 0, 0},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			nc, far := net.Pipe()
			in := &input{conn: netio.New(nc)}
			if tt.armed != 0 {
				in.conn.ArmRead(netio.Now().Add(tt.armed))
			}
			timer := time.AfterFunc(24*time.Hour, func() { far.Close() })
			start := time.Now()
			err := in.recvWait(bytebuf.Small, tt.limit)
			took := time.Since(start)
			if tt.want == 0 && (err != io.EOF || took != 24*time.Hour) {
				t.Errorf("%+v: %v after %v, want EOF after 24h", tt, err, took)
			}
			if tt.want > 0 && (!errors.Is(err, errTimeout) || took < tt.want-tt.want/50 || took > tt.want+tt.want/50) {
				t.Errorf("%+v: %v after %v, want a timeout after %v", tt, err, took, tt.want)
			}
			timer.Stop()
			in.drop()
			nc.Close()
			far.Close()
		})
	}
}
