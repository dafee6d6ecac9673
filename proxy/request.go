// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"strings"

	"github.com/belay-proxy/belay/header"
)

// makeHead makes x.head, the request head for the peer, from that of the
// client: hop-by-hop fields removed, forwarding fields set, then edited by
// the hook.
func (x *exchange) makeHead() error {
	req := x.down.Request()
	head := &x.head
	head.Reset()
	head.Method = req.Method
	head.Target = req.Target
	head.Length = req.Length
	if x.bodyReady {
		head.Length = int64(len(x.body))
	}
	if x.phases.requestBodyFilter != nil && head.Length != 0 {
		head.Length = header.UnknownLength
	}
	c := fieldCopier{x: x, trusted: x.trusted()}
	if x.down.Nominates() {
		c.nominated = nominated(&req.Fields)
	}
	c.copy(&head.Fields, &req.Fields)
	x.trailersOK = c.trailersOK
	x.makeUpgrade(head)
	countForward(head)
	x.addForwarding(head, c.trusted)
	if f := x.phases.upstreamRequestFilter; f != nil {
		if err := f(&x.session, head); err != nil {
			return hookError("UpstreamRequestFilter", err)
		}
		if header.HasToken(&head.Fields, "TE", "trailers") {
			x.trailersOK = true
		}
		head.Fields.Del("TE") // made anew by the connection
		if severalHosts(&head.Fields) {
			return hookError("UpstreamRequestFilter", errSeveralHosts)
		}
	}
	if !head.Fields.Has("Host") {
		// Only a client of HTTP/1.0 may leave it out; we speak HTTP/1.1.
		head.SetHost(x.peer.Authority())
	}
	return nil
}

// errSeveralHosts is the mistake of a hook that has called Add for Set: what
// the peer would make of the request is anybody's guess.
var errSeveralHosts = errors.New("several Host fields")

func severalHosts(fields *header.Fields) bool {
	hosts := 0
	for i := range fields.Len() {
		if name := fields.At(i).Name; len(name) == len("Host") && header.EqualName(name, "Host") {
			hosts++
		}
	}
	return hosts > 1
}

// A fieldCopier copies the fields of a request that go on to the peer.
type fieldCopier struct {
	x          *exchange
	trusted    bool     // what the client says about its own client is kept
	nominated  []string // names that Connection lists
	trailersOK bool     // TE: trailers was there
}

func (c *fieldCopier) copy(dst, src *header.Fields) {
	dst.NeverIndexAsIn(src)
	for i := range src.Len() {
		f := src.At(i)
		if c.passes(f.Name, f.Value) {
			dst.AddValid(f.Name, f.Value)
		}
	}
}

// passes decides about one field. The switch on the length keeps most fields
// away from any comparison.
func (c *fieldCopier) passes(name, value string) bool {
	is := func(other string) bool { return header.EqualName(name, other) }
	switch len(name) {
	case len("TE"):
		if is("TE") {
			c.trailersOK = c.trailersOK || hasToken(value, "trailers")
			return false
		}
	case len("Host"):
		if is("Host") {
			return true // the one field that Connection cannot remove
		}
	case len("Expect"):
		if is("Expect") {
			// From HTTP/1.0 it means nothing (RFC 9110 section 10.1.1).
			return !c.x.bodyReady && !c.x.down.BodyComplete() && c.x.replay.empty() && c.x.down.Request().Proto != header.HTTP10
		}
	case len("Trailer"): // and Upgrade
		if is("Upgrade") || is("Trailer") && c.x.head.Length >= 0 {
			return false
		}
	case len("Forwarded"): // and X-Real-IP
		if !c.trusted && (is("Forwarded") || is("X-Real-IP")) {
			return false
		}
	case len("Connection"), // and Keep-Alive
		len("Content-Length"), // and HTTP2-Settings
		len("Proxy-Connection"),
		len("Transfer-Encoding"),
		len("Proxy-Authenticate"),
		len("Proxy-Authorization"):
		if isHopByHop(name) {
			return false
		}
	}
	if c.nominated != nil && contains(c.nominated, name) {
		return false
	}
	return (c.trusted || !isXForwarded(name)) && !isTwin(name)
}

// isXForwarded reports whether name starts with X-Forwarded-.
func isXForwarded(name string) bool {
	const prefix = "X-Forwarded-"
	return len(name) > len(prefix) && name[0]|0x20 == 'x' && header.EqualName(name[:len(prefix)], prefix)
}

// cleanTrailers removes from the trailers of a request what the client may
// not say in its head either, and what the head for the peer says already, be
// it the client's or set by a hook: an origin may merge the two (RFC 9110
// section 6.5.1).
func (x *exchange) cleanTrailers(t *header.Fields) {
	trusted := x.trusted()
	var names []string
	if x.down.Nominates() {
		names = nominated(&x.down.Request().Fields)
	}
	t.DelFunc(func(f header.Field) bool {
		return isHopByHop(f.Name) || isTwin(f.Name) || header.EqualName(f.Name, "Via") ||
			contains(names, f.Name) || hasTwin(&x.head.Fields, f.Name) || !trusted &&
			(isXForwarded(f.Name) || header.EqualName(f.Name, "Forwarded") || header.EqualName(f.Name, "X-Real-IP"))
	})
}

// hasTwin reports whether fields has name or a name that some origins take for
// the same.
func hasTwin(fields *header.Fields, name string) bool {
	folded := folding.Replace(name)
	for i := range fields.Len() {
		if header.EqualName(folding.Replace(fields.At(i).Name), folded) {
			return true
		}
	}
	return false
}

// isHopByHop reports whether a field is meant for one connection (RFC 9110
// section 7.6.1) or frames one message.
func isHopByHop(name string) bool {
	switch len(name) {
	case len("TE"):
		return header.EqualName(name, "TE")
	case len("Upgrade"):
		return header.EqualName(name, "Upgrade")
	case len("Connection"):
		return header.EqualName(name, "Connection") || header.EqualName(name, "Keep-Alive")
	case len("Content-Length"):
		return header.EqualName(name, "Content-Length") || header.EqualName(name, "HTTP2-Settings")
	case len("Proxy-Connection"):
		return header.EqualName(name, "Proxy-Connection")
	case len("Transfer-Encoding"):
		return header.EqualName(name, "Transfer-Encoding")
	case len("Proxy-Authenticate"):
		return header.EqualName(name, "Proxy-Authenticate")
	case len("Proxy-Authorization"):
		return header.EqualName(name, "Proxy-Authorization")
	}
	return false
}

// nominated returns the names that the Connection fields list, other than the
// options that every proxy knows (RFC 9110 section 7.6.1).
func nominated(fields *header.Fields) (names []string) {
	for option := range header.List(fields, "Connection") {
		known := false
		for _, k := range [...]string{"close", "keep-alive", "upgrade", "te"} {
			known = known || header.EqualName(option, k)
		}
		if !known {
			names = append(names, option)
		}
	}
	return names
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if header.EqualName(n, name) {
			return true
		}
	}
	return false
}

func hasToken(list, token string) bool {
	for element := range header.Elements(list) {
		if item, _ := header.CutParams(element); header.EqualName(item, token) {
			return true
		}
	}
	return false
}

// folding maps what some origins take for the same in names: "-" and "_" (as
// CGI does), or ".".
var folding = strings.NewReplacer("_", "-", ".", "-")

// guardedNames are the fields that the proxy sets or trusts. Some origins would
// take a twin for the real one.
var guardedNames = [...]string{
	"Connection", "Content-Length", "Expect", "Forwarded", "Host", "Keep-Alive", "Proxy-Connection", "TE", "Trailer",
	"Transfer-Encoding", "Upgrade", "Via", "X-Real-IP",
}

// isTwin reports whether name differs from a guarded one only by "_" or "."
// for "-".
func isTwin(name string) bool {
	if strings.IndexByte(name, '_') < 0 && strings.IndexByte(name, '.') < 0 {
		return false
	}
	folded := folding.Replace(name)
	for _, g := range guardedNames {
		if header.EqualName(folded, g) {
			return true
		}
	}
	return isXForwarded(folded)
}
