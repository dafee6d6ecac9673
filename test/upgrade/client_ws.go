// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/belay-proxy/belay/test/internal/wsframe"
)

// WebSocket opens WebSockets (RFC 6455) and has messages and pings answered for
// life, then closes them in due form, until ctx ends. Each of these counts as a
// request.
func (c *Client) WebSocket(ctx context.Context, life time.Duration) {
	c.webSocket(ctx, life, c.openWebSocket)
}

// webSocket is WebSocket with another way to open one.
func (c *Client) webSocket(ctx context.Context, life time.Duration, open func() error) {
	defer c.close()
	for ctx.Err() == nil {
		c.close()
		c.attempt(true, open)
		for end := time.Now().Add(life); ctx.Err() == nil && time.Now().Before(end) && c.conn != nil; {
			c.attempt(true, c.message)
			sleep(ctx, time.Duration(c.rand.IntN(20))*time.Millisecond)
		}
		if c.conn != nil {
			c.attempt(true, c.closeWebSocket)
		} else {
			sleep(ctx, 10*time.Millisecond)
		}
	}
}

// openWebSocket does the handshake (RFC 6455 section 4.1).
func (c *Client) openWebSocket() error {
	nonce := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, c.rand.Uint64()), c.rand.Uint64())
	key := base64.StdEncoding.EncodeToString(nonce)
	res, err := c.exchange("GET", "/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: "+key+"\r\n", nil)
	switch {
	case err != nil:
		return err
	case res.StatusCode != 101:
		return fmt.Errorf("status %d", res.StatusCode)
	case res.Header.Get("Sec-WebSocket-Accept") != accept(key):
		return fmt.Errorf("Sec-WebSocket-Accept is %q for key %q", res.Header.Get("Sec-WebSocket-Accept"), key)
	}
	return nil
}

// message sends a message or a ping and checks what comes back.
func (c *Client) message() error {
	f := wsframe.Frame{Op: wsframe.Binary, Final: true, Payload: make([]byte, c.rand.IntN(4000))}
	if c.rand.IntN(10) == 0 {
		f.Op, f.Payload = wsframe.Ping, f.Payload[:len(f.Payload)%126]
	}
	fill(f.Payload, c.rand.Uint64(), 0)
	return c.roundTrip(f)
}

// closeWebSocket closes the WebSocket (RFC 6455 section 5.5.1).
func (c *Client) closeWebSocket() error {
	defer c.close()
	const normal = 1000
	return c.roundTrip(wsframe.Frame{Op: wsframe.Close, Final: true, Payload: binary.BigEndian.AppendUint16(nil, normal)})
}

// roundTrip sends a frame and checks that the same content comes back; for a
// ping, as a pong.
func (c *Client) roundTrip(f wsframe.Frame) error {
	f.Masked = true
	binary.BigEndian.PutUint32(f.Mask[:], c.rand.Uint32())
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(f.Append(nil)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	got, err := wsframe.Read(c.in)
	if err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	want := f.Op
	if want == wsframe.Ping {
		want = wsframe.Pong
	}
	if got.Op != want || !got.Final || got.Masked || !bytes.Equal(got.Payload, f.Payload) {
		return fmt.Errorf("frame of kind %d with %d bytes came back as kind %d with %d bytes, or with others", f.Op, len(f.Payload), got.Op, len(got.Payload))
	}
	return nil
}
