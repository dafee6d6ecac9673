// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
)

// countingConn counts the writes.
type countingConn struct {
	scriptConn
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return c.scriptConn.Write(p)
}

// Small pieces leave together, in one write.
func TestOutputGathers(t *testing.T) {
	t.Parallel()
	for _, kind := range []bodyKind{bodyFixed, bodyChunked, bodyUntilClose} {
		var nc countingConn
		o := output{conn: netio.New(&nc)}
		o.pending().B = append(o.pending().B, "head"...)
		o.start(kind, 20)
		for i := range 10 {
			if err := o.body([]byte("xy"), i == 9); err != nil {
				t.Fatal(err)
			}
		}
		if nc.writes != 1 || !o.done || o.sent != int64(nc.out.Len()) {
			t.Errorf("kind %d: %d writes, done %v, sent %d of %d, want one write", kind, nc.writes, o.done, o.sent, nc.out.Len())
		}
		o.release()
	}
}

// Pieces of every size around that of the buffer arrive as they were.
func TestOutputSizes(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 1, bytebuf.Medium - 30, bytebuf.Medium - 10, bytebuf.Medium - 1, bytebuf.Medium} {
		for size := bytebuf.Medium - before - 30; size < bytebuf.Medium-before+5; size++ {
			if size < 0 {
				continue
			}
			body := strings.Repeat("x", before) + strings.Repeat("y", size)
			for _, kind := range []bodyKind{bodyFixed, bodyChunked, bodyUntilClose, bodyNone} {
				var nc scriptConn
				o := output{conn: netio.New(&nc)}
				o.start(kind, int64(len(body)))
				err := errors.Join(o.body([]byte(body[:before]), false), o.body([]byte(body[before:]), true))
				if err != nil || !o.done {
					t.Fatalf("kind %d, %d and %d bytes: %v", kind, before, size, err)
				}
				o.release()
				want := decoded{body: body}
				if kind == bodyNone {
					want.body = ""
				}
				if got := decode(kind, int64(len(body)), Limits{}, pieces(nc.out.Bytes(), 0)); got != want {
					t.Fatalf("kind %d, %d and %d bytes: got %.50q … (%d), want %.50q … (%d)", kind, before, size, got, len(got.body), want, len(want.body))
				}
			}
		}
	}
}

// After a write that failed the message counts as cut, though its last piece
// was accepted.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	o := output{conn: netio.New(&failingConn{limit: 3, err: syscall.EPIPE})}
	o.start(bodyFixed, 5)
	if err := o.body([]byte("hello"), true); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("body = %v, want %v", err, syscall.EPIPE)
	}
	if !o.failed || o.sent != 3 {
		t.Errorf("failed %v, sent %d, want true, 3", o.failed, o.sent)
	}
	o.release()
	// Over-long and short bodies are the program's mistake and send nothing.
	var nc scriptConn
	o = output{conn: netio.New(&nc)}
	o.start(bodyFixed, 5)
	if err := o.body([]byte("longer"), true); err != errBodyTooLong || nc.out.Len() > 0 || o.done {
		t.Errorf("body = %v, sent %q, done %v, want %v", err, nc.out.String(), o.done, errBodyTooLong)
	}
	if err := o.trailers(new(header.Fields)); err != errBodyTooShort || o.done {
		t.Errorf("trailers = %v, done %v, want %v", err, o.done, errBodyTooShort)
	}
	o.release()
	if _, err := io.ReadAll(&nc); err != nil {
		t.Error(err)
	}
}
