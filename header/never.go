// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

// A neverName is a name that NeverIndex has marked. Lists of them are never
// modified, so that copies of a Fields can share theirs.
//
// The mark is on the name and not on the field: it needs no room in a Field and
// no care when fields are added, replaced or removed, and what a hook puts in
// the place of a secret is one as well. A mark too many costs a few bytes on
// the wire.
type neverName struct {
	name  string // "" stands for every name
	next  *neverName
	count int // from here to the end of the list
}

// maxNeverNames bounds a list, which is searched for each field. One name more
// marks them all.
const maxNeverNames = 32

// NeverIndex marks the fields called name, those that are there and those to
// come, as secrets that nobody on the way may keep to compress messages with:
// over HTTP/2 they are sent as literals that are never indexed (RFC 7541
// section 6.2.3). Fields that come so over HTTP/2 are marked already; HTTP/1
// knows no such thing. The mark is part of f until Reset.
func (f *Fields) NeverIndex(name string) {
	switch {
	case f.NeverIndexed(name):
	case f.never != nil && f.never.count == maxNeverNames:
		f.never = &neverName{}
	case f.never != nil:
		f.never = &neverName{name, f.never, f.never.count + 1}
	default:
		f.never = &neverName{name, nil, 1}
	}
}

// NeverIndexed reports whether NeverIndex has marked the fields called name.
func (f *Fields) NeverIndexed(name string) bool { return f.never != nil && f.never.has(name) }

func (n *neverName) has(name string) bool {
	for ; n != nil; n = n.next {
		if n.name == "" || EqualName(n.name, name) {
			return true
		}
	}
	return false
}

// NeverIndexAsIn marks in f what is marked in src, and nothing else.
func (f *Fields) NeverIndexAsIn(src *Fields) { f.never = src.never }
