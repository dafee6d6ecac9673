// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// The request to switch protocols has two forms: a GET with Upgrade in HTTP/1
// (RFC 9110 section 7.8), answered with 101, and an extended CONNECT in HTTP/2
// (RFC 8441), answered with 200. The functions here turn one into the other,
// so that WebSockets work between any two versions.

// makeUpgrade notes in x.upgrading what the client wants to switch to, and
// gives head the form that the peer's protocol wants.
func (x *exchange) makeUpgrade(head *header.Request) {
	x.upgrading, x.wsKey = x.down.Upgrade(), ""
	if x.upgrading == "" {
		return
	}
	if hasToken(x.upgrading, "h2c") {
		// Never passed on: a tunnel of HTTP would escape every rule here.
		x.upgrading = ""
		return
	}
	fromH2, toH2 := x.down.Request().Proto == header.HTTP2, x.up.Proto() == header.HTTP2
	switch {
	case fromH2 && toH2:
	case toH2 && head.Length != 0:
		x.upgrading = "" // CONNECT has no body: what follows it is the tunnel
	case fromH2:
		head.Method = "GET"
		head.Length = 0
		x.wsKey = newWebSocketKey()
		head.Fields.Set("Sec-WebSocket-Key", x.wsKey)
	case toH2:
		for protocol := range header.Elements(x.upgrading) {
			x.upgrading = protocol // CONNECT can name only one
			break
		}
		head.Method = "CONNECT"
		head.Length = header.UnknownLength
		x.wsKey = head.Fields.Get("Sec-WebSocket-Key")
		head.Fields.Del("Sec-WebSocket-Key")
	}
}

// switched reports whether the response turns the exchange into a tunnel.
func (x *exchange) switched() bool {
	success := x.res.Status >= 200 && x.res.Status < 300
	switch {
	case x.res.Status == 101:
		return true
	case x.upgrading != "":
		return success && x.up.Proto() == header.HTTP2
	}
	return success && x.down.Request().Method == "CONNECT"
}

// makeSwitch gives the response that switches protocols the form that the
// client's protocol wants.
func (x *exchange) makeSwitch() error {
	if x.upgrading == "" {
		return nil
	}
	fields := &x.res.Fields
	fromH2, toH2 := x.down.Request().Proto == header.HTTP2, x.up.Proto() == header.HTTP2
	switch {
	case fromH2 && !toH2:
		if header.EqualName(x.upgrading, "websocket") && fields.Get("Sec-WebSocket-Accept") != webSocketAccept(x.wsKey) {
			return proxyerr.New(proxyerr.Upstream, proxyerr.BadMessage, "switch protocols", errors.New("wrong Sec-WebSocket-Accept"))
		}
		x.res.Status, x.res.Reason = 200, ""
		x.res.Length = header.UnknownLength
		fields.Del("Sec-WebSocket-Accept")
		fields.Del("Upgrade")
		fields.Del("Connection")
	case !fromH2 && toH2:
		x.res.Status, x.res.Reason = 101, ""
		fields.Set("Upgrade", x.upgrading)
		if x.wsKey != "" {
			fields.Set("Sec-WebSocket-Accept", webSocketAccept(x.wsKey))
		}
	}
	return nil
}

// newWebSocketKey returns a nonce (RFC 6455 section 4.1).
func newWebSocketKey() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// webSocketAccept returns the proof that a server has understood the key (RFC
// 6455 section 4.2.2).
func webSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
