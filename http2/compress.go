// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"hash/maphash"
	"math"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// A compressor encodes header fields (RFC 7541). It does what the encoder of
// package hpack does, which looks each field up in four hash maps, with one
// look into a small hash table: 3 % of the CPU of a small request.
type compressor struct {
	limit   uint32 // of the dynamic table, in bytes as section 4.1 counts them
	resized bool   // the peer must be told of it
	lower   bool   // there was a lower one since the last block

	// The dynamic table. An entry is named by how many have been inserted
	// before it; entries[0] is the oldest one that is left.
	entries []tableEntry
	size    uint32
	oldest  uint32

	// recent has, at the low bits of the hash of a field, the number plus one
	// of the entry that was inserted last under them, which leads to the one
	// before it.
	recent [64]uint32
}

// A tableEntry is a field in the dynamic table.
type tableEntry struct {
	hash        uint64
	name, value string
	before      uint32 // what recent had before it
}

// entryOverhead is what an entry counts beside its strings (section 4.1).
const entryOverhead = 32

func (e *tableEntry) size() uint32 { return uint32(len(e.name)+len(e.value)) + entryOverhead }

// How a literal is sent (section 6.2).
type literal uint8

const (
	indexed      literal = iota // and kept in the dynamic table
	notIndexed                  // it will hardly come again
	neverIndexed                // nobody may keep it, on the whole way (section 6.2.3)
)

// setLimit bounds the dynamic table to what the peer allows.
func (c *compressor) setLimit(limit uint32) {
	limit = min(limit, maxTableSize)
	if limit == c.limit {
		return
	}
	c.lower = c.resized && c.limit < limit || c.lower
	c.limit, c.resized = limit, true
	c.evict(limit)
}

// begin starts a header block: it tells the peer of a new limit (section 4.2).
// If there was a lower one in between, the table has been as small on the other
// side, too. We say that it was empty, since the decoder of package hpack takes
// a second limit only for an empty table.
func (c *compressor) begin(b []byte) []byte {
	if !c.resized {
		return b
	}
	if c.lower {
		c.evict(0)
		b = appendPrefixed(b, 0x20, 5, 0)
	}
	c.resized, c.lower = false, false
	return appendPrefixed(b, 0x20, 5, uint64(c.limit))
}

// hashSeed makes it impossible to choose fields that displace each other.
var hashSeed = maphash.MakeSeed()

// append adds a field to a block. name is in lower case; static is the index
// of its name in the static table, 0 if it has none. Neither string is kept
// but as a copy.
func (c *compressor) append(b []byte, static uint8, name, value string, how literal) []byte {
	if index := staticField(static, value); index > 0 && how != neverIndexed {
		return append(b, 0x80|index)
	}
	if how != indexed || uint32(len(name)+len(value))+entryOverhead > c.limit*3/4 {
		flags := byte(0)
		if how == neverIndexed {
			flags = 0x10
		}
		b = appendPrefixed(b, flags, 4, uint64(static))
		return appendStrings(b, static, name, value)
	}
	hash := maphash.String(hashSeed, value) + uint64(static)
	if static == 0 {
		hash ^= maphash.String(hashSeed, name)
	}
	slot := &c.recent[hash%uint64(len(c.recent))]
	for next := *slot; next > c.oldest; { // it is 0 at the end, and may be gone before
		e := &c.entries[next-1-c.oldest]
		if e.hash == hash && e.name == name && e.value == value {
			last := c.oldest + uint32(len(c.entries))
			return appendPrefixed(b, 0x80, 7, uint64(staticLen+1+last-next))
		}
		next = e.before
	}
	b = appendPrefixed(b, 0x40, 6, uint64(static))
	b = appendStrings(b, static, name, value)
	if static == 0 {
		name = strings.Clone(name) // as it is part of a whole head
	}
	e := tableEntry{hash, name, strings.Clone(value), *slot}
	c.evict(c.limit - e.size())
	c.entries = append(c.entries, e)
	c.size += e.size()
	*slot = c.oldest + uint32(len(c.entries))
	if *slot == math.MaxUint32 {
		c.forget()
	}
	return b
}

// evict removes the oldest entries until the table has at most limit bytes
// (section 4.3).
func (c *compressor) evict(limit uint32) {
	n := 0
	for ; c.size > limit; n++ {
		c.size -= c.entries[n].size()
	}
	if n == 0 {
		return
	}
	left := copy(c.entries, c.entries[n:])
	clear(c.entries[left:])
	c.entries = c.entries[:left]
	c.oldest += uint32(n)
}

// forget empties the table, before the numbers of its entries overflow. The
// peer learns of it by a limit of zero in the next block.
func (c *compressor) forget() {
	c.entries, c.size, c.oldest = nil, 0, 0
	clear(c.recent[:])
	c.resized, c.lower = true, true
}

// staticLen is the number of entries of the static table (appendix A).
const staticLen = 61

// staticField returns the index of a field in the static table, 0 if it is not
// there, given that of its name.
func staticField(name uint8, value string) uint8 {
	switch name {
	case staticMethod:
		switch value {
		case "GET":
			return 2
		case "POST":
			return 3
		}
	case staticPath:
		switch value {
		case "/":
			return 4
		case "/index.html":
			return 5
		}
	case staticScheme:
		switch value {
		case "http":
			return 6
		case "https":
			return 7
		}
	case staticStatus:
		switch value {
		case "200":
			return 8
		case "204":
			return 9
		case "206":
			return 10
		case "304":
			return 11
		case "400":
			return 12
		case "404":
			return 13
		case "500":
			return 14
		}
	case staticAcceptEncoding:
		if value == "gzip, deflate" {
			return 16
		}
	}
	return 0
}

// The indices of names that have values in the static table, too, and of some
// more.
const (
	staticAuthority      = 1
	staticMethod         = 2
	staticPath           = 4
	staticScheme         = 6
	staticStatus         = 8
	staticAcceptEncoding = 16
	staticContentLength  = 28
	staticCookie         = 32
)

// appendPrefixed appends an integer in the low bits of a byte with flags, and
// in further bytes if it needs them (section 5.1).
func appendPrefixed(b []byte, flags byte, bits uint, v uint64) []byte {
	limit := uint64(1)<<bits - 1
	if v < limit {
		return append(b, flags|byte(v))
	}
	b = append(b, flags|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// appendStrings appends what follows the first integer of a literal: the name,
// unless it is in the static table, and the value.
func appendStrings(b []byte, static uint8, name, value string) []byte {
	if static == 0 {
		b = appendString(b, name)
	}
	return appendString(b, value)
}

// appendString appends a string in the shorter one of its two forms (section
// 5.2).
func appendString(b []byte, s string) []byte {
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		b = appendPrefixed(b, 0x80, 7, n)
		return hpack.AppendHuffmanString(b, s)
	}
	b = appendPrefixed(b, 0, 7, uint64(len(s)))
	return append(b, s...)
}
