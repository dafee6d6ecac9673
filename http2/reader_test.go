// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A scriptConn is a connection on which pieces arrive, one for each read, and
// then the end. What is written to it is lost.
type scriptConn struct {
	net.Conn
	pieces [][]byte
}

func (c *scriptConn) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// pieces cuts data into pieces of the sizes that cuts says, in turn; 0 and no
// cuts at all mean all that is left.
func pieces(data, cuts []byte) [][]byte {
	var list [][]byte
	for i := 0; len(data) > 0; i++ {
		n := len(data)
		if len(cuts) > 0 {
			if cut := int(cuts[i%len(cuts)]); cut > 0 {
				n = min(cut, n)
			}
		}
		list = append(list, data[:n])
		data = data[n:]
	}
	return list
}

// newFrameReader returns a reader of the pieces.
func scriptReader(list [][]byte) *frameReader {
	return newFrameReader(&scriptConn{pieces: list}, time.Now(), func(time.Time) error { return nil })
}

// readFrames reads all frames and returns them as they were written, and the
// error that ended it.
func readFrames(f *frameReader) (frames [][]byte, err error) {
	defer f.release()
	for {
		h, payload, err := f.next()
		if err != nil {
			return frames, err
		}
		frames = append(frames, append(appendFrameHeader(nil, h), payload...))
	}
}

func TestFrameReader(t *testing.T) {
	t.Parallel()
	large := rawFrame(frameData, 0, 1, make([]byte, minMaxFrame))
	in := join(appendSettingsAck(nil), large, rawFrame(0x42, 0xff, 9, []byte("unknown")), large, large, large, large, appendSettings(nil))
	for _, size := range []byte{0, 1, 7, 9, 200} {
		f := scriptReader(pieces(in, []byte{size}))
		frames, err := readFrames(f)
		if err != io.EOF || len(frames) != 8 || !bytes.Equal(join(frames...), in) {
			t.Errorf("in pieces of %d: %d frames, %v, want 8 and EOF", size, len(frames), err)
		}
	}
}

func TestFrameReaderTooLarge(t *testing.T) {
	t.Parallel()
	_, err := readFrames(scriptReader([][]byte{rawFrame(frameData, 0, 1, make([]byte, minMaxFrame+1))}))
	if ce, ok := errors.AsType[*connError](err); !ok || ce.code != FrameSizeError {
		t.Errorf("got %v, want FRAME_SIZE_ERROR", err)
	}
}

func TestFrameReaderEarly(t *testing.T) {
	t.Parallel()
	in := join([]byte(preface), appendSettings(nil), rawFrame(frameData, 0, 1, make([]byte, 12000)))
	long := join(in, bytes.Repeat(appendSettingsAck(nil), 10_000))
	for _, early := range []int{0, 1, 24, 30, len(in) - 1, len(in), len(long)} {
		f := scriptReader(pieces(long[early:], nil))
		f.early(long[:early])
		if err := f.preface(); err != nil {
			t.Fatalf("%d bytes early: %v", early, err)
		}
		if frames, err := readFrames(f); err != io.EOF || len(frames) != 10_002 {
			t.Errorf("%d bytes early: %d frames, %v", early, len(frames), err)
		}
	}
}

func TestPreface(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want string
	}{
		{preface, "<nil>"},
		{preface[:23], "EOF"},
		{"", "EOF"},
		{"GET / HTTP/1.1\r\n\r\n", "http2: PROTOCOL_ERROR: invalid preface"},
		{"P", "EOF"},
		{"PRI * HTTP/2.0\r\n\r\nXX", "http2: PROTOCOL_ERROR: invalid preface"},
	}
	for _, tt := range tests {
		for _, size := range []byte{0, 1} {
			f := scriptReader(pieces([]byte(tt.in), []byte{size}))
			if got := fmt.Sprint(f.preface()); got != tt.want {
				t.Errorf("preface of %q in pieces of %d = %s, want %s", tt.in, size, got, tt.want)
			}
			f.release()
		}
	}
}

// TestIdleHoldsNoBuffer: a reader that waits with nothing in hand has given its
// buffer back.
func TestIdleHoldsNoBuffer(t *testing.T) {
	t.Parallel()
	f := scriptReader([][]byte{appendSettings(nil)})
	if _, _, err := f.next(); err != nil || f.buf == nil {
		t.Fatalf("next: %v, buffer %v", err, f.buf)
	}
	if _, _, err := f.next(); err != io.EOF || f.buf != nil {
		t.Errorf("next: %v, want EOF; buffer %v, want none", err, f.buf)
	}
}

// FuzzFrameReader: however the bytes arrive, the same frames come out, with the
// same end, and together they are the input.
func FuzzFrameReader(f *testing.F) {
	f.Add(join(appendSettings(nil), dataFrame(1, true, "hello"), appendPing(nil, 0, []byte("12345678"))), []byte{1})
	f.Add(rawFrame(frameData, 0, 1, make([]byte, minMaxFrame+1))[:20], []byte{0})
	f.Add([]byte("\x00\x40\x00\x00\x00\x00\x00\x00\x01short"), []byte{9})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		if len(in) > 100_000 {
			return
		}
		whole, err := readFrames(scriptReader(pieces(in, nil)))
		if got := join(whole...); len(got) > len(in) || !sameFrames(got, in[:len(got)]) {
			t.Errorf("frames are not what was sent")
		}
		cut, cutErr := readFrames(scriptReader(pieces(in, cuts)))
		if fmt.Sprint(err) != fmt.Sprint(cutErr) || len(cut) != len(whole) || !bytes.Equal(join(cut...), join(whole...)) {
			t.Errorf("in pieces: %d frames, %v; in one: %d frames, %v", len(cut), cutErr, len(whole), err)
		}
	})
}

// sameFrames reports whether a and b are equal but for the reserved bits of
// the stream numbers in b.
func sameFrames(a, b []byte) bool {
	for len(a) > 0 && len(b) == len(a) {
		h, ok := consumeFrameHeader(a)
		if !ok || len(a) < frameHeaderLen+h.length {
			return false
		}
		n := frameHeaderLen + h.length
		c := bytes.Clone(b[:n])
		c[5] &= 0x7f
		if !bytes.Equal(a[:n], c) {
			return false
		}
		a, b = a[n:], b[n:]
	}
	return len(a) == len(b)
}
