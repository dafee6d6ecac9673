// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/belay-proxy/belay/upstream"
)

// An entry is what a line says.
type entry struct {
	client    netip.Addr // not valid for a Unix socket
	start     time.Time
	method    string
	target    string
	proto     string
	status    int // 0 for none
	body      int64
	referer   string
	userAgent string
	took      time.Duration
	failed    []*upstream.Peer // of attempts before the last, in order
	peer      *upstream.Peer   // of the last attempt; nil for none
}

// append appends the line to b, which may share no memory with e.
func (e *entry) append(b []byte) []byte {
	if e.client.IsValid() {
		b = e.client.Unmap().AppendTo(b)
	} else {
		b = append(b, "unix:"...)
	}
	b = append(b, " - - ["...)
	b = e.start.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = appendEscaped(b, e.method)
	b = append(b, ' ')
	b = appendEscaped(b, e.target)
	b = append(b, ' ')
	b = append(b, e.proto...)
	b = append(b, `" `...)
	b = appendPadded(b, int64(e.status), 3)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.body, 10)
	b = appendQuoted(b, e.referer)
	b = appendQuoted(b, e.userAgent)
	b = append(b, ' ')
	b = appendSeconds(b, e.took)
	b = append(b, ' ')
	b = e.appendPeers(b)
	return append(b, '\n')
}

// appendPeers appends the addresses of the peers, or "-" if there was none. If
// there was no peer to be had for the last attempt, peer is still that of the
// one before.
func (e *entry) appendPeers(b []byte) []byte {
	if e.peer == nil {
		return append(b, '-')
	}
	for i, p := range e.failed {
		if i+1 < len(e.failed) || p != e.peer {
			b = append(appendWord(b, p.Addr), ',')
		}
	}
	return appendWord(b, e.peer.Addr)
}

// appendQuoted appends a space and s in quotes, or "-" in quotes if s is empty.
func appendQuoted(b []byte, s string) []byte {
	if s == "" {
		return append(b, ` "-"`...)
	}
	b = append(b, ` "`...)
	b = appendEscaped(b, s)
	return append(b, '"')
}

// appendSeconds appends d in seconds with six decimals.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(d.Microseconds(), 0)
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	return appendPadded(b, us%1e6, 6)
}

// appendPadded appends n, at least 0, with zeros before it up to width digits.
func appendPadded(b []byte, n int64, width int) []byte {
	for limit := int64(10); width > 1; width-- {
		if n < limit {
			b = append(b, "00000"[:width-1]...)
			break
		}
		limit *= 10
	}
	return strconv.AppendInt(b, n, 10)
}

// appendEscaped appends s for a place between quotes: nothing in it can end the
// quotes or the line, or be more than a letter to a terminal.
func appendEscaped(b []byte, s string) []byte { return escape(b, s, ' ') }

// appendWord appends s for a place without quotes.
func appendWord(b []byte, s string) []byte { return escape(b, s, '!') }

// escape appends s with everything that is not printable ASCII from the byte
// least on, and quote and backslash, as \xHH.
func escape(b []byte, s string, least byte) []byte {
	const hex = "0123456789ABCDEF"
	plain := 0 // s before it is in b
	for i := range len(s) {
		if c := s[i]; c < least || c > '~' || c == '"' || c == '\\' {
			b = append(b, s[plain:i]...)
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
			plain = i + 1
		}
	}
	return append(b, s[plain:]...)
}
