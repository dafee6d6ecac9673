// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpcweb

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/belay-proxy/belay/header"
)

var (
	errBase64    = errors.New("grpcweb: invalid base64")
	errCutBase64 = errors.New("grpcweb: base64 ends in the middle of a group")
)

// A decoder turns base64 that arrives in pieces into bytes. Padding may stand
// at the end of any group, as senders encode parts of a body by themselves.
// After an error it must not be used again.
type decoder struct {
	group [4]byte // the begin of a group
	n     int     // bytes in it, at most 3
}

// append decodes src and appends the bytes to dst, but for what belongs to a
// group that is not complete.
func (d *decoder) append(dst, src []byte) (_ []byte, err error) {
	if d.n > 0 {
		k := copy(d.group[d.n:], src)
		d.n, src = d.n+k, src[k:]
		if d.n < len(d.group) {
			return dst, nil
		}
		if dst, err = appendGroups(dst, d.group[:]); err != nil {
			return dst, err
		}
	}
	whole := len(src) &^ 3
	d.n = copy(d.group[:], src[whole:])
	return appendGroups(dst, src[:whole])
}

// finish returns an error if the input has ended in the middle of a group.
func (d *decoder) finish() error {
	if d.n > 0 {
		return errCutBase64
	}
	return nil
}

// strict refuses bits that are set but mean nothing.
var strict = base64.StdEncoding.Strict()

// appendGroups decodes whole groups of four.
func appendGroups(dst, src []byte) ([]byte, error) {
	for len(src) > 0 {
		part := src
		if i := bytes.IndexByte(src, '='); i >= 0 {
			part = src[:(i|3)+1] // to the end of its group
		}
		src = src[len(part):]
		if bytes.IndexByte(part, '\n') >= 0 || bytes.IndexByte(part, '\r') >= 0 {
			return dst, errBase64 // the decoder would pass over them
		}
		var err error
		if dst, err = strict.AppendDecode(dst, part); err != nil {
			return dst, errBase64
		}
	}
	return dst, nil
}

// appendText appends base64 of b, which may be empty.
func appendText(dst, b []byte) []byte { return base64.StdEncoding.AppendEncode(dst, b) }

// trailerFlag in the first byte marks the frame with the trailers.
const trailerFlag = 0x80

// frameHead is the size of flags and length in front of a frame.
const frameHead = 5

// appendTrailerFrame appends the frame that stands for trailers: a block of
// lines as in HTTP/1, without the empty one, with names in lower case.
func appendTrailerFrame(dst []byte, trailers *header.Fields) []byte {
	start := len(dst)
	dst = append(dst, trailerFlag, 0, 0, 0, 0)
	for name, value := range trailers.All() {
		dst = append(dst, strings.ToLower(name)...)
		dst = append(dst, ": "...)
		dst = append(dst, value...)
		dst = append(dst, "\r\n"...)
	}
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-frameHead))
	return dst
}
