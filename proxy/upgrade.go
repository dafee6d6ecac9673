// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// The request to switch protocols has two forms: a GET with Upgrade in HTTP/1
// (RFC 9110 section 7.8), answered with 101, and an extended CONNECT in HTTP/2
// (RFC 8441), answered with 200. The functions here turn one into the other,
// so that WebSockets work between any two versions. A CONNECT to anywhere has
// the same form in both but for its framing.

// makeUpgrade notes in x.upgrading what the client wants to switch to, and
// gives head the form that the peer's protocol wants.
func (x *exchange) makeUpgrade(head *header.Request) {
	x.upgrading, x.wsKey = x.down.Upgrade(), ""
	fromH2, toH2 := x.down.Request().Proto == header.HTTP2, x.up.Proto() == header.HTTP2
	if head.Method == "CONNECT" && !(fromH2 && x.upgrading != "") {
		x.upgrading = "" // CONNECT is a switch already
		head.Length = connectLength(toH2)
		return
	}
	if x.upgrading == "" {
		return
	}
	if hasToken(x.upgrading, "h2c") {
		// Never passed on: a tunnel of HTTP would escape every rule here.
		x.upgrading = ""
		return
	}
	switch {
	case fromH2 && toH2:
		head.Length = connectLength(toH2)
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
		head.Length = connectLength(toH2)
		x.wsKey = head.Fields.Get("Sec-WebSocket-Key")
		head.Fields.Del("Sec-WebSocket-Key")
	}
}

// connectLength returns the length of a CONNECT request that is to be sent. It
// has no content (RFC 9110 section 9.3.6): over HTTP/1 what follows its head is
// the tunnel, and over HTTP/2 the stream stays open for that.
func connectLength(toH2 bool) int64 {
	if toH2 {
		return header.UnknownLength
	}
	return 0
}

// opensTunnel reports whether what follows the head on either side is a tunnel,
// if the peer agrees, and not a body.
func (x *exchange) opensTunnel() bool {
	return x.head.Method == "CONNECT" || x.upgrading != "" && x.down.Request().Proto == header.HTTP2
}

// switched reports whether the response turns the exchange into a tunnel.
func (x *exchange) switched() (bool, error) {
	success := x.res.Status >= 200 && x.res.Status < 300
	switch {
	case x.res.Status == 101:
		return true, nil
	case x.upgrading == "":
		return success && x.down.Request().Method == "CONNECT", nil
	case success && x.up.Proto() != header.HTTP2 && x.down.Request().Proto == header.HTTP2:
		// To the client that would say that the tunnel is open.
		return false, proxyerr.New(proxyerr.Upstream, proxyerr.BadMessage, "switch protocols",
			fmt.Errorf("answered with status %d", x.res.Status))
	}
	return success && x.up.Proto() == header.HTTP2, nil
}

// makeSwitch gives the response that switches protocols the form that the
// client's protocol wants.
func (x *exchange) makeSwitch() error {
	if x.upgrading == "" {
		x.makeConnected()
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

// makeConnected removes from the answer to a CONNECT what is meant for one
// connection, and the framing, which means nothing there.
func (x *exchange) makeConnected() {
	if x.res.Status != 101 {
		x.cleanHead()
		x.res.Fields.Del("Content-Length")
		x.res.Length = header.UnknownLength
	}
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
