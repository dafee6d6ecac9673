// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// webSocketTarget is the target at which an origin becomes a WebSocket that
// sends each message back.
const webSocketTarget = "/ws"

// webSocketKey is the key of all handshakes; nobody has to guess it.
const webSocketKey = "dGhlIHNhbXBsZSBub25jZQ=="

// webSocketAccept returns the answer to a key (RFC 6455, section 4.2.2).
func webSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// webSocketRequest returns the head that asks for an upgrade.
func webSocketRequest() []byte {
	head := string(buildRequest(webSocketTarget, "Upgrade", 0))
	return []byte(strings.TrimSuffix(head, "\r\n") +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + webSocketKey + "\r\n\r\n")
}

// webSocketResponse returns the head that grants it.
func webSocketResponse() []byte {
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + webSocketAccept(webSocketKey) + "\r\n\r\n")
}

// appendMessage appends a binary message of one frame (RFC 6455, section 5.2)
// with size bytes, at most 65,535. Those of clients are masked.
func appendMessage(b []byte, size int, masked bool) []byte {
	var mask byte
	if masked {
		mask = 0x80
	}
	b = append(b, 0x82)
	if size < 126 {
		b = append(b, mask|byte(size))
	} else {
		b = append(b, mask|126)
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	}
	if !masked {
		return append(b, filler[:size]...)
	}
	key := [4]byte{1, 2, 3, 4}
	b = append(b, key[:]...)
	for i, c := range filler[:size] {
		b = append(b, c^key[i%4])
	}
	return b
}

// consumeMessage reads the masked message at the start of b. It returns the
// payload, in the place of the masked one, and the bytes taken, 0 if it is
// incomplete.
func consumeMessage(b []byte) (payload []byte, n int, err error) {
	if len(b) < 2 {
		return nil, 0, nil
	}
	if b[0] != 0x82 || b[1]&0x80 == 0 || b[1]&0x7f == 127 {
		return nil, 0, fmt.Errorf("frame starts with %x, want a short masked binary message", b[:2])
	}
	size, at := int(b[1]&0x7f), 2
	if size == 126 {
		if len(b) < 4 {
			return nil, 0, nil
		}
		size, at = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if len(b) < at+4+size {
		return nil, 0, nil
	}
	key := [4]byte(b[at:])
	payload = b[at+4 : at+4+size]
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return payload, at + 4 + size, nil
}

// echoMessages answers all messages at the start of b and returns the bytes
// taken.
func (c *originConn) echoMessages(b []byte) (used int, err error) {
	var out []byte
	for {
		payload, n, err := consumeMessage(b[used:])
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		used += n
		c.requests.Add(1)
		out = appendMessage(out, len(payload), false)
		copy(out[len(out)-len(payload):], payload)
	}
	if out != nil {
		_, err = c.conn.Write(out)
	}
	return used, err
}

// openWebSocket does the handshake on a new connection.
func openWebSocket(conn *client) error {
	if _, err := conn.Write(webSocketRequest()); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != webSocketAccept(webSocketKey) {
		return fmt.Errorf("response is %q, accept %q; want a WebSocket", res.Status, res.Header.Get("Sec-WebSocket-Accept"))
	}
	if in.Buffered() > 0 {
		return errors.New("the origin speaks first")
	}
	return nil
}

// A messageReader follows messages that are all the same.
type messageReader struct {
	want []byte
	buf  []byte
	have int
}

func newMessageReader(size int64) *messageReader {
	want := appendMessage(nil, int(size), false)
	return &messageReader{want: want, buf: make([]byte, len(want)+1)}
}

// space returns where the next bytes go.
func (r *messageReader) space() []byte { return r.buf[r.have:] }

// advance takes note of n bytes and reports whether a message is complete.
func (r *messageReader) advance(n int) (done bool, err error) {
	r.have += n
	if r.have < len(r.want) {
		return false, nil
	}
	if !bytes.Equal(r.buf[:r.have], r.want) {
		return false, errors.New("the message is not the one that was sent")
	}
	r.have = 0
	return true, nil
}
