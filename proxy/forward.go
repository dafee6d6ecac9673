// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"

	"github.com/belay-proxy/belay/header"
)

// trusted reports whether the client is a proxy that may speak for its own
// client.
func (x *exchange) trusted() bool {
	if x.conn.unix {
		return x.proxy.cfg.Forwarding.TrustUnix
	}
	for _, n := range x.proxy.cfg.Forwarding.Trusted {
		if n.Contains(x.conn.client.Addr()) {
			return true
		}
	}
	return false
}

// addForwarding tells the peer about the client. What the client said in these
// fields is gone already, unless it is trusted.
func (x *exchange) addForwarding(head *header.Request, trusted bool) {
	cfg := &x.proxy.cfg.Forwarding
	ip := x.conn.clientIP
	host := head.Host()
	if !cfg.NoXForwarded {
		if ip != "" {
			appendList(&head.Fields, "X-Forwarded-For", ip, trusted)
		}
		setUnlessTrusted(&head.Fields, "X-Forwarded-Proto", x.conn.scheme(), trusted)
		if host != "" {
			setUnlessTrusted(&head.Fields, "X-Forwarded-Host", host, trusted)
		}
	}
	if cfg.XRealIP && ip != "" {
		setUnlessTrusted(&head.Fields, "X-Real-IP", ip, trusted)
	}
	if cfg.Forwarded {
		appendList(&head.Fields, "Forwarded", forwardedElement(ip, host, x.conn.scheme()), trusted)
	}
	if cfg.Via != "" {
		appendList(&head.Fields, "Via", viaElement(x.down.Request().Proto, cfg.Via), true)
	}
}

// scheme returns the scheme of the client's connection.
func (c *conn) scheme() string {
	if c.tls != nil {
		return "https"
	}
	return "http"
}

// setUnlessTrusted sets a field, unless a trusted client has set it.
func setUnlessTrusted(fields *header.Fields, name, value string, trusted bool) {
	if !trusted || !fields.Has(name) {
		fields.AddValid(name, value)
	}
}

// appendList adds an element to a list field. The lines of a trusted client
// are kept as they are; RFC 9110 section 5.3 makes further lines part of the
// same list, but many origins read only one, so they are joined.
func appendList(fields *header.Fields, name, element string, keep bool) {
	if !keep || !fields.Has(name) {
		fields.AddValid(name, element)
		return
	}
	var list []string
	for v := range fields.Values(name) {
		list = append(list, v)
	}
	fields.Set(name, strings.Join(append(list, element), ", "))
}

// forwardedElement returns one element of a Forwarded field (RFC 7239 section
// 4).
func forwardedElement(ip, host, scheme string) string {
	b := []byte("for=")
	switch {
	case ip == "":
		b = append(b, "unknown"...)
	case strings.Contains(ip, ":"):
		b = append(b, `"[`+ip+`]"`...)
	default:
		b = append(b, ip...)
	}
	if host != "" {
		// A host has no quote or backslash, but may have a colon.
		b = append(b, `;host="`+host+`"`...)
	}
	return string(append(b, ";proto="+scheme...))
}

// viaElement returns one element of a Via field (RFC 9110 section 7.6.3).
func viaElement(p header.Proto, name string) string {
	return strings.TrimPrefix(p.String(), "HTTP/") + " " + name
}
