// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"net/netip"
	"strings"
)

// ValidHost reports whether s may be the value of a Host field or an HTTP/2
// :authority (RFC 9110 sections 4.2 and 7.2): a name, an IPv4 address or an
// IPv6 address in brackets, then optionally a colon and a port of up to 65535.
// The port may be empty, as in "example.com:" (RFC 3986 section 3.2.3).
//
// It is stricter than RFC 3986 where servers are known to disagree: no user
// information, no comma, which is what two joined fields look like, no percent
// encoding and no IPv6 zone.
//
// The empty string is not valid. HTTP/1.1 has an empty Host field for targets
// without authority; a caller that means to accept it checks for it first.
func ValidHost(s string) bool {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		addr, port, ok := strings.Cut(rest, "]")
		return ok && validIPv6(addr) && (port == "" || port[0] == ':' && validPort(port[1:]))
	}
	name, port, _ := strings.Cut(s, ":")
	for i := range len(name) {
		if !hostByte[name[i]] {
			return false
		}
	}
	return name != "" && validPort(port)
}

// hostByte tells which bytes may occur in a host name: unreserved and
// sub-delims of RFC 3986, without the comma.
var hostByte = makeHostTable()

func makeHostTable() (host [256]bool) {
	for c := range host {
		host[c] = '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
	}
	for _, c := range "-._~!$&'()*+;=" {
		host[c] = true
	}
	return host
}

// validIPv6 reports whether s is an IPv6 address without a zone.
func validIPv6(s string) bool {
	if len(s) > len("0000:0000:0000:0000:0000:ffff:255.255.255.255") {
		return false // keep the error that quotes s short
	}
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// validPort reports whether s is empty or the decimal digits of a port.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	n, ok := ParseLength(s)
	return ok && n <= 65535
}
